//! The circuit of an endpoint: pauses after failures in a row.

use std::time::Duration;

use deia_model::Timestamp;

/// Limits of pauses.
#[derive(Clone, Copy, Debug)]
pub(super) struct PauseLimits {
    /// Failures in a row after which there is a pause.
    pub(super) after_failures: u32,
    /// Length of the first pause; each further one is twice as long.
    pub(super) min: Duration,
    /// Greatest length of a pause.
    pub(super) max: Duration,
}

/// The answer to a delivery that wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Any number may.
    Open,
    /// One may, to see if the endpoint is back.
    Probe,
    /// None may until then.
    ClosedUntil(Timestamp),
}

/// Lets the deliveries through while they succeed, and one from time to time while they fail.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    failures: u32,
    until: Option<Timestamp>,
    /// Time at which the last pause began.
    began: Option<Timestamp>,
}

impl Pause {
    /// Continues after so many failures in a row.
    pub(super) fn after(failures: u32) -> Self {
        Self {
            failures,
            until: None,
            began: None,
        }
    }

    /// Notes the outcome of a delivery that began at `begun`. Of deliveries that were under
    /// way together, the first failure begins a pause and the others make it no longer.
    pub(super) fn note(
        &mut self,
        succeeded: bool,
        begun: Timestamp,
        now: Timestamp,
        limits: PauseLimits,
    ) {
        if succeeded {
            *self = Self::default();
            return;
        }
        if self.began.is_some_and(|pause| begun <= pause) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(more) = self.failures.checked_sub(limits.after_failures) {
            let factor = 1_u32.checked_shl(more.min(31)).unwrap_or(u32::MAX);
            let length = limits.min.saturating_mul(factor).min(limits.max);
            let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            self.until = Some(now.plus_millis(ms));
            self.began = Some(now);
        }
    }

    /// Returns whether a delivery may begin now.
    pub(super) fn gate(&self, now: Timestamp, limits: PauseLimits) -> Gate {
        match self.until {
            _ if self.failures < limits.after_failures => Gate::Open,
            Some(until) if until > now => Gate::ClosedUntil(until),
            _ => Gate::Probe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_a_success_ends_them() {
        let limits = PauseLimits {
            after_failures: 2,
            min: Duration::from_secs(5),
            max: Duration::from_secs(15),
        };
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let mut pause = Pause::default();
        pause.note(false, at(0), at(1), limits);
        assert_eq!(pause.gate(at(1), limits), Gate::Open);
        for (begun, now, until) in [(1, 2, 7), (7, 8, 18), (18, 20, 35), (35, 36, 51)] {
            pause.note(false, at(begun), at(now), limits);
            pause.note(false, at(begun), at(now + 1), limits);
            assert_eq!(pause.gate(at(now), limits), Gate::ClosedUntil(at(until)));
            assert_eq!(pause.gate(at(until), limits), Gate::Probe);
        }
        pause.note(true, at(51), at(52), limits);
        assert_eq!(pause.gate(at(52), limits), Gate::Open);
        assert_eq!(Pause::after(7).gate(at(0), limits), Gate::Probe);
    }
}
