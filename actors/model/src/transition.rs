//! The transition of a task at the end of an attempt: one table, pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The attempt succeeded.
    Succeeded,
    /// The attempt failed, or ran out of time.
    Failed,
    /// The attempt failed in a way that no further attempt can mend.
    FailedForGood,
    /// The attempt was cancelled. Without a recorded cancellation of the task it counts
    /// as given back.
    Cancelled,
    /// The bot went down because of the attempt: no other ran there, or the bot named
    /// this one.
    BotDied,
    /// The bot went down while the attempt ran beside others, any of which may be the
    /// cause. The next attempt runs alone.
    Suspected,
    /// The whole hive went down while the attempt ran.
    HiveDied,
    /// The bot returned the task unharmed (the bot or the server was stopped).
    GivenBack,
    /// The attempt could not begin: the program could not be started, or the host had
    /// no descriptor, process or disk space left. Not a fault of the task.
    BotFault,
    /// The bot or its provider takes no tasks for a while (a rate limit, an overload).
    /// Not a fault of the task.
    Refused,
}

impl AttemptEnd {
    /// Every end, in the order in which metrics list them.
    pub const ALL: [Self; 10] = [
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::BotDied,
        Self::Suspected,
        Self::HiveDied,
        Self::GivenBack,
        Self::BotFault,
        Self::FailedForGood,
        Self::Refused,
    ];

    /// Returns the end that counts: a cancelled attempt of a task without a recorded
    /// cancellation was given back. The order to cancel referred to an earlier attempt.
    pub fn judged(self, cancel_requested: bool) -> Self {
        match self {
            Self::Cancelled if !cancel_requested => Self::GivenBack,
            other => other,
        }
    }

    /// Returns whether the attempt ended without interference, so that its duration is
    /// representative of such tasks. The durations of other attempts depend on when
    /// they were stopped, or when a death was noticed; some never began.
    pub fn ended_by_itself(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::FailedForGood => true,
            Self::Cancelled
            | Self::BotDied
            | Self::Suspected
            | Self::HiveDied
            | Self::GivenBack
            | Self::BotFault
            | Self::Refused => false,
        }
    }

    /// Returns the name in metrics and in the evidence of failed attempts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::FailedForGood => "failed_for_good",
            Self::Cancelled => "cancelled",
            Self::BotDied => "bot_died",
            Self::Suspected => "suspected",
            Self::HiveDied => "hive_died",
            Self::GivenBack => "given_back",
            Self::BotFault => "bot_fault",
            Self::Refused => "refused",
        }
    }

    /// Returns the description of the end for people, used if the attempt gives no
    /// reason of its own.
    pub fn description(self) -> &'static str {
        match self {
            Self::Succeeded => "the task is completed",
            Self::Failed => "the attempt failed",
            Self::FailedForGood => "the attempt failed, and another would as well",
            Self::Cancelled => "the task was cancelled",
            Self::BotDied | Self::Suspected => "the bot went down",
            Self::HiveDied => "the hive went down",
            Self::GivenBack => "the bot was stopped; the task goes back to the queue",
            Self::BotFault => "the bot could not begin it; the task goes back to the queue",
            Self::Refused => "the bot takes no tasks now; the task goes back to the queue",
        }
    }
}

/// Counts of the unsuccessful attempts of a task, by cause. Each has its own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// Attempts that failed or timed out.
    pub failures: u32,
    /// Bots that went down because of the task.
    pub bot_deaths: u32,
    /// Bots that went down while the task ran beside others.
    pub suspicions: u32,
    /// Unclean ends of the whole hive while the task ran.
    pub hive_deaths: u32,
}

