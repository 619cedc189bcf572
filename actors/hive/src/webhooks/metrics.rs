//! Counts of webhooks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{Exposition, table};

/// Counts since the start.
#[derive(Default)]
pub(super) struct WebhookMetrics {
    pub(super) endpoints: AtomicU64,
    pub(super) active: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    pub(super) matched: AtomicU64,
    pub(super) missed: AtomicU64,
}

impl WebhookMetrics {
    /// Counts an attempt.
    pub(super) fn note_attempt(&self, succeeded: bool) {
        let count = match succeeded {
            true => &self.delivered,
            false => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the series.
    pub(super) fn write(&self, out: &mut Exposition) {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        out.gauge(&table::WEBHOOK_ENDPOINTS, value(&self.endpoints));
        out.gauge(&table::WEBHOOK_ENDPOINTS_ACTIVE, value(&self.active));
        out.gauge(&table::WEBHOOK_EVENTS_MATCHED, value(&self.matched));
        out.gauge(&table::WEBHOOK_EVENTS_MISSED, value(&self.missed));
        for (outcome, count) in [("delivered", &self.delivered), ("failed", &self.failed)] {
            out.count(&table::WEBHOOK_ATTEMPTS, [outcome.to_owned()], value(count));
        }
    }
}
