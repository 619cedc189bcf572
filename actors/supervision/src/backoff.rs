//! Delays before restarts.

use std::time::Duration;

/// Exponential backoff with jitter, for the restarts of one child.
///
/// The n-th restart in a row (n from 0) waits `min * factor^n`, at most `max`, spread by
/// `± jitter`. A run of at least `reset_after` starts the count again.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    pub(crate) factor: f64,
    pub(crate) jitter: f64,
    pub(crate) reset_after: Duration,
}

impl Backoff {
    /// Makes a backoff from `min` up to `max`; factor 2, jitter 0.1, reset after a stable run of
    /// `max` (at least one second).
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            factor: 2.0,
            jitter: 0.1,
            reset_after: max.max(Duration::from_secs(1)),
        }
    }

    /// Makes a backoff that restarts at once, as OTP does. This is the default.
    #[must_use]
    pub fn none() -> Self {
        Self {
            min: Duration::ZERO,
            max: Duration::ZERO,
            factor: 1.0,
            jitter: 0.0,
            reset_after: Duration::ZERO,
        }
    }

    /// Sets the factor by which each delay exceeds the one before; at least 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the spread of each delay as a share of it, 0 to 1: 0.2 means 80 % to 120 %.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the length of a run that counts as stable, after which the next delay is `min` again.
    #[must_use]
    pub fn reset_after(mut self, stable: Duration) -> Self {
        self.reset_after = stable;
        self
    }

    /// Returns the delay before restart number `attempt` (from 0) in a row. `random_fraction` in
    /// `0.0..1.0` picks the point within the jitter.
    pub(crate) fn delay(&self, attempt: u32, random_fraction: f64) -> Duration {
        if self.max.is_zero() {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let raw = self.min.as_secs_f64() * self.factor.powi(exponent);
        let capped = raw.min(self.max.as_secs_f64());
        let spread = 1.0 + self.jitter * (2.0 * random_fraction - 1.0);
        Duration::try_from_secs_f64(capped * spread).unwrap_or(self.max)
    }

    /// Returns the number of the next restart in a row, after a run of `ran` that followed
    /// `attempt` restarts.
    pub(crate) fn next_attempt(&self, attempt: u32, ran: Duration) -> u32 {
        if ran >= self.reset_after { 0 } else { attempt }
    }

    /// Returns a description of the fault in the settings, if there is one.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.min > self.max {
            Some("min exceeds max")
        } else if !self.factor.is_finite() || self.factor < 1.0 {
            Some("factor is below 1")
        } else if !(0.0..=1.0).contains(&self.jitter) {
            Some("jitter is outside 0 to 1")
        } else {
            None
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn grows_to_its_maximum() {
        let backoff = Backoff::new(10 * MS, 100 * MS).jitter(0.0);
        let delays: Vec<u128> = (0..6).map(|n| backoff.delay(n, 0.5).as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 100, 100]);
        assert_eq!(backoff.delay(u32::MAX, 0.5), 100 * MS);
        assert_eq!(Backoff::none().delay(7, 0.9), Duration::ZERO);
    }

    #[test]
    fn jitter_spreads_both_ways() {
        let backoff = Backoff::new(100 * MS, 100 * MS).jitter(0.2);
        assert_eq!(backoff.delay(0, 0.0).as_millis(), 80);
        assert_eq!(backoff.delay(0, 0.5).as_millis(), 100);
        assert!(backoff.delay(0, 0.999).as_millis() >= 119);
    }

    #[test]
    fn a_stable_run_resets() {
        let backoff = Backoff::new(MS, 10 * MS).reset_after(50 * MS);
        assert_eq!(backoff.next_attempt(4, 49 * MS), 4);
        assert_eq!(backoff.next_attempt(4, 50 * MS), 0);
    }

    #[test]
    fn faults() {
        assert!(Backoff::new(2 * MS, MS).fault().is_some());
        assert!(Backoff::new(MS, MS).factor(0.5).fault().is_some());
        assert!(Backoff::new(MS, MS).factor(f64::NAN).fault().is_some());
        assert!(Backoff::new(MS, MS).jitter(1.1).fault().is_some());
        assert!(Backoff::new(MS, MS).fault().is_none());
        assert!(Backoff::none().fault().is_none());
    }
}
