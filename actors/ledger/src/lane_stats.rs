//! Statistics of the queue in one commit.

use deia_model::{AttemptEnd, TaskStatus};

/// Counts of values by powers of two: slot `n` holds the values below `2^n` that are in
/// no earlier slot, the last slot all larger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    slots: [u32; Histogram::SLOTS],
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            slots: [0; Self::SLOTS],
            sum: 0,
        }
    }
}

impl Histogram {
    /// Number of slots. Values of `2^22` (milliseconds: 70 minutes) and more share the
    /// last one. Fixed: a histogram of fixed size; each slot is twice as wide as the one
    /// before.
    pub const SLOTS: usize = 24;

    /// Adds one value.
    pub fn record(&mut self, value: u64) {
        let slot = (u64::BITS - value.leading_zeros()) as usize;
        let slot = &mut self.slots[slot.min(Self::SLOTS - 1)];
        *slot = slot.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (slot, more) in self.slots.iter_mut().zip(other.slots) {
            *slot = slot.saturating_add(more);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Serialises the histogram for [`Self::from_bytes`]: the sum, then the slots.
    pub fn to_bytes(&self) -> Vec<u8> {
        let slots = self.slots.iter().flat_map(|n| n.to_le_bytes());
        self.sum.to_le_bytes().into_iter().chain(slots).collect()
    }

    /// Parses the output of [`Self::to_bytes`]; `None` if it is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sum, slots) = bytes.split_first_chunk::<8>()?;
        let (slots, rest) = slots.as_chunks::<4>();
        let mut read = Self {
            sum: u64::from_le_bytes(*sum),
            ..Self::default()
        };
        if slots.len() != Self::SLOTS || !rest.is_empty() {
            return None;
        }
        for (slot, bytes) in read.slots.iter_mut().zip(slots) {
            *slot = u32::from_le_bytes(*bytes);
        }
        Some(read)
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.slots.iter().map(|n| u64::from(*n)).sum()
    }

    /// Returns the sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Iterates over the slots: the upper bound, exclusive, and the number of values;
    /// the last slot has no bound.
    pub fn slots(&self) -> impl Iterator<Item = (Option<u64>, u32)> + '_ {
        let bound = |i: usize| (i + 1 < Self::SLOTS).then(|| 1u64 << i);
        self.slots
            .iter()
            .enumerate()
            .map(move |(i, n)| (bound(i), *n))
    }

    /// Returns the bound below which that share (0 to 1) of the values lies; 0 when
    /// there are none. Values beyond the last bound count as `2^23`.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count"
    )]
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.count() as f64) * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        for (i, n) in self.slots.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= wanted && seen > 0 {
                return if i == 0 { 0 } else { (1 << i) - 1 };
            }
        }
        0
    }
}

/// Statistics of one lane (a type and a priority) in one commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Tasks accepted.
    pub submitted: u32,
    /// Attempts started.
    pub started: u32,
    /// Tasks completed.
    pub completed: u32,
    /// Tasks failed, poison included.
    pub failed: u32,
    /// Tasks failed as poison.
    pub dead: u32,
    /// Tasks cancelled.
    pub cancelled: u32,
    /// Attempts that failed and are followed by another.
    pub retried: u32,
    /// Attempts that were interrupted and are followed by another.
    pub returned: u32,
    /// Waits of the started tasks, from ready to started, in milliseconds.
    pub waits: Histogram,
    /// Durations of attempts that succeeded or failed, in milliseconds.
    pub runs: Histogram,
}

impl LaneStats {
    /// Counts the end of an attempt, and the resulting status of its task.
    pub fn attempt_ended(&mut self, end: AttemptEnd, status: TaskStatus, run_ms: u64) {
        if end.ended_by_itself() {
            self.runs.record(run_ms);
        }
        match (end, status) {
            (_, TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled) => {
                self.ended(status);
            }
            (AttemptEnd::Failed, _) => self.retried += 1,
            _ => self.returned += 1,
        }
    }

    /// Counts a task that reached its final status.
    pub fn ended(&mut self, status: TaskStatus) {
        match status {
            TaskStatus::Completed => self.completed += 1,
            TaskStatus::Failed => self.failed += 1,
            TaskStatus::Cancelled => self.cancelled += 1,
            _ => {}
        }
    }

    /// Adds the statistics of another commit.
    pub fn merge(&mut self, other: &Self) {
        self.submitted = self.submitted.saturating_add(other.submitted);
        self.started = self.started.saturating_add(other.started);
        self.completed = self.completed.saturating_add(other.completed);
        self.failed = self.failed.saturating_add(other.failed);
        self.dead = self.dead.saturating_add(other.dead);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        self.retried = self.retried.saturating_add(other.retried);
        self.returned = self.returned.saturating_add(other.returned);
        self.waits.merge(&other.waits);
        self.runs.merge(&other.runs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_below_the_bound_of_their_slot() {
        let mut all = Histogram::default();
        for value in [0, 1, 2, 3, 4, 1_000, u64::MAX] {
            all.record(value);
        }
        let filled: Vec<_> = all.slots().filter(|(_, n)| *n > 0).collect();
        assert_eq!(
            filled,
            [
                (Some(1), 1),
                (Some(2), 1),
                (Some(4), 2),
                (Some(8), 1),
                (Some(1_024), 1),
                (None, 1)
            ]
        );
        assert_eq!(all.count(), 7);
    }

    #[test]
    fn quantiles_bound_their_share() {
        let mut waits = Histogram::default();
        assert_eq!(waits.quantile(0.5), 0);
        (0..90).for_each(|_| waits.record(3));
        (0..10).for_each(|_| waits.record(100));
        assert_eq!(
            [0.0, 0.5, 0.9, 0.95, 1.0].map(|share| waits.quantile(share)),
            [3, 3, 3, 127, 127]
        );
        let mut both = waits;
        both.merge(&waits);
        assert_eq!((both.count(), both.sum()), (200, 2 * waits.sum()));
    }
}