impl Toll {
    /// Returns the toll after another attempt with this end.
    pub fn after(self, end: AttemptEnd) -> Self {
        let mut toll = self;
        match end {
            AttemptEnd::Failed | AttemptEnd::FailedForGood => toll.failures += 1,
            AttemptEnd::BotDied => toll.bot_deaths += 1,
            AttemptEnd::Suspected => toll.suspicions += 1,
            AttemptEnd::HiveDied => toll.hive_deaths += 1,
            AttemptEnd::Succeeded
            | AttemptEnd::Cancelled
            | AttemptEnd::GivenBack
            | AttemptEnd::BotFault
            | AttemptEnd::Refused => {}
        }
        toll
    }

    /// Returns whether the next attempt must have its bot to itself, so that a further
    /// death of the bot shows whether this task is the cause. A task that was running
    /// when the hive died needs no such proof: having a bot to itself would not show
    /// what takes down the hive.
    pub fn runs_alone(self) -> bool {
        self.suspicions > 0
    }
}

/// Limits of a [`Toll`]: the attempt that reaches one is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TollLimits {
    /// Failures: `max_attempts` of the task.
    pub failures: u32,
    /// Bot deaths: `tasks.poison_after`.
    pub bot_deaths: u32,
    /// Hive deaths: `tasks.poison_after_hive_deaths`.
    pub hive_deaths: u32,
}

/// The next step of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// `completed`.
    Complete,
    /// `failed`: no attempts left.
    Fail,
    /// `failed`: no further attempt could succeed.
    FailForGood,
    /// `failed`: the task took down its bot, or the hive, as often as is allowed.
    GiveUpAsPoison,
    /// `cancelled`.
    Cancel,
    /// `pending` for this long, then the next attempt.
    RetryAfter(Duration),
    /// `queued` again at once.
    Requeue,
}

/// The delays between failed attempts. Delay of the n-th retry: `min * factor^(n-1)`,
/// at most `max`, spread by `jitter`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Delay before the first retry.
    #[serde(with = "crate::duration")]
    pub min: Duration,
    /// Maximum delay.
    #[serde(with = "crate::duration")]
    pub max: Duration,
    /// Factor by which each delay is longer than the one before, at least 1.
    pub factor: f64,
    /// Share by which the delay is randomly spread up and down, 0 to 1.
    pub jitter: f64,
}

impl RetryPolicy {
    /// Returns the delay after `failures` failed attempts (1 is the first), where
    /// `draw` in 0..1 determines the jitter.
    pub fn delay(&self, failures: u32, draw: f64) -> Duration {
        let exponent = f64::from(failures.saturating_sub(1).min(1_000));
        let grown = self.min.as_secs_f64() * self.factor.powf(exponent);
        let capped = grown.min(self.max.as_secs_f64());
        let spread = 1.0 + self.jitter * (2.0 * draw.clamp(0.0, 1.0) - 1.0);
        Duration::from_secs_f64((capped * spread).clamp(0.0, self.max.as_secs_f64()))
    }
}

