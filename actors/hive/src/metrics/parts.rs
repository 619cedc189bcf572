//! Counters of the parts of the hive.

use deia_ledger::metrics::{Count, StoreMetrics};
use deia_model::AttemptEnd;

use super::{Readings, readings::NO_LABELS, table};

/// Writes what a store has counted.
pub(crate) fn write_store(store: &StoreMetrics, out: &mut Readings) {
    for (result, count) in [
        ("applied", &store.applied),
        ("refused", &store.refused),
        ("full", &store.full),
        ("busy", &store.busy),
        ("failed", &store.failed),
    ] {
        out.count(&table::STORE_COMMANDS, [result], count.get());
    }
    for (result, count) in [
        ("done", &store.reads),
        ("busy", &store.reads_busy),
        ("failed", &store.reads_failed),
    ] {
        out.count(&table::STORE_READS, [result], count.get());
    }
    for (result, count) in [
        ("done", &store.checkpoints),
        ("failed", &store.checkpoints_failed),
    ] {
        out.count(&table::STORE_CHECKPOINTS, [result], count.get());
    }
    for (end, count) in AttemptEnd::ALL.iter().zip(&store.ends) {
        out.count(&table::ATTEMPTS, [end.as_str()], count.get());
    }
    out.plain(&table::ATTEMPT_REPORTS_STALE, store.stale.get());
    out.plain(&table::STORE_QUEUE, store.waiting());
    out.plain(&table::STORE_WAL_PAGES, store.wal_pages.get());
    out.sizes(&table::STORE_COMMIT_COMMANDS, NO_LABELS, &store.group);
    out.sizes(&table::STORE_COMMIT_DURATION, NO_LABELS, &store.commit);
    out.sizes(&table::STORE_READ_DURATION, NO_LABELS, &store.read);
}

/// Counters of the scheduler.
#[derive(Debug, Default)]
pub(crate) struct SchedulerMetrics {
    pub(crate) lanes: Count,
    pub(crate) window: Count,
    pub(crate) claiming: Count,
    pub(crate) claims: Count,
    pub(crate) claims_failed: Count,
    pub(crate) assigned: Count,
    pub(crate) lost: Count,
}

impl SchedulerMetrics {
    pub(crate) fn write(&self, out: &mut Readings) {
        out.plain(&table::SCHEDULER_LANES, self.lanes.get());
        out.plain(&table::SCHEDULER_WINDOW, self.window.get());
        out.plain(&table::SCHEDULER_CLAIMING, self.claiming.get());
        out.count(&table::SCHEDULER_CLAIMS, ["done"], self.claims.get());
        out.count(
            &table::SCHEDULER_CLAIMS,
            ["failed"],
            self.claims_failed.get(),
        );
        out.plain(&table::SCHEDULER_ASSIGNED, self.assigned.get());
        out.plain(&table::SCHEDULER_LOST, self.lost.get());
    }
}

/// Counters of the thread that writes the logs of bots.
#[derive(Debug)]
pub(crate) struct BotLogMetrics {
    pub(crate) bytes: Count,
    pub(crate) dropped: Count,
}

/// The logs of all bots of this process.
pub(crate) static BOT_LOGS: BotLogMetrics = BotLogMetrics {
    bytes: Count::new(),
    dropped: Count::new(),
};

impl BotLogMetrics {
    pub(crate) fn write(&self, out: &mut Readings) {
        out.plain(&table::BOTS_LOG_BYTES, self.bytes.get());
        out.plain(&table::BOTS_LOG_DROPPED, self.dropped.get());
    }
}
