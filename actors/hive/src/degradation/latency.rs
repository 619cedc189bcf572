//! The 99th percentile of the durations of recent commits.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use deia_ledger::metrics::Snapshot;

use crate::config::CommitSignal;

/// Snapshots of a histogram over the last while.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<(Instant, Snapshot)>);

impl Window {
    /// Adds a snapshot, and returns the 99th percentile of the durations that were observed within
    /// the window. Fewer than `min_commits` say too little, since one slow commit would be all of
    /// the percentile: they count only while commands wait, and else the duration is 0. While
    /// commands wait and no commit ends, the window itself is the duration.
    pub(super) fn p99(
        &mut self,
        now: Instant,
        snapshot: Snapshot,
        is_waiting: bool,
        limits: CommitSignal,
    ) -> Duration {
        let window = limits.window;
        // The newest snapshot that is as old as the window stays: the others are compared with it.
        let is_old = |(at, _): &(Instant, Snapshot)| now.saturating_duration_since(*at) >= window;
        while self.0.get(1).is_some_and(is_old) {
            self.0.pop_front();
        }
        let (seen_for, recent) = match self.0.front() {
            Some((at, first)) => (
                now.saturating_duration_since(*at),
                difference(first, &snapshot),
            ),
            None => (Duration::ZERO, Vec::new()),
        };
        self.0.push_back((now, snapshot));
        let count: u64 = recent.iter().map(|(_, n)| n).sum();
        if count < u64::from(limits.min_commits) && !is_waiting {
            return Duration::ZERO;
        }
        match percentile(&recent, 0.99) {
            Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
            None if is_waiting => seen_for.min(window),
            None => Duration::ZERO,
        }
    }
}

/// Returns how many values each bucket has got since an earlier snapshot.
fn difference(earlier: &Snapshot, later: &Snapshot) -> Vec<(f64, u64)> {
    let counts = later.buckets.iter().zip(&earlier.buckets);
    counts
        .map(|((bound, now), (_, before))| (*bound, now.saturating_sub(*before)))
        .collect()
}

/// Returns a percentile of values that were counted in buckets, within the bucket as if they were
/// spread evenly; `None` without values.
#[allow(clippy::cast_precision_loss, reason = "counts to a share")]
fn percentile(buckets: &[(f64, u64)], share: f64) -> Option<f64> {
    let count: u64 = buckets.iter().map(|(_, n)| n).sum();
    if count == 0 {
        return None;
    }
    let rank = count as f64 * share;
    let (mut below, mut lower) = (0.0, 0.0);
    for (bound, n) in buckets {
        let n = *n as f64;
        if n > 0.0 && below + n >= rank {
            // The last bucket has no upper bound.
            let upper = if bound.is_finite() { *bound } else { lower };
            return Some(lower + (upper - lower) * ((rank - below) / n).clamp(0.0, 1.0));
        }
        below += n;
        lower = *bound;
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use deia_ledger::metrics::Histogram;

    use super::*;

    fn limits(min_commits: u32) -> CommitSignal {
        let defaults = crate::config::Config::defaults().unwrap();
        CommitSignal {
            min_commits,
            ..defaults.degradation.cpu_and_commits
        }
    }

    #[test]
    fn percentile_lies_within_its_bucket() {
        let of = |counts: &[(f64, u64)]| percentile(counts, 0.99);
        assert_eq!(of(&[(1.0, 0), (f64::INFINITY, 0)]), None);
        assert_eq!(of(&[(1.0, 0), (2.0, 100), (f64::INFINITY, 0)]), Some(1.99));
        assert_eq!(of(&[(1.0, 99), (2.0, 1), (f64::INFINITY, 0)]), Some(1.0));
        assert_eq!(of(&[(1.0, 0), (f64::INFINITY, 3)]), Some(1.0));
        let slow = of(&[(0.025, 90), (0.05, 0), (0.1, 10), (f64::INFINITY, 0)]);
        assert!(slow.is_some_and(|it| it > 0.09 && it < 0.1), "{slow:?}");
    }

    #[test]
    fn only_recent_commits_count() {
        let (histogram, start) = (Histogram::of_durations(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::default();
        let p99 = |window: &mut Window, seconds, is_waiting| {
            window.p99(at(seconds), histogram.snapshot(), is_waiting, limits(1))
        };
        histogram.observe(Duration::from_secs(3));
        // Nothing to compare it with.
        assert_eq!(p99(&mut window, 0, false), Duration::ZERO);
        assert_eq!(p99(&mut window, 5, false), Duration::ZERO);
        histogram.observe(Duration::from_millis(80));
        let slow = p99(&mut window, 6, false);
        assert!(slow > Duration::from_millis(50) && slow <= Duration::from_millis(100));
        assert_eq!(p99(&mut window, 15, false), slow, "still within the window");
        assert_eq!(p99(&mut window, 17, false), Duration::ZERO);
        // A commit that does not end is seen by those that wait for it.
        assert_eq!(p99(&mut window, 30, true), Duration::from_secs(10));
    }

    #[test]
    fn one_slow_commit_among_few_is_no_sign_unless_others_wait() {
        let (histogram, start) = (Histogram::of_durations(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::default();
        window.p99(at(0), histogram.snapshot(), false, limits(20));
        histogram.observe(Duration::from_millis(80));
        let mut p99 = |is_waiting| {
            let snapshot = histogram.snapshot();
            window.p99(at(1), snapshot, is_waiting, limits(20))
        };
        assert_eq!(p99(false), Duration::ZERO);
        assert!(p99(true) > Duration::from_millis(50));
    }
}
