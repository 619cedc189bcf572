//! The writer thread: drains its queue into one transaction, commits, answers.

use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    SqliteOptions,
    apply::{ApplyError, apply},
    checkpoint::Checkpointer,
    errors::{is_fatal, is_io, store_error},
    open::writable,
    room::{self, FullDisk},
    transaction::{Told, Tx},
};
use crate::{
    ledger::{AttemptReport, Command, Hint, HintSink, Offers, Outcome, StoreError, TaskPolicy},
    metrics::StoreMetrics,
    model::{TaskType, Timestamp},
};

/// How long the writer waits for a command before it uses the pause.
const IDLE_AFTER: Duration = Duration::from_millis(50);
/// How long to wait before what could not be written is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Rows that one transaction may touch before it is committed, however many
/// commands wait: it bounds how long a single commit takes.
const WEIGHT_MAX: usize = 8_192;
/// Bytes of content or output that weigh as much as a row.
const BYTES_PER_WEIGHT: usize = 4_096;

type Answer = oneshot::Sender<Result<Outcome, StoreError>>;

/// A command and who waits for its answer.
pub(super) struct Job {
    pub(super) command: Command,
    /// Whether it is kept until there is room, should there be none.
    pub(super) patient: bool,
    /// Told when it is on disk, or that it is refused.
    pub(super) answer: Answer,
}

/// What keeps everything else from being written, and when to try again.
struct Gate {
    error: StoreError,
    again_at: Instant,
}

pub(super) struct Writer {
    db: Connection,
    dir: PathBuf,
    policy: TaskPolicy,
    /// The task types that have counters.
    types: HashSet<TaskType>,
    group_commit_max: usize,
    sinks: Arc<Mutex<Vec<HintSink>>>,
    offers: Arc<OnceLock<Arc<dyn Offers>>>,
    wal_pages: Arc<AtomicU32>,
    checkpointer: Checkpointer,
    metrics: Arc<StoreMetrics>,
    /// Patient commands for which there was no room, in order. Nothing else is
    /// applied before them.
    kept: VecDeque<Job>,
    kept_max: usize,
    gate: Option<Gate>,
    full: FullDisk,
}

