//! What the rooms of the hive count as they work.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use deia_model::AttemptEnd;

use super::{Histogram, Readings, readings::NO_LABELS, table};
use crate::ledger::{Command, FinishOutcome, Outcome, StoreError};

/// A number that many add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a store counts.
#[derive(Debug)]
pub struct StoreMetrics {
    applied: Count,
    refused: Count,
    full: Count,
    busy: Count,
    failed: Count,
    waiting: Count,
    group: Histogram,
    commit: Histogram,
    wal_pages: Count,
    checkpoints: Count,
    checkpoints_failed: Count,
    reads: Count,
    reads_busy: Count,
    reads_failed: Count,
    read: Histogram,
    ends: [Count; AttemptEnd::ALL.len()],
    stale: Count,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            applied: Count::new(),
            refused: Count::new(),
            full: Count::new(),
            busy: Count::new(),
            failed: Count::new(),
            waiting: Count::new(),
            group: Histogram::of_counts(),
            commit: Histogram::of_durations(),
            wal_pages: Count::new(),
            checkpoints: Count::new(),
            checkpoints_failed: Count::new(),
            reads: Count::new(),
            reads_busy: Count::new(),
            reads_failed: Count::new(),
            read: Histogram::of_durations(),
            ends: Default::default(),
            stale: Count::new(),
        }
    }
}

impl StoreMetrics {
    /// A command waits for the writer.
    pub(crate) fn queued(&self) {
        self.waiting.add(1);
    }

    /// A new writer starts with an empty queue.
    pub(crate) fn queue_is_empty(&self) {
        self.waiting.set(0);
    }

    /// Whoever finds no writer may still count while a new one starts from 0.
    fn waiting(&self) -> u64 {
        u64::try_from(self.waiting.get().cast_signed()).unwrap_or(0)
    }

    /// Commands were taken by the writer, or found no room after all.
    pub(crate) fn unqueued(&self, commands: usize) {
        self.waiting.sub(commands as u64);
    }

    /// A group was committed, in that time from its begin.
    pub(crate) fn committed(
        &self,
        commands: &[&Command],
        outcomes: &[Result<Outcome, StoreError>],
        began: Instant,
        wal_pages: u32,
    ) {
        self.commit.observe(began.elapsed());
        self.group.observe_count(commands.len());
        self.wal_pages.set(u64::from(wal_pages));
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
        self.refused.add(refused);
        self.applied.add(outcomes.len() as u64 - refused);
        let mut ends = [0; AttemptEnd::ALL.len()];
        let mut stale = 0;
        for (command, outcome) in commands.iter().zip(outcomes) {
            match (command, outcome) {
                (Command::Finish(reports), Ok(Outcome::Finished(finished))) => {
                    for (report, came_to) in reports.iter().zip(finished) {
                        if *came_to == FinishOutcome::Stale {
                            stale += 1;
                            continue;
                        }
                        ends[place(report.end)] += 1;
                    }
                }
                (Command::GiveBack { end, .. }, Ok(Outcome::Done(n))) => ends[place(*end)] += n,
                _ => {}
            }
        }
        for (count, n) in self.ends.iter().zip(ends).filter(|(_, n)| *n > 0) {
            count.add(n);
        }
        self.stale.add(stale);
    }

    /// A command was not applied.
    pub(crate) fn not_applied(&self, error: &StoreError) {
        match error {
            StoreError::Refused(_) => self.refused.add(1),
            StoreError::Full(_) => self.full.add(1),
            StoreError::Busy => self.busy.add(1),
            _ => self.failed.add(1),
        }
    }

    /// The log was folded back, or that failed.
    pub(crate) fn checkpointed(&self, done: bool) {
        match done {
            true => self.checkpoints.add(1),
            false => self.checkpoints_failed.add(1),
        }
    }

    /// A read that was asked for then has ended.
    pub(crate) fn read(&self, asked: Instant, done: bool) {
        self.read.observe(asked.elapsed());
        match done {
            true => self.reads.add(1),
            false => self.reads_failed.add(1),
        }
    }

    /// A read found too many others waiting.
    pub(crate) fn read_refused(&self) {
        self.reads_busy.add(1);
    }

