//! Counts of messages between bots.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{Exposition, table};

/// Counts since the start.
#[derive(Default)]
pub(super) struct MessagingMetrics {
    pub(super) sent: Count,
    pub(super) delivered: Count,
    pub(super) read: Count,
}

/// A number that only grows.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }
}

impl MessagingMetrics {
    /// Writes the series.
    pub(super) fn write(&self, out: &mut Exposition) {
        for (step, count) in [
            ("sent", &self.sent),
            ("delivered", &self.delivered),
            ("read", &self.read),
        ] {
            let count = count.0.load(Ordering::Relaxed);
            out.count(&table::MESSAGES, [step.to_owned()], count);
        }
    }
}
