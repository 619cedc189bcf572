//! Limits on restarts: sliding windows, as OTP's `intensity` and `period`.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Restart budget: more than `max_restarts` restarts within any `period` is too many.
///
/// The window slides (OTP's rule): each restart is compared with those of the last `period`,
/// not with those since a fixed point. A second, longer horizon ([`slow`](Intensity::slow)) sees
/// the child that always crashes just after the window has passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Intensity {
    pub(crate) fast: Option<Limit>,
    pub(crate) slow: Option<Limit>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limit {
    pub(crate) max_restarts: u32,
    pub(crate) period: Duration,
}

impl Intensity {
    /// Allows at most `max_restarts` (0 = none at all) within a sliding `period` (more than zero).
    #[must_use]
    pub fn new(max_restarts: u32, period: Duration) -> Self {
        Self {
            fast: Some(Limit {
                max_restarts,
                period,
            }),
            slow: None,
        }
    }

    /// Sets no limit: the child is restarted forever.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            fast: None,
            slow: None,
        }
    }

    /// Adds a second limit over a longer horizon, for the child that crashes slowly.
    #[must_use]
    pub fn slow(mut self, max_restarts: u32, period: Duration) -> Self {
        self.slow = Some(Limit {
            max_restarts,
            period,
        });
        self
    }

    /// Returns the number of restarts allowed within [`period`](Self::period); `None` if unlimited.
    #[must_use]
    pub fn max_restarts(&self) -> Option<u32> {
        self.fast.map(|limit| limit.max_restarts)
    }

    /// Returns the length of the sliding window; `None` if unlimited.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        self.fast.map(|limit| limit.period)
    }
}

impl Default for Intensity {
    /// Returns OTP's default: one restart in five seconds.
    fn default() -> Self {
        /// Fact: the documentation of OTP's supervisor.
        const PERIOD: Duration = Duration::from_secs(5);
        Self::new(1, PERIOD)
    }
}

/// Restarts that still count against an [`Intensity`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    fast: VecDeque<Instant>,
    slow: VecDeque<Instant>,
}

impl Window {
    /// Counts a restart at `now` and returns the limit it breaks, if it does.
    pub(crate) fn count(&mut self, intensity: &Intensity, now: Instant) -> Option<Limit> {
        let fast = over(&mut self.fast, intensity.fast, now);
        let slow = over(&mut self.slow, intensity.slow, now);
        fast.or(slow)
    }

    /// Counts something at `now` only if that breaks no limit; otherwise returns the limit that it
    /// would break.
    pub(crate) fn spend(&mut self, intensity: &Intensity, now: Instant) -> Option<Limit> {
        let mut after = self.clone();
        let limit = after.count(intensity, now);
        if limit.is_none() {
            *self = after;
        }
        limit
    }

    pub(crate) fn clear(&mut self) {
        self.fast.clear();
        self.slow.clear();
    }
}

fn over(times: &mut VecDeque<Instant>, limit: Option<Limit>, now: Instant) -> Option<Limit> {
    let limit = limit?;
    while times
        .front()
        .is_some_and(|&then| now.duration_since(then) > limit.period)
    {
        times.pop_front();
    }
    times.push_back(now);
    if times.len() <= limit.max_restarts as usize {
        return None;
    }
    times.pop_front();
    Some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(intensity: &Intensity, at_ms: &[u64]) -> Vec<bool> {
        let start = Instant::now();
        let mut window = Window::default();
        at_ms
            .iter()
            .map(|&ms| {
                window
                    .count(intensity, start + Duration::from_millis(ms))
                    .is_none()
            })
            .collect()
    }

    #[test]
    fn the_window_slides() {
        let two = Intensity::new(2, Duration::from_millis(100));
        let cases: &[(&[u64], &[bool])] = &[
            (&[0, 10, 20], &[true, true, false]),
            (&[0, 10, 100], &[true, true, false]),
            (&[0, 10, 101], &[true, true, true]),
            (&[0, 60, 120, 180, 240], &[true; 5]),
            (&[0, 90, 95], &[true, true, false]),
        ];
        for (times, within) in cases {
            assert_eq!(run(&two, times), *within, "{times:?}");
        }
    }

    #[test]
    fn zero_allows_none_and_unlimited_allows_all() {
        assert_eq!(
            run(&Intensity::new(0, Duration::from_secs(1)), &[0]),
            [false]
        );
        assert!(
            run(&Intensity::unlimited(), &[0; 10_000])
                .iter()
                .all(|&ok| ok)
        );
    }

    #[test]
    fn the_slow_horizon_sees_what_the_window_misses() {
        let intensity =
            Intensity::new(1, Duration::from_millis(10)).slow(3, Duration::from_secs(1));
        assert_eq!(run(&intensity, &[0, 20, 40, 60]), [true, true, true, false]);
        assert_eq!(run(&intensity, &[0, 500, 1_001, 1_502, 2_003]), [true; 5]);
    }
}
