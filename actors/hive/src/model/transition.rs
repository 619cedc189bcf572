//! What becomes of a task when an attempt ends: one table, pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It did what was asked.
    Succeeded,
    /// It did not, or ran out of time.
    Failed,
    /// It was called off.
    Cancelled,
    /// The bot went down with it.
    BotDied,
    /// The bot gave it back unharmed (it was stopped, or the server was).
    GivenBack,
}

/// What becomes of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// `completed`.
    Complete,
    /// `failed`: no attempt left.
    Fail,
    /// `failed`: it took down as many bots as is allowed.
    GiveUpAsPoison,
    /// `cancelled`.
    Cancel,
    /// `pending` for so long, then the next attempt.
    RetryAfter(Duration),
    /// `queued` again at once.
    Requeue,
}

/// When a failed attempt is followed by another. Delay of the n-th retry:
/// `min * factor^(n-1)`, at most `max`, spread by `jitter`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Delay before the first retry.
    #[serde(with = "humantime_serde")]
    pub min: Duration,
    /// The delay never grows beyond this.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
    /// By how much each delay is longer than the one before, at least 1.
    pub factor: f64,
    /// The delay is spread evenly by this share up and down, 0 to 1.
    pub jitter: f64,
}

impl RetryPolicy {
    /// The delay after `failures` failed attempts (1 is the first), where
    /// `draw` in 0..1 decides on the jitter.
    pub fn delay(&self, failures: u32, draw: f64) -> Duration {
        let exponent = f64::from(failures.saturating_sub(1).min(1_000));
        let grown = self.min.as_secs_f64() * self.factor.powf(exponent);
        let capped = grown.min(self.max.as_secs_f64());
        let spread = 1.0 + self.jitter * (2.0 * draw.clamp(0.0, 1.0) - 1.0);
        Duration::from_secs_f64((capped * spread).clamp(0.0, self.max.as_secs_f64()))
    }
}

/// What an attempt's end makes of its task.
///
/// `failures` and `bot_deaths` count this attempt already. A cancellation that
/// was asked for wins over everything but a success.
pub fn after_attempt(
    end: AttemptEnd,
    cancel_requested: bool,
    (failures, max_attempts): (u32, u32),
    (bot_deaths, poison_after): (u32, u32),
    retry_delay: Duration,
) -> NextStep {
    match (end, cancel_requested) {
        (AttemptEnd::Succeeded, _) => NextStep::Complete,
        (AttemptEnd::Cancelled, _) | (_, true) => NextStep::Cancel,
        (AttemptEnd::Failed, false) if failures >= max_attempts => NextStep::Fail,
        (AttemptEnd::Failed, false) => NextStep::RetryAfter(retry_delay),
        (AttemptEnd::BotDied, false) if bot_deaths >= poison_after => NextStep::GiveUpAsPoison,
        (AttemptEnd::BotDied | AttemptEnd::GivenBack, false) => NextStep::Requeue,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AttemptEnd::*, NextStep::*, *};

    #[test]
    fn the_table() {
        let delay = Duration::from_secs(7);
        for (end, cancel, failures, deaths, expected) in [
            (Succeeded, false, (0, 3), (0, 3), Complete),
            (Succeeded, true, (0, 3), (0, 3), Complete),
            (Failed, false, (1, 3), (0, 3), RetryAfter(delay)),
            (Failed, false, (2, 3), (9, 3), RetryAfter(delay)),
            (Failed, false, (3, 3), (0, 3), Fail),
            (Failed, true, (1, 3), (0, 3), Cancel),
            (Cancelled, false, (0, 3), (0, 3), Cancel),
            (BotDied, false, (9, 3), (1, 3), Requeue),
            (BotDied, false, (0, 3), (3, 3), GiveUpAsPoison),
            (BotDied, true, (0, 3), (3, 3), Cancel),
            (GivenBack, false, (3, 3), (3, 3), Requeue),
            (GivenBack, true, (0, 3), (0, 3), Cancel),
        ] {
            assert_eq!(
                after_attempt(end, cancel, failures, deaths, delay),
                expected,
                "{end:?} {cancel} {failures:?} {deaths:?}"
            );
        }
    }

    fn policy() -> RetryPolicy {
        RetryPolicy {
            min: Duration::from_secs(1),
            max: Duration::from_secs(60),
            factor: 2.0,
            jitter: 0.2,
        }
    }

    #[test]
    fn delays_double_up_to_the_limit() {
        let plain = RetryPolicy {
            jitter: 0.0,
            ..policy()
        };
        let seconds: Vec<_> = (1..=8).map(|n| plain.delay(n, 0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn delays_stay_within_bounds(failures: u32, draw in 0.0..1.0f64) {
            let delay = policy().delay(failures, draw);
            prop_assert!(delay >= Duration::from_millis(800) && delay <= Duration::from_secs(60), "{delay:?}");
        }
    }
}
