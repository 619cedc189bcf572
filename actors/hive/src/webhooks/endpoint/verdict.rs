//! The consequence of one attempt at a delivery.

use std::time::Duration;

use deia_model::{DeliveryState, Timestamp};

/// The part of the settings that decides about retries.
#[derive(Clone, Debug)]
pub(super) struct RetrySchedule {
    /// Delays before the retries.
    pub(super) delays: Vec<Duration>,
    /// Share by which a delay varies.
    pub(super) jitter: f64,
}

/// The outcome of one attempt, as far as it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Status of the response, if there was one.
    pub(super) status: Option<u16>,
    /// Delay that the endpoint asks for, within its bounds.
    pub(super) retry_after: Option<Duration>,
}

/// The consequence of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// State of the delivery.
    pub(super) state: DeliveryState,
    /// Time of the next attempt.
    pub(super) next_at: Option<Timestamp>,
    /// True if the endpoint says that it is gone for good.
    pub(super) is_gone: bool,
}

impl Outcome {
    /// Returns whether the endpoint accepted the delivery: a 2xx status. A redirect is a
    /// failure, as the specification says.
    pub(super) fn is_success(self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// Decides after so many attempts, this one included. `spread` is a random number in
    /// 0..1.
    pub(super) fn verdict(
        self,
        attempts: u32,
        schedule: &RetrySchedule,
        now: Timestamp,
        spread: f64,
    ) -> Verdict {
        let ended = |state, is_gone| Verdict {
            state,
            next_at: None,
            is_gone,
        };
        if self.is_success() {
            return ended(DeliveryState::Delivered, false);
        }
        let is_gone = self.status == Some(410);
        let retries_before = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(delay) = schedule.delays.get(retries_before) else {
            return ended(DeliveryState::Failed, is_gone);
        };
        let varied = delay.mul_f64(1.0 + schedule.jitter * (2.0 * spread - 1.0));
        let delay = self.retry_after.map_or(varied, |asked| asked.max(varied));
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Verdict {
            state: DeliveryState::Waiting,
            next_at: Some(now.plus_millis(ms)),
            is_gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_retried_on_schedule() {
        let schedule = RetrySchedule {
            delays: vec![Duration::from_secs(5), Duration::from_secs(300)],
            jitter: 0.2,
        };
        let after = |status, retry_after: Option<u64>, attempts, spread| {
            let outcome = Outcome {
                status,
                retry_after: retry_after.map(Duration::from_secs),
            };
            let verdict = outcome.verdict(attempts, &schedule, Timestamp::from_millis(0), spread);
            let next = verdict.next_at.map(Timestamp::as_millis);
            (verdict.state, next, verdict.is_gone)
        };
        use DeliveryState::{Delivered, Failed, Waiting};
        for (status, retry_after, attempts, spread, expected) in [
            (Some(200), None, 1, 0.5, (Delivered, None, false)),
            (Some(299), None, 9, 0.5, (Delivered, None, false)),
            (Some(302), None, 1, 0.5, (Waiting, Some(5_000), false)),
            (Some(500), None, 1, 0.0, (Waiting, Some(4_000), false)),
            (None, None, 2, 1.0, (Waiting, Some(360_000), false)),
            (Some(429), Some(60), 1, 0.5, (Waiting, Some(60_000), false)),
            (Some(429), Some(1), 1, 0.5, (Waiting, Some(5_000), false)),
            (Some(500), None, 3, 0.5, (Failed, None, false)),
            (Some(410), None, 1, 0.5, (Waiting, Some(5_000), true)),
            (Some(410), None, 3, 0.5, (Failed, None, true)),
        ] {
            let found = after(status, retry_after, attempts, spread);
            assert_eq!(found, expected, "{status:?} {retry_after:?} {attempts}");
        }
    }
}
