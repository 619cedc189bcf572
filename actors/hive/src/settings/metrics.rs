//! Counts of changes of settings.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{Exposition, table};

/// Changes since the start.
#[derive(Default)]
pub(super) struct SettingsMetrics {
    applied: AtomicU64,
    refused: AtomicU64,
    taken_back: AtomicU64,
}

impl SettingsMetrics {
    pub(super) fn note_applied(&self) {
        self.applied.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn note_taken_back(&self) {
        self.taken_back.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the series.
    pub(super) fn write(&self, out: &mut Exposition, version: u64) {
        out.gauge(&table::SETTINGS_VERSION, version);
        for (outcome, count) in [
            ("applied", &self.applied),
            ("refused", &self.refused),
            ("taken_back", &self.taken_back),
        ] {
            let count = count.load(Ordering::Relaxed);
            out.count(&table::SETTINGS_CHANGES, [outcome.to_owned()], count);
        }
    }
}