/// Decides the next step of a task after the end of an attempt.
///
/// `toll` counts this attempt already. A requested cancellation wins over
/// everything but a success; see [`AttemptEnd::judged`] for a cancelled attempt
/// without one. `delay` is the wait before the next attempt after a failure or a
/// fault of the bot.
pub fn after_attempt(
    end: AttemptEnd,
    cancel_requested: bool,
    toll: Toll,
    limits: TollLimits,
    delay: Duration,
) -> NextStep {
    match end.judged(cancel_requested) {
        AttemptEnd::Succeeded => NextStep::Complete,
        _ if cancel_requested => NextStep::Cancel,
        AttemptEnd::FailedForGood => NextStep::FailForGood,
        AttemptEnd::Failed if toll.failures >= limits.failures => NextStep::Fail,
        AttemptEnd::Failed | AttemptEnd::BotFault => NextStep::RetryAfter(delay),
        AttemptEnd::BotDied if toll.bot_deaths >= limits.bot_deaths => NextStep::GiveUpAsPoison,
        AttemptEnd::HiveDied if toll.hive_deaths >= limits.hive_deaths => NextStep::GiveUpAsPoison,
        AttemptEnd::BotDied
        | AttemptEnd::Suspected
        | AttemptEnd::HiveDied
        | AttemptEnd::GivenBack
        | AttemptEnd::Refused
        | AttemptEnd::Cancelled => NextStep::Requeue,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AttemptEnd::*, NextStep::*, *};

    const LIMITS: TollLimits = TollLimits {
        failures: 3,
        bot_deaths: 3,
        hive_deaths: 5,
    };

    fn toll(failures: u32, bot_deaths: u32, suspicions: u32, hive_deaths: u32) -> Toll {
        Toll {
            failures,
            bot_deaths,
            suspicions,
            hive_deaths,
        }
    }

    #[test]
    fn each_end_has_its_next_step() {
        let delay = Duration::from_secs(7);
        for (end, cancel, toll, expected) in [
            (Succeeded, false, toll(0, 0, 0, 0), Complete),
            (Succeeded, true, toll(0, 0, 0, 0), Complete),
            (Failed, false, toll(1, 0, 0, 0), RetryAfter(delay)),
            (Failed, false, toll(2, 9, 9, 9), RetryAfter(delay)),
            (Failed, false, toll(3, 0, 0, 0), Fail),
            (Failed, true, toll(1, 0, 0, 0), Cancel),
            (FailedForGood, false, toll(1, 0, 0, 0), FailForGood),
            (FailedForGood, true, toll(1, 0, 0, 0), Cancel),
            (Refused, false, toll(3, 3, 3, 5), Requeue),
            (Refused, true, toll(0, 0, 0, 0), Cancel),
            (Cancelled, true, toll(0, 0, 0, 0), Cancel),
            (Cancelled, false, toll(3, 3, 3, 5), Requeue),
            (BotDied, false, toll(9, 1, 0, 0), Requeue),
            (BotDied, false, toll(0, 3, 0, 0), GiveUpAsPoison),
            (BotDied, true, toll(0, 3, 0, 0), Cancel),
            (Suspected, false, toll(3, 3, 99, 5), Requeue),
            (Suspected, true, toll(0, 0, 1, 0), Cancel),
            (HiveDied, false, toll(3, 3, 3, 4), Requeue),
            (HiveDied, false, toll(0, 0, 0, 5), GiveUpAsPoison),
            (GivenBack, false, toll(3, 3, 3, 5), Requeue),
            (GivenBack, true, toll(0, 0, 0, 0), Cancel),
            (BotFault, false, toll(3, 3, 3, 5), RetryAfter(delay)),
            (BotFault, true, toll(0, 0, 0, 0), Cancel),
        ] {
            assert_eq!(
                after_attempt(end, cancel, toll, LIMITS, delay),
                expected,
                "{end:?} {cancel} {toll:?}"
            );
        }
    }

    #[test]
    fn each_end_raises_its_own_count_only() {
        for (end, expected) in [
            (Succeeded, toll(0, 0, 0, 0)),
            (Failed, toll(1, 0, 0, 0)),
            (FailedForGood, toll(1, 0, 0, 0)),
            (Refused, toll(0, 0, 0, 0)),
            (Cancelled, toll(0, 0, 0, 0)),
            (BotDied, toll(0, 1, 0, 0)),
            (Suspected, toll(0, 0, 1, 0)),
            (HiveDied, toll(0, 0, 0, 1)),
            (GivenBack, toll(0, 0, 0, 0)),
            (BotFault, toll(0, 0, 0, 0)),
        ] {
            assert_eq!(Toll::default().after(end), expected, "{end:?}");
        }
    }

    #[test]
    fn suspects_run_alone() {
        for (toll, alone) in [
            (toll(9, 0, 0, 0), false),
            (toll(0, 2, 0, 0), false),
            (toll(0, 0, 1, 0), true),
            (toll(0, 0, 0, 4), false),
        ] {
            assert_eq!(toll.runs_alone(), alone, "{toll:?}");
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
