//! Limits on one kind of work that one poll of an actor may do before its neighbours get their
//! turn.

use std::time::{Duration, Instant};

/// Number of messages, or polls of futures, per poll. Fixed: bounds one turn; it was
/// measured, and the figures of docs/PERFORMANCE.md hold with it.
const REDUCTIONS: u32 = 128;
/// Time for the work of one poll. A limit by count alone would let 128 slow handlers run in a row.
/// Fixed: bounds one turn; it was measured, and the figures of docs/PERFORMANCE.md hold with it.
const SLICE: Duration = Duration::from_micros(500);
/// Largest number of steps after which the clock is read again: a clock read costs as much as a
/// message. Fixed: bounds one turn; it was measured, and the figures of docs/PERFORMANCE.md hold
/// with it.
const STEPS_BETWEEN_READS: u32 = 32;

/// Rest of one kind of work that one poll may still do.
pub(crate) struct Allowance {
    /// Number of steps until the next check; 0 if the allowance is used up.
    until_look: u32,
    /// Number of steps after that check.
    steps: u32,
    since: Option<Instant>,
}

impl Allowance {
    pub(crate) fn new() -> Self {
        Self {
            until_look: 2,
            steps: 2,
            since: None,
        }
    }

    #[inline]
    pub(crate) fn is_used_up(&self) -> bool {
        self.until_look == 0
    }

    /// Counts one message, or one poll of a future. The allowance must not be used up.
    #[inline]
    pub(crate) fn use_one(&mut self) {
        self.count(Instant::now);
    }

    #[inline]
    fn count(&mut self, now: impl FnOnce() -> Instant) {
        self.until_look -= 1;
        if self.until_look == 0 {
            self.look(now());
        }
    }

    /// Checks the time. Most polls handle one message, and read no clock. In others, time runs from
    /// the second step on, and is checked soon after that, so that very slow handlers are detected.
    #[cold]
    fn look(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if self.steps >= REDUCTIONS || now.duration_since(since) >= SLICE {
            return;
        }
        self.until_look = self.steps.min(STEPS_BETWEEN_READS);
        self.steps += self.until_look;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps until it is used up, if each takes so long.
    fn steps(step: Duration) -> u32 {
        let mut now = Instant::now();
        let mut allowance = Allowance::new();
        for steps in 1.. {
            now += step;
            allowance.count(|| now);
            if allowance.is_used_up() {
                return steps;
            }
        }
        unreachable!("there is a limit")
    }

    #[test]
    fn slow_steps_are_limited_by_time_and_fast_ones_by_number() {
        let cases = [
            (Duration::from_millis(10), 4),
            (Duration::from_millis(1), 4),
            (Duration::from_micros(100), 8),
            (Duration::from_micros(20), 32),
            (Duration::from_micros(4), 128),
            (Duration::ZERO, 128),
        ];
        for (step, expected) in cases {
            assert_eq!(steps(step), expected, "{step:?}");
        }
    }

    #[test]
    fn a_single_step_reads_no_clock() {
        let mut allowance = Allowance::new();
        allowance.count(|| unreachable!("a clock read"));
        assert!(!allowance.is_used_up());
    }
}