impl Writer {
    pub(super) fn open(
        options: &SqliteOptions,
        sinks: Arc<Mutex<Vec<HintSink>>>,
        offers: Arc<OnceLock<Arc<dyn Offers>>>,
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
            dir: options.path.parent().map(PathBuf::from).unwrap_or_default(),
            policy: options.policy.clone(),
            group_commit_max: options.group_commit_max,
            sinks,
            offers,
            wal_pages,
            checkpointer: Checkpointer::new(options.checkpoint_pages, options.wal_max_bytes),
            metrics: options.metrics.clone(),
            kept: VecDeque::new(),
            kept_max: options.queue_max,
            gate: None,
            full: FullDisk::default(),
        })
    }

    /// Works until the queue is closed, or the file can no longer be trusted.
    /// Returns why it ended.
    pub(super) fn run(mut self, queue: &mpsc::Receiver<Job>) -> String {
        loop {
            let worked = match queue.recv_timeout(IDLE_AFTER) {
                Ok(first) => self.work(first, queue),
                Err(mpsc::RecvTimeoutError::Timeout) => self.idle(queue),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            match worked {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => return reason,
            }
        }
        // The last chance of what had no room; a start makes up for what is lost here.
        self.gate = None;
        if let Err(reason) = self.look_at_gate() {
            return reason;
        }
        // The next start is quicker without a log to read; it is not needed.
        let _ = self.checkpointer.run(&self.db);
        "closed".into()
    }

    /// One group, from `first` on.
    fn work(&mut self, first: Job, queue: &mpsc::Receiver<Job>) -> Result<bool, String> {
        let group = self.gather(first, queue);
        match self.look_at_gate()? {
            Some(error) => group
                .into_iter()
                .for_each(|job| self.refuse_or_keep(job, error.clone())),
            None => self.commit_group(group)?,
        }
        self.checkpoint_if_due(false);
        Ok(true)
    }

    /// Uses a pause, then waits. `false` when the queue is closed.
    fn idle(&mut self, queue: &mpsc::Receiver<Job>) -> Result<bool, String> {
        self.checkpoint_if_due(true);
        if self.look_at_gate()?.is_some() {
            return Ok(true);
        }
        match queue.recv() {
            Ok(first) => self.work(first, queue),
            Err(_) => Ok(false),
        }
    }

    fn gather(&self, first: Job, queue: &mpsc::Receiver<Job>) -> Vec<Job> {
        let mut group = Vec::with_capacity(16);
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            weight += weight_of(&job.command);
            group.push(job);
            if group.len() >= self.group_commit_max || weight >= WEIGHT_MAX {
                break;
            }
            next = queue.try_recv().ok();
        }
        self.metrics.unqueued(group.len());
        group
    }

    /// What keeps commands from being applied now, if anything does: a log that
    /// is too long and cannot be shortened, or kept commands that still find no
    /// room. Looks anew from time to time only.
    fn look_at_gate(&mut self) -> Result<Option<StoreError>, String> {
        if let Some(gate) = &self.gate
            && Instant::now() < gate.again_at
        {
            return Ok(Some(gate.error.clone()));
        }
        let error = match self.checkpointer.shorten_if_too_long(&self.db) {
            Err(error) => Some(self.told(&error)),
            Ok(false) => {
                if self.gate.is_none() {
                    tracing::warn!(
                        "reads keep the write-ahead log from being folded back, and it is as long as it may be (store.wal_max_bytes): writes are refused until it is short again"
                    );
                }
                Some(StoreError::Busy)
            }
            Ok(true) => self.apply_kept()?,
        };
        self.gate = error.clone().map(|error| Gate {
            error,
            again_at: Instant::now() + AGAIN_AFTER,
        });
        Ok(error)
    }

    /// Applies kept commands as long as there is room for them.
    fn apply_kept(&mut self) -> Result<Option<StoreError>, String> {
        while let Some(job) = self.kept.pop_front() {
            match self.transact(&[&job.command]) {
                Err(error) if self.is_full(&error) => {
                    self.kept.push_front(job);
                    return Ok(Some(StoreError::Full));
                }
                done => self.answer_one(job, done)?,
            }
        }
        Ok(None)
    }

    fn refuse_or_keep(&mut self, job: Job, error: StoreError) {
        if job.patient && self.kept.len() < self.kept_max {
            self.kept.push_back(job);
        } else {
            self.refuse(job, error);
        }
    }

    fn refuse(&self, job: Job, error: StoreError) {
        self.metrics.not_applied(&error);
        // Who asked may have gone away.
        let _ = job.answer.send(Err(error));
    }

    fn give_up(&self, group: Vec<Job>, error: &rusqlite::Error) -> String {
        group
            .into_iter()
            .for_each(|job| self.refuse(job, store_error(error)));
        error.to_string()
    }

    /// Commits the group; when that fails, each command on its own, so that
    /// one that cannot be applied does not take the others with it.
    fn commit_group(&mut self, group: Vec<Job>) -> Result<(), String> {
        let commands: Vec<&Command> = group.iter().map(|job| &job.command).collect();
        match self.transact(&commands) {
            Ok(outcomes) => {
                for (job, outcome) in group.into_iter().zip(outcomes) {
                    // Who asked may have gone away; what they asked for is done.
                    let _ = job.answer.send(outcome);
                }
                Ok(())
            }
            Err(error) if self.is_full(&error) || !is_fatal(&error) => {
                self.commit_one_by_one(group)
            }
            Err(error) => Err(self.give_up(group, &error)),
        }
    }

    fn commit_one_by_one(&mut self, group: Vec<Job>) -> Result<(), String> {
        for job in group {
            if !self.kept.is_empty() {
                self.refuse_or_keep(job, StoreError::Full);
                continue;
            }
            match self.transact(&[&job.command]) {
                Err(error) if self.is_full(&error) => self.refuse_or_keep(job, StoreError::Full),
                done => self.answer_one(job, done)?,
            }
        }
        Ok(())
    }

    /// Answers one command that was tried on its own.
    fn answer_one(
        &self,
        job: Job,
        done: rusqlite::Result<Vec<Result<Outcome, StoreError>>>,
    ) -> Result<(), String> {
        let outcome = match done {
            Ok(mut outcomes) => outcomes.pop().unwrap_or(Err(StoreError::Closed)),
            Err(error) if is_fatal(&error) => return Err(self.give_up(vec![job], &error)),
            Err(error) => {
                tracing::error!(%error, "a command could not be applied");
                let refusal = store_error(&error);
                self.metrics.not_applied(&refusal);
                Err(refusal)
            }
        };
        let _ = job.answer.send(outcome);
        Ok(())
    }

    /// Whether there was no room. What SQLite takes for a broken disk may be a
    /// full one: then the disk itself is asked.
    fn is_full(&mut self, error: &rusqlite::Error) -> bool {
        let full = matches!(store_error(error), StoreError::Full)
            || (is_io(error) && room::is_none_left(&self.dir));
        if full {
            self.full.seen();
        }
        if full && is_io(error) {
            self.overwrite_tail();
        }
        full
    }

    fn told(&mut self, error: &rusqlite::Error) -> StoreError {
        match self.is_full(error) {
            true => StoreError::Full,
            false => store_error(error),
        }
    }

    /// A transaction that failed after its last frame was written, when the index
    /// of the log could not grow, say, would come back after a crash. Another
    /// that changes nothing takes its place in the log.
    fn overwrite_tail(&self) {
        let same = "BEGIN IMMEDIATE;
            INSERT OR REPLACE INTO meta SELECT key, value FROM meta WHERE key = 'hive_id';
            COMMIT";
        if self.db.execute_batch(same).is_err() && !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    /// One transaction: on disk when this returns `Ok`, nothing of it when `Err`.
    fn transact(
        &mut self,
        commands: &[&Command],
    ) -> rusqlite::Result<Vec<Result<Outcome, StoreError>>> {
        let began = Instant::now();
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        match self.apply_all(commands) {
            Ok((outcomes, Told { hints, claimed, .. })) => {
                let wal_pages = self.wal_pages.load(Ordering::Relaxed);
                self.checkpointer.committed(wal_pages);
                self.metrics
                    .committed(commands, &outcomes, began, wal_pages);
                crate::failpoint::hit("after_commit_before_answer");
                self.full.written();
                if let Some(offers) = self.offers.get().filter(|_| !claimed.is_empty()) {
                    offers.claimed(claimed);
                }
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
    ) -> rusqlite::Result<(Vec<Result<Outcome, StoreError>>, Told)> {
        let offers = self.offers.get().map(AsRef::as_ref);
        let now = Timestamp::now();
        let mut tx = Tx::new(&self.db, &self.policy, &mut self.types, offers, now)?;
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
        let mut written = tx.write_counters()?;
        crate::failpoint::hit("before_commit");
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok((outcomes, written.take()))
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
        if let Err(error) = run
            && !self.is_full(&error)
        {
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
        Command::Submit { tasks, .. } => {
            let bytes: usize = tasks.iter().map(|task| task.content.len()).sum();
            tasks.len() + bytes / BYTES_PER_WEIGHT
        }
        Command::Claim(claims) => claims.len(),
        Command::Finish(reports) => {
            let output = |report: &AttemptReport| report.output.as_ref().map_or(0, String::len);
            reports.len() + reports.iter().map(output).sum::<usize>() / BYTES_PER_WEIGHT
        }
        Command::Progress(reports) => reports.len(),
        Command::Prune { tasks } => tasks.len(),
        Command::Promote { limit } => *limit as usize,
        _ => 1,
    }
}
