//! Counts of alerts.

use std::sync::atomic::{AtomicU64, Ordering};

use deia_model::{Alert, AlertName};

use crate::metrics::{Exposition, table};

/// Open alerts by name, as of the last check, and the alerts raised since the start.
#[derive(Default)]
pub(super) struct AlertMetrics {
    open: [AtomicU64; AlertName::ALL.len()],
    raised: AtomicU64,
}

impl AlertMetrics {
    /// Replaces the counts of open alerts.
    pub(super) fn note_open(&self, open: &[Alert]) {
        for (count, name) in self.open.iter().zip(AlertName::ALL) {
            let of_name = open.iter().filter(|alert| alert.name == name.as_str());
            count.store(of_name.count() as u64, Ordering::Relaxed);
        }
    }

    /// Adds alerts that were raised.
    pub(super) fn note_raised(&self, count: usize) {
        self.raised.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Writes the series, with 0 for alerts that are not open.
    pub(super) fn write(&self, out: &mut Exposition) {
        for (count, name) in self.open.iter().zip(AlertName::ALL) {
            let labels = [name.as_str().to_owned()];
            out.count(&table::ALERTS_OPEN, labels, count.load(Ordering::Relaxed));
        }
        out.gauge(&table::ALERTS_RAISED, self.raised.load(Ordering::Relaxed));
    }
}
