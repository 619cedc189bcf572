//! A histogram of atomics: observing takes no lock and allocates nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets of durations, in seconds: from a read of memory to a
/// long poll.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
/// Upper bounds of the buckets of counts.
const COUNTS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0,
];

/// Counts of observed values, by size. Observing costs two atomic additions.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more bucket than there are bounds: the last has no upper bound.
    buckets: Box<[AtomicU64]>,
    /// The sum of the observed values, in billionths.
    sum: AtomicU64,
}

/// The state of a [`Histogram`] at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Upper bound, and number of values in this bucket and no lower one.
    pub buckets: Vec<(f64, u64)>,
    /// Number of values.
    pub count: u64,
    /// Sum of the values; durations are in seconds.
    pub sum: f64,
}

/// Nanoseconds of a second. Fact: the definition of the unit.
const BILLION: f64 = 1e9;

impl Histogram {
    /// Creates a histogram of durations from 100 microseconds to a minute.
    pub fn of_durations() -> Self {
        Self::new(SECONDS)
    }

    /// Creates a histogram of counts from 1 to some thousands.
    pub fn of_counts() -> Self {
        Self::new(COUNTS)
    }

    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Adds a duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.add(duration.as_secs_f64(), nanos);
    }

    /// Adds a count.
    #[allow(clippy::cast_precision_loss, reason = "only its bucket is asked for")]
    pub fn observe_count(&self, count: usize) {
        let billionths = (count as u64).saturating_mul(1_000_000_000);
        self.add(count as f64, billionths);
    }

    fn add(&self, value: f64, billionths: u64) {
        let bucket = self.bounds.partition_point(|bound| value > *bound);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(billionths, Ordering::Relaxed);
    }

    /// Returns whether nothing was observed yet.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|n| n.load(Ordering::Relaxed) == 0)
    }

    #[allow(clippy::cast_precision_loss, reason = "a sum for display")]
    /// Returns the current counts.
    pub fn snapshot(&self) -> Snapshot {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds
            .zip(self.buckets.iter().map(|n| n.load(Ordering::Relaxed)))
            .collect();
        Snapshot {
            count: buckets.iter().map(|(_, n)| n).sum(),
            sum: self.sum.load(Ordering::Relaxed) as f64 / BILLION,
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::of_counts();
        for count in [0, 1, 2, 3, 4, 5_000] {
            histogram.observe_count(count);
        }
        let seen = histogram.snapshot();
        assert_eq!((seen.count, seen.sum), (6, 5_010.0));
        let filled: Vec<_> = seen.buckets.iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(
            filled,
            [&(1.0, 2), &(2.0, 1), &(4.0, 2), &(f64::INFINITY, 1)]
        );
    }

    #[test]
    fn durations_are_summed_in_seconds() {
        let histogram = Histogram::of_durations();
        histogram.observe(Duration::from_micros(100));
        histogram.observe(Duration::from_millis(1_500));
        let seen = histogram.snapshot();
        assert!((seen.sum - 1.500_1).abs() < 1e-9, "{}", seen.sum);
        assert_eq!(
            seen.buckets[0],
            (0.000_1, 1),
            "a bound belongs to its bucket"
        );
    }

    #[test]
    fn bounds_rise() {
        for bounds in [SECONDS, COUNTS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}
