//! Commits of groups of commands in one transaction, and the search for the one that
//! makes it fail.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    time::Instant,
};

use deia_model::Timestamp;
use rusqlite::Connection;

use super::{
    super::{
        apply::apply,
        errors::{ApplyError, is_fatal, store_error},
        reserve::Share,
        transaction::{AfterCommit, Tx},
    },
    Job, Writer, known_types, share,
};
use crate::{Command, CommitNotice, Reply, StoreError};

/// Replies of the commands of a committed transaction, in their order.
type Replies = Vec<Result<Reply, StoreError>>;

/// Reason why a transaction was rolled back.
pub(super) enum Failure {
    /// The transaction was never begun: another connection holds the lock.
    Begin(rusqlite::Error),
    /// The command at this index cannot be applied.
    Command(usize, rusqlite::Error),
    /// Applying the command at this index panicked.
    Panic(usize),
    /// The failure is not due to a single command.
    Whole(rusqlite::Error),
    /// The commit itself failed.
    Commit(rusqlite::Error),
}

impl Failure {
    fn error(&self) -> Option<&rusqlite::Error> {
        match self {
            Self::Begin(error)
            | Self::Command(_, error)
            | Self::Whole(error)
            | Self::Commit(error) => Some(error),
            Self::Panic(_) => None,
        }
    }

    fn is_fatal(&self) -> bool {
        self.error().is_some_and(is_fatal)
    }

    /// Returns whether the same commands can be applied later as they are.
    pub(super) fn is_nothing_begun(&self) -> bool {
        matches!(self, Self::Begin(error) if !is_fatal(error))
    }

    /// Returns the error that the callers of the commands get.
    fn told(&self) -> StoreError {
        match self {
            // The frames may be in the log, so the next process may find the commit there.
            Self::Commit(error) if is_fatal(error) => StoreError::Unknown,
            _ => self.cause(),
        }
    }

    /// Returns the error itself, for the log and the reason why the writer ends.
    fn cause(&self) -> StoreError {
        match self.error() {
            Some(error) => store_error(error),
            None => StoreError::Failed("applying the command panicked".into()),
        }
    }
}

impl Writer {
    pub(super) fn has_no_room(&mut self, failure: &Failure) -> bool {
        failure.error().is_some_and(|error| self.is_full(error))
    }

    /// Commits the group. A command that cannot be applied is set aside, so that the
    /// others and their common commit succeed.
    pub(super) fn commit_group(&mut self, mut group: Vec<Job>) -> Result<(), String> {
        let mut aside = Vec::new();
        while !group.is_empty() {
            let commands: Vec<&Command> = group.iter().map(|job| &job.command).collect();
            let failure = match self.transact(&commands) {
                Ok(outcomes) => {
                    for (job, outcome) in group.drain(..).zip(outcomes) {
                        // The caller may have gone away; the command is done.
                        job.answer.send(outcome);
                    }
                    continue;
                }
                Err(failure) => failure,
            };
            if self.has_no_room(&failure) {
                self.commit_one_by_one(std::mem::take(&mut group))?;
                continue;
            }
            match failure {
                _ if failure.is_fatal() => {
                    self.close_to(aside);
                    return Err(self.give_up(group, &failure));
                }
                Failure::Begin(error) => {
                    group.append(&mut aside);
                    self.refuse_all(group, &error);
                    return Ok(());
                }
                Failure::Panic(place) => {
                    let job = group.remove(place);
                    self.answer_one(job, Err(failure))?;
                }
                Failure::Command(place, _) => aside.push(group.remove(place)),
                Failure::Whole(_) | Failure::Commit(_) => {
                    self.commit_one_by_one(std::mem::take(&mut group))?;
                }
            }
        }
        self.commit_one_by_one(aside)
    }

    fn commit_one_by_one(&mut self, group: Vec<Job>) -> Result<(), String> {
        let mut left = group.into_iter();
        while let Some(job) = left.next() {
            if !self.admits() {
                // Each would wait for the archive as long as the first has.
                self.refuse_or_keep(job, StoreError::Unarchived);
                continue;
            }
            let others_first = !self.deferred.is_empty();
            let spared = self.reserve.is_in_use() && !self.may_use_reserve(&job);
            if others_first || spared {
                let full = StoreError::Full(self.shortage());
                self.refuse_or_keep(job, full);
                continue;
            }
            match self.try_alone(&job) {
                Err(failure) if self.has_no_room(&failure) => {
                    let full = StoreError::Full(self.shortage());
                    self.refuse_or_keep(job, full);
                }
                Err(Failure::Begin(error)) if !is_fatal(&error) => {
                    let rest = std::iter::once(job).chain(left.by_ref()).collect();
                    self.refuse_all(rest, &error);
                }
                done => {
                    if let Err(reason) = self.answer_one(job, done) {
                        self.close_to(left);
                        return Err(reason);
                    }
                }
            }
        }
        Ok(())
    }

