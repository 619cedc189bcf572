//! Counters of the parts of the hive.

use deia_ledger::metrics::{Counter, StoreMetrics};
use deia_model::AttemptEnd;

use super::{Exposition, exposition::NO_LABELS, table};

/// Writes the counters of a store.
pub(crate) fn write_store(store: &StoreMetrics, out: &mut Exposition) {
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
    out.gauge(&table::ATTEMPT_REPORTS_STALE, store.stale.get());
    out.gauge(&table::STORE_QUEUE, store.waiting());
    out.gauge(&table::STORE_WAL_PAGES, store.wal_pages.get());
    out.histogram(&table::STORE_COMMIT_COMMANDS, NO_LABELS, &store.group);
    out.histogram(&table::STORE_COMMIT_DURATION, NO_LABELS, &store.commit);
    out.histogram(&table::STORE_READ_DURATION, NO_LABELS, &store.read);
}

/// Counters of the scheduler.
#[derive(Debug, Default)]
pub(crate) struct SchedulerMetrics {
    pub(crate) lanes: Counter,
    pub(crate) window: Counter,
    pub(crate) claiming: Counter,
    pub(crate) claims: Counter,
    pub(crate) claims_failed: Counter,
    pub(crate) assigned: Counter,
    pub(crate) lost: Counter,
}

impl SchedulerMetrics {
    pub(crate) fn write(&self, out: &mut Exposition) {
        out.gauge(&table::SCHEDULER_LANES, self.lanes.get());
        out.gauge(&table::SCHEDULER_WINDOW, self.window.get());
        out.gauge(&table::SCHEDULER_CLAIMING, self.claiming.get());
        out.count(&table::SCHEDULER_CLAIMS, ["done"], self.claims.get());
        out.count(
            &table::SCHEDULER_CLAIMS,
            ["failed"],
            self.claims_failed.get(),
        );
        out.gauge(&table::SCHEDULER_ASSIGNED, self.assigned.get());
        out.gauge(&table::SCHEDULER_LOST, self.lost.get());
    }
}

/// Counters of the thread that writes the logs of bots.
#[derive(Debug)]
pub(crate) struct BotLogMetrics {
    pub(crate) bytes: Counter,
    pub(crate) dropped: Counter,
}

/// Counters of the logs of all bots of this process.
pub(crate) static BOT_LOGS: BotLogMetrics = BotLogMetrics {
    bytes: Counter::new(),
    dropped: Counter::new(),
};

impl BotLogMetrics {
    pub(crate) fn write(&self, out: &mut Exposition) {
        out.gauge(&table::BOTS_LOG_BYTES, self.bytes.get());
        out.gauge(&table::BOTS_LOG_DROPPED, self.dropped.get());
    }
}

/// Counters of the worker programs of all bots.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    /// Lines that were not of the protocol.
    pub(crate) garbage: Counter,
}

/// Counters of the worker programs of this process.
pub(crate) static WORKERS: WorkerMetrics = WorkerMetrics {
    garbage: Counter::new(),
};

impl WorkerMetrics {
    pub(crate) fn write(&self, out: &mut Exposition) {
        out.gauge(&table::BOTS_WORKER_GARBAGE, self.garbage.get());
    }
}
