//! Metrics of a store.

use std::time::Instant;

use deia_model::AttemptEnd;

use super::{
    Counter, Histogram,
    turns::{TurnWaits, Turns},
};
use crate::{Command, HeldAck, Reply, ReportAck, StoreError};

/// Rows of the stores of this process that could not be decoded.
pub static UNREADABLE_ROWS: Counter = Counter::new();

/// Metrics of a store.
#[derive(Debug)]
pub struct StoreMetrics {
    /// Commands that were applied.
    pub applied: Counter,
    /// Commands that were refused.
    pub refused: Counter,
    /// Commands that found a full disk.
    pub full: Counter,
    /// Commands that found the queue full.
    pub busy: Counter,
    /// Commands that failed otherwise.
    pub failed: Counter,
    waiting: Counter,
    turns: Turns,
    /// Commands in one commit.
    pub group: Histogram,
    /// Durations of commits.
    pub commit: Histogram,
    /// Pages of the write-ahead log.
    pub wal_pages: Counter,
    /// Checkpoints that were done.
    pub checkpoints: Counter,
    /// Checkpoints that failed.
    pub checkpoints_failed: Counter,
    /// Reads that were answered.
    pub reads: Counter,
    /// Reads that were refused because too many others were waiting.
    pub reads_busy: Counter,
    /// Reads that failed.
    pub reads_failed: Counter,
    /// Durations of reads.
    pub read: Histogram,
    /// Ends of attempts, in the order of [`AttemptEnd::ALL`].
    pub ends: [Counter; AttemptEnd::ALL.len()],
    /// Reports of attempts whose lease was no longer in force.
    pub stale: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            applied: Counter::new(),
            refused: Counter::new(),
            full: Counter::new(),
            busy: Counter::new(),
            failed: Counter::new(),
            waiting: Counter::new(),
            turns: Turns::default(),
            group: Histogram::of_counts(),
            commit: Histogram::of_durations(),
            wal_pages: Counter::new(),
            checkpoints: Counter::new(),
            checkpoints_failed: Counter::new(),
            reads: Counter::new(),
            reads_busy: Counter::new(),
            reads_failed: Counter::new(),
            read: Histogram::of_durations(),
            ends: Default::default(),
            stale: Counter::new(),
        }
    }
}

impl StoreMetrics {
    /// Counts a command that waits for the writer.
    pub fn queued(&self) {
        self.waiting.add(1);
    }

    /// Resets the queue length: a new writer starts with an empty queue.
    pub fn queue_is_empty(&self) {
        self.waiting.set(0);
    }

    /// Returns the number of waiting commands. A command that finds no writer may still
    /// be counted while a new one starts from 0.
    pub fn waiting(&self) -> u64 {
        u64::try_from(self.waiting.get().cast_signed()).unwrap_or(0)
    }

    /// Counts commands that the writer took, or that found the queue full.
    pub fn unqueued(&self, commands: usize) {
        self.waiting.sub(commands as u64);
    }

    /// Notes that the writer took a group, whose commands were queued at these times.
    pub fn gathered(&self, queued_at: impl Iterator<Item = Instant>) {
        self.turns.gathered(queued_at, self.waiting() > 0);
    }

    /// Returns the waits of commands for their turn.
    pub fn turn_waits(&self) -> TurnWaits {
        self.turns.get()
    }

    /// Counts a committed group, and its duration.
    pub fn committed(
        &self,
        commands: &[&Command],
        replies: &[Result<Reply, StoreError>],
        began: Instant,
        wal_pages: u32,
    ) {
        self.commit.observe(began.elapsed());
        self.group.observe_count(commands.len());
        self.wal_pages.set(u64::from(wal_pages));
        let refused = replies.iter().filter(|reply| reply.is_err()).count() as u64;
        self.refused.add(refused);
        self.applied.add(replies.len() as u64 - refused);
        let mut ends = [0; AttemptEnd::ALL.len()];
        let mut stale = 0;
        for (command, reply) in commands.iter().zip(replies) {
            match (command, reply) {
                (Command::FinishAttempts(command), Ok(Reply::Finished(finished))) => {
                    for (report, came_to) in command.0.iter().zip(finished) {
                        if *came_to == ReportAck::Stale {
                            stale += 1;
                            continue;
                        }
                        ends[place(report.end)] += 1;
                    }
                }
                (Command::FinishHeld(held), Ok(Reply::HeldFinished(came_to))) => match came_to {
                    HeldAck::Recorded(_) => ends[place(held.report.end)] += 1,
                    HeldAck::Repeated(_) => {}
                    HeldAck::Stale => stale += 1,
                },
                (Command::ReleaseLeases(command), Ok(Reply::Done(n))) => {
                    ends[place(command.end)] += n;
                }
                _ => {}
            }
        }
        for (count, n) in self.ends.iter().zip(ends).filter(|(_, n)| *n > 0) {
            count.add(n);
        }
        self.stale.add(stale);
    }

    /// Counts a command that was not applied.
    pub fn not_applied(&self, error: &StoreError) {
        match error {
            StoreError::Refused(_) => self.refused.add(1),
            StoreError::Full(_) => self.full.add(1),
            StoreError::Busy => self.busy.add(1),
            _ => self.failed.add(1),
        }
    }

    /// Counts a checkpoint, or one that failed.
    pub fn checkpointed(&self, done: bool) {
        match done {
            true => self.checkpoints.add(1),
            false => self.checkpoints_failed.add(1),
        }
    }

    /// Counts a read that was requested at `asked` and has ended.
    pub fn read(&self, asked: Instant, done: bool) {
        self.read.observe(asked.elapsed());
        match done {
            true => self.reads.add(1),
            false => self.reads_failed.add(1),
        }
    }

    /// Counts a read that was refused because too many others were waiting.
    pub fn read_refused(&self) {
        self.reads_busy.add(1);
    }

    /// Returns the number of committed transactions.
    #[cfg(test)]
    pub fn commits(&self) -> u64 {
        self.commit.snapshot().count
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
        AttemptEnd::FailedForGood => 8,
        AttemptEnd::Refused => 9,
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{LeaseToken, TaskId};

    use super::*;
    use crate::{FinishAttempts, Prune};

    #[test]
    fn every_end_has_its_place() {
        for (i, end) in AttemptEnd::ALL.iter().enumerate() {
            assert_eq!(place(*end), i);
        }
    }

    #[test]
    fn a_commit_is_counted_by_what_came_of_it() {
        let metrics = StoreMetrics::default();
        let report = |end| crate::AttemptReport {
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
            failure_class: None,
        };
        let finish = FinishAttempts(vec![
            report(AttemptEnd::Succeeded),
            report(AttemptEnd::Failed),
        ])
        .into();
        let outcomes = [
            Ok(Reply::Finished(vec![
                ReportAck::Recorded(deia_model::TaskStatus::Completed),
                ReportAck::Stale,
            ])),
            Err(StoreError::Refused(crate::Rejection::LastAdminKey)),
        ];
        metrics.committed(
            &[&finish, &Prune { tasks: vec![] }.into()],
            &outcomes,
            Instant::now(),
            9,
        );
        let ends: Vec<u64> = metrics.ends.iter().map(Counter::get).collect();
        assert_eq!(ends, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((metrics.stale.get(), metrics.wal_pages.get()), (1, 9));
        assert_eq!((metrics.applied.get(), metrics.refused.get()), (1, 1));
    }
}
