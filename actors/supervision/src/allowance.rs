//! How much of one kind of work one poll of an actor may do before its neighbours get their turn.

use std::time::{Duration, Instant};

/// Messages, or polls of futures, per poll.
const REDUCTIONS: u32 = 128;
/// Time for them. A limit by count alone would let 128 slow handlers run in a row.
const SLICE: Duration = Duration::from_micros(500);
/// The clock is read after so many steps: a clock read costs as much as a message.
const STEPS_BETWEEN_READS: u32 = 8;

/// What one poll may still do of one kind of work.
pub(crate) struct Allowance {
    steps: u32,
    since: Option<Instant>,
    is_used_up: bool,
}

impl Allowance {
    pub(crate) fn new() -> Self {
        Self {
            steps: 0,
            since: None,
            is_used_up: false,
        }
    }

    #[inline]
    pub(crate) fn is_used_up(&self) -> bool {
        self.is_used_up
    }

    /// Counts one message, or one poll of a future.
    #[inline]
    pub(crate) fn use_one(&mut self) {
        self.count(Instant::now);
    }

    /// Most polls handle one message: those read no clock. In others, time runs from the second
    /// step on, and is looked at early once, so that very slow handlers are found out soon.
    #[inline]
    fn count(&mut self, now: impl FnOnce() -> Instant) {
        self.steps += 1;
        match self.since {
            None if self.steps == 2 => self.since = Some(now()),
            Some(since) if self.steps == 4 || self.steps.is_multiple_of(STEPS_BETWEEN_READS) => {
                self.is_used_up = now().duration_since(since) >= SLICE;
            }
            _ => {}
        }
        self.is_used_up |= self.steps >= REDUCTIONS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps until it is used up, if each takes so long.
    fn steps(step: Duration) -> u32 {
        let mut now = Instant::now();
        let mut allowance = Allowance::new();
        while !allowance.is_used_up() {
            now += step;
            allowance.count(|| now);
        }
        allowance.steps
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
