//! The writer thread: drains its queue into one transaction, commits, answers.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::{
    SqliteOptions,
    apply::{ApplyError, apply},
    checkpoint::Checkpointer,
    open::writable,
    transaction::Tx,
};
use crate::{
    ledger::{Command, Hint, HintSink, Outcome, StoreError, TaskPolicy},
    metrics::StoreMetrics,
    model::{TaskType, Timestamp},
};

/// How long the writer waits for a command before it uses the pause.
const IDLE_AFTER: Duration = Duration::from_millis(50);
/// Rows that one transaction may touch before it is committed, however many
/// commands wait: it bounds how long a single commit takes.
const WEIGHT_MAX: usize = 8_192;

type Answer = oneshot::Sender<Result<Outcome, StoreError>>;

/// A command and who waits for its answer.
pub(super) enum Job {
    /// Apply this.
    Apply {
        /// The command.
        command: Command,
        /// Told when it is on disk.
        answer: Answer,
    },
}

pub(super) struct Writer {
    db: Connection,
    policy: TaskPolicy,
    /// The task types that have counters.
    types: HashSet<TaskType>,
    group_commit_max: usize,
    sinks: Arc<Mutex<Vec<HintSink>>>,
    wal_pages: Arc<AtomicU32>,
    checkpointer: Checkpointer,
    metrics: Arc<StoreMetrics>,
}