    /// Transactions that were committed.
    #[cfg(test)]
    pub(crate) fn commits(&self) -> u64 {
        self.commit.snapshot().count
    }

    pub(crate) fn write(&self, out: &mut Readings) {
        for (result, count) in [
            ("applied", &self.applied),
            ("refused", &self.refused),
            ("full", &self.full),
            ("busy", &self.busy),
            ("failed", &self.failed),
        ] {
            out.count(&table::STORE_COMMANDS, [result], count.get());
        }
        for (result, count) in [
            ("done", &self.reads),
            ("busy", &self.reads_busy),
            ("failed", &self.reads_failed),
        ] {
            out.count(&table::STORE_READS, [result], count.get());
        }
        for (result, count) in [
            ("done", &self.checkpoints),
            ("failed", &self.checkpoints_failed),
        ] {
            out.count(&table::STORE_CHECKPOINTS, [result], count.get());
        }
        for (end, count) in AttemptEnd::ALL.iter().zip(&self.ends) {
            out.count(&table::ATTEMPTS, [end.as_str()], count.get());
        }
        out.plain(&table::ATTEMPT_REPORTS_STALE, self.stale.get());
        out.plain(&table::STORE_QUEUE, self.waiting());
        out.plain(&table::STORE_WAL_PAGES, self.wal_pages.get());
        out.sizes(&table::STORE_COMMIT_COMMANDS, NO_LABELS, &self.group);
        out.sizes(&table::STORE_COMMIT_DURATION, NO_LABELS, &self.commit);
        out.sizes(&table::STORE_READ_DURATION, NO_LABELS, &self.read);
    }
}

fn place(end: AttemptEnd) -> usize {
    match end {
        AttemptEnd::Succeeded => 0,
        AttemptEnd::Failed => 1,
        AttemptEnd::Cancelled => 2,
        AttemptEnd::BotDied => 3,
        AttemptEnd::Suspected => 4,
        AttemptEnd::HiveDied => 5,
        AttemptEnd::GivenBack => 6,
        AttemptEnd::BotFault => 7,
    }
}

/// What the scheduler counts.
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

/// What the one thread that writes the logs of bots counts.
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

/// Rows of the stores of this process that could not be decoded.
pub(crate) static UNREADABLE_ROWS: Count = Count::new();

impl BotLogMetrics {
    pub(crate) fn write(&self, out: &mut Readings) {
        out.plain(&table::BOTS_LOG_BYTES, self.bytes.get());
        out.plain(&table::BOTS_LOG_DROPPED, self.dropped.get());
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{LeaseToken, TaskId};

    use super::*;

    #[test]
    fn every_end_has_its_place() {
        for (i, end) in AttemptEnd::ALL.iter().enumerate() {
            assert_eq!(place(*end), i);
        }
    }

    #[test]
    fn a_commit_is_counted_by_what_came_of_it() {
        let metrics = StoreMetrics::default();
        let report = |end| crate::ledger::AttemptReport {
            task: TaskId::new(),
            attempt: 1,
            lease: LeaseToken::new(),
            end,
            output: None,
            output_bytes: None,
            error: None,
            exit_code: None,
            execution_time_ms: 5,
            tokens_used: None,
            cost_cents: None,
        };
        let finish = Command::Finish(vec![
            report(AttemptEnd::Succeeded),
            report(AttemptEnd::Failed),
        ]);
        let outcomes = [
            Ok(Outcome::Finished(vec![
                FinishOutcome::Recorded(deia_model::TaskStatus::Completed),
                FinishOutcome::Stale,
            ])),
            Err(StoreError::Refused(crate::ledger::Refusal::LastAdminKey)),
        ];
        metrics.committed(
            &[&finish, &Command::Prune { tasks: vec![] }],
            &outcomes,
            Instant::now(),
            9,
        );
        let ends: Vec<u64> = metrics.ends.iter().map(Count::get).collect();
        assert_eq!(ends, [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((metrics.stale.get(), metrics.wal_pages.get()), (1, 9));
        assert_eq!((metrics.applied.get(), metrics.refused.get()), (1, 1));
    }
}