    /// Refuses commands that this writer has not applied and will not apply.
    fn close_to(&self, jobs: impl IntoIterator<Item = Job>) {
        for job in jobs {
            self.refuse(job, StoreError::Closed);
        }
    }

    /// Applies one command. On a full disk the reserve is given up for one that
    /// may use it.
    pub(super) fn try_alone(&mut self, job: &Job) -> Result<Replies, Failure> {
        match self.transact(&[&job.command]) {
            Err(failure)
                if self.has_no_room(&failure)
                    && share(job) != Share::Nothing
                    && self.reserve.give_up() =>
            {
                self.transact(&[&job.command])
            }
            done => done,
        }
    }

    /// Answers one command that was tried on its own.
    pub(super) fn answer_one(
        &self,
        job: Job,
        done: Result<Replies, Failure>,
    ) -> Result<(), String> {
        let outcome = match done {
            Ok(mut outcomes) => outcomes.pop().unwrap_or(Err(StoreError::Closed)),
            Err(failure) if failure.is_fatal() => return Err(self.give_up(vec![job], &failure)),
            Err(failure) => {
                let rejection = failure.told();
                tracing::error!(error = %rejection, "command was not applied");
                self.metrics.not_applied(&rejection);
                Err(rejection)
            }
        };
        job.answer.send(outcome);
        Ok(())
    }

    fn refuse_all(&mut self, group: Vec<Job>, error: &rusqlite::Error) {
        tracing::warn!(%error, commands = group.len(), "cannot begin a transaction; commands are refused");
        for job in group {
            self.refuse_or_keep(job, store_error(error));
        }
    }

    fn give_up(&self, group: Vec<Job>, failure: &Failure) -> String {
        let told = failure.told();
        for job in group {
            self.refuse(job, told.clone());
        }
        failure.cause().to_string()
    }

    /// Runs one transaction: on disk if this returns `Ok`, rolled back completely if
    /// `Err`.
    fn transact(&mut self, commands: &[&Command]) -> Result<Replies, Failure> {
        let began = Instant::now();
        execute(&self.db, "BEGIN IMMEDIATE").map_err(Failure::Begin)?;
        match self.apply_all(commands) {
            Ok((mut outcomes, told)) => {
                self.note_log();
                let wal_pages = self.checkpointer.pages();
                self.metrics
                    .committed(commands, &outcomes, began, wal_pages);
                crate::failpoint::hit("after_commit_before_answer");
                let submits = |command: &&Command| matches!(command.effect(), Command::Submit(_));
                if commands.iter().any(submits) && crate::failpoint::fails("writer_after_submit") {
                    panic!("the writer fails after a submission");
                }
                if !self.is_archived() {
                    // The commit is on this disk, and not where it had to be as well.
                    outcomes
                        .iter_mut()
                        .for_each(|it| *it = Err(StoreError::Unknown));
                }
                if !self.reserve.is_in_use() {
                    self.full.written();
                }
                let AfterCommit {
                    notices, claimed, ..
                } = told;
                if let Some(direct) = self.shared.direct.get().filter(|_| !claimed.is_empty()) {
                    direct.claimed(claimed);
                }
                self.tell(&notices);
                Ok(outcomes)
            }
            Err(failure) => {
                // After some errors SQLite has rolled back by itself.
                if !self.db.is_autocommit() {
                    let _ = self.db.execute_batch("ROLLBACK");
                }
                // Types that the lost transaction added do not exist; those that it
                // removed do.
                if let Ok(types) = known_types(&self.db) {
                    self.types = types;
                }
                Err(failure)
            }
        }
    }

    fn apply_all(&mut self, commands: &[&Command]) -> Result<(Replies, AfterCommit), Failure> {
        let direct = self.shared.direct.get().map(AsRef::as_ref);
        let policy = self.shared.policy.load();
        let now = Timestamp::now();
        let mut tx = Tx::new(&self.db, (&policy, self.node), &mut self.types, direct, now)
            .map_err(Failure::Whole)?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for (place, command) in commands.iter().enumerate() {
            // A panic is an error of its command; the transaction is rolled back.
            match catch_unwind(AssertUnwindSafe(|| apply(&mut tx, command))) {
                Ok(Ok(outcome)) => outcomes.push(Ok(outcome)),
                Ok(Err(ApplyError::Refused(rejection))) => {
                    outcomes.push(Err(StoreError::Refused(rejection)));
                }
                Ok(Err(ApplyError::Sqlite(error))) => return Err(Failure::Command(place, error)),
                Err(_) => return Err(Failure::Panic(place)),
            }
        }
        let mut written = tx.write_counters().map_err(Failure::Whole)?;
        crate::failpoint::hit("before_commit");
        execute(&self.db, "COMMIT").map_err(Failure::Commit)?;
        Ok((outcomes, written.take()))
    }

    fn tell(&self, notices: &[CommitNotice]) {
        if !notices.is_empty() {
            let sinks = &self.shared.sinks;
            for sink in sinks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                sink(notices);
            }
        }
    }
}

fn execute(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(drop)
}