impl Writer {
    pub(super) fn open(
        options: &SqliteOptions,
        sinks: Arc<Mutex<Vec<HintSink>>>,
    ) -> rusqlite::Result<Self> {
        let mut db = writable(options)?;
        let wal_pages = Arc::new(AtomicU32::new(0));
        let pages = wal_pages.clone();
        db.wal_hook(Some(
            move |_: &mut rusqlite::hooks::Wal, n: std::ffi::c_int| {
                pages.store(u32::try_from(n).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            },
        ))?;
        let types = known_types(&db)?;
        Ok(Self {
            db,
            types,
            policy: options.policy.clone(),
            group_commit_max: options.group_commit_max,
            sinks,
            wal_pages,
            checkpointer: Checkpointer::new(options.checkpoint_pages),
            metrics: options.metrics.clone(),
        })
    }

    /// Works until the queue is closed, or the file can no longer be trusted.
    /// Returns why it ended.
    pub(super) fn run(mut self, queue: &mpsc::Receiver<Job>) -> String {
        loop {
            let first = match queue.recv_timeout(IDLE_AFTER) {
                Ok(job) => job,
                Err(mpsc::RecvTimeoutError::Timeout) => match self.idle(queue) {
                    Some(job) => job,
                    None => break,
                },
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let group = self.gather(first, queue);
            if let Err(reason) = self.commit_group(group) {
                return reason;
            }
            self.checkpoint_if_due(false);
        }
        // The next start is quicker without a log to read; it is not needed.
        let _ = self.checkpointer.run(&self.db);
        "closed".into()
    }

    /// Uses a pause, then waits. `None` when the queue is closed.
    fn idle(&mut self, queue: &mpsc::Receiver<Job>) -> Option<Job> {
        self.checkpoint_if_due(true);
        queue.recv().ok()
    }

    fn gather(&self, first: Job, queue: &mpsc::Receiver<Job>) -> Vec<(Command, Answer)> {
        let mut group = Vec::with_capacity(16);
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(Job::Apply { command, answer }) = next {
            weight += weight_of(&command);
            group.push((command, answer));
            if group.len() >= self.group_commit_max || weight >= WEIGHT_MAX {
                break;
            }
            next = queue.try_recv().ok();
        }
        self.metrics.unqueued(group.len());
        group
    }

    /// Commits the group; when that fails, each command on its own, so that
    /// one that cannot be applied does not take the others with it.
    fn commit_group(&mut self, group: Vec<(Command, Answer)>) -> Result<(), String> {
        let commands: Vec<&Command> = group.iter().map(|(command, _)| command).collect();
        match self.transact(&commands) {
            Ok(outcomes) => {
                for ((_, answer), outcome) in group.into_iter().zip(outcomes) {
                    // Who asked may have gone away; what they asked for is done.
                    let _ = answer.send(outcome);
                }
                Ok(())
            }
            Err(error) if is_fatal(&error) => Err(self.give_up(group, &error)),
            Err(_) => self.commit_one_by_one(group),
        }
    }

    fn commit_one_by_one(&mut self, group: Vec<(Command, Answer)>) -> Result<(), String> {
        for (command, answer) in group {
            let outcome = match self.transact(&[&command]) {
                Ok(mut outcomes) => outcomes.pop().unwrap_or(Err(StoreError::Closed)),
                Err(error) if is_fatal(&error) => {
                    return Err(self.give_up(vec![(command, answer)], &error));
                }
                Err(error) => {
                    let refusal = store_error(&error);
                    // Of a full disk the caller is told; a line for each would fill another.
                    if !matches!(refusal, StoreError::Full) {
                        tracing::error!(%error, "a command could not be applied");
                    }
                    self.metrics.not_applied(&refusal);
                    Err(refusal)
                }
            };
            let _ = answer.send(outcome);
        }
        Ok(())
    }

    fn give_up(&self, group: Vec<(Command, Answer)>, error: &rusqlite::Error) -> String {
        for (_, answer) in group {
            let refusal = store_error(error);
            self.metrics.not_applied(&refusal);
            let _ = answer.send(Err(refusal));
        }
        error.to_string()
    }

    /// One transaction: on disk when this returns `Ok`, nothing of it when `Err`.
    fn transact(
        &mut self,
        commands: &[&Command],
    ) -> rusqlite::Result<Vec<Result<Outcome, StoreError>>> {
        let began = Instant::now();
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        match self.apply_all(commands) {
            Ok((outcomes, hints)) => {
                let wal_pages = self.wal_pages.load(Ordering::Relaxed);
                self.checkpointer.committed(wal_pages);
                self.metrics
                    .committed(commands, &outcomes, began, wal_pages);
                crate::failpoint::hit("after_commit_before_answer");
                self.tell(&hints);
                Ok(outcomes)
            }
            Err(error) => {
                // After some errors SQLite has rolled back by itself.
                if !self.db.is_autocommit() {
                    let _ = self.db.execute_batch("ROLLBACK");
                }
                // What the lost transaction brought is not there; what it took away is.
                if let Ok(types) = known_types(&self.db) {
                    self.types = types;
                }
                Err(error)
            }
        }
    }

    #[allow(
        clippy::type_complexity,
        reason = "a pair of what the only caller needs"
    )]
    fn apply_all(
        &mut self,
        commands: &[&Command],
    ) -> rusqlite::Result<(Vec<Result<Outcome, StoreError>>, Vec<Hint>)> {
        let mut tx = Tx::new(&self.db, &self.policy, &mut self.types, Timestamp::now())?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            match apply(&mut tx, command) {
                Ok(outcome) => outcomes.push(Ok(outcome)),
                Err(ApplyError::Refused(refusal)) => {
                    outcomes.push(Err(StoreError::Refused(refusal)))
                }
                Err(ApplyError::Sqlite(error)) => return Err(error),
            }
        }
        let hints = tx.finish()?;
        crate::failpoint::hit("before_commit");
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok((outcomes, hints))
    }

    fn tell(&self, hints: &[Hint]) {
        if !hints.is_empty() {
            for sink in self
                .sinks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
            {
                sink(hints);
            }
        }
    }

    fn checkpoint_if_due(&mut self, idle: bool) {
        if !self.checkpointer.is_due(idle) {
            return;
        }
        let run = self.checkpointer.run(&self.db);
        self.metrics.checkpointed(run.is_ok());
        if let Err(error) = run {
            // The log stays and is folded back later; nothing is lost.
            tracing::warn!(%error, "checkpoint failed");
        }
    }
}

fn known_types(db: &Connection) -> rusqlite::Result<HashSet<TaskType>> {
    db.prepare("SELECT DISTINCT type FROM task_counts")?
        .query_map([], |row| super::rows::parsed(row, 0))?
        .collect()
}

fn weight_of(command: &Command) -> usize {
    match command {
        Command::Submit { tasks, .. } => tasks.len(),
        Command::Claim(claims) => claims.len(),
        Command::Finish(reports) => reports.len(),
        Command::Progress(reports) => reports.len(),
        Command::Prune { tasks } => tasks.len(),
        Command::Promote { limit } => *limit as usize,
        _ => 1,
    }
}

/// Whether the file can no longer be trusted through this connection: after a
/// failed fsync nobody knows what is on disk until it is opened anew.
fn is_fatal(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// What a caller is told of an error of SQLite.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        _ => StoreError::Failed(error.to_string()),
    }
}
