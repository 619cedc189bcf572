//! The writer thread: drains its queue into one transaction, commits, answers.

mod answer;
mod commit;
mod hold;
mod shrink;
mod weight;

use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use deia_model::TaskType;
use rusqlite::{Connection, config::DbConfig};

pub(super) use self::answer::Answer;
use self::weight::{WEIGHT_MAX, weight_of};
use super::{
    checkpoint::{Checkpointer, UNCHANGED},
    connection::writable,
    disk_space::{self, FullDisk},
    errors::{CheckpointFault, checkpoint_fault, is_io, store_error},
    options::SqliteOptions,
    reserve::{self, Reserve, Share},
    rows, unreadable,
};
use crate::{
    Command, CommitListener, DirectDispatch, Shortage, StoreError, TaskPolicy, anchor::Anchor,
    metrics::StoreMetrics,
};

/// Time that the writer waits for a command before it uses the pause.
const IDLE_AFTER: Duration = Duration::from_millis(50);
/// Time before a failed write is retried.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A command and the caller who waits for its answer.
pub(super) struct Job {
    pub(super) command: Command,
    /// True if the command is kept until there is space on a full disk.
    pub(super) deferrable: bool,
    /// Answers the caller once the command is on disk or refused.
    pub(super) answer: Answer,
}

/// The reason why nothing can be written, and the time of the next try.
struct Gate {
    error: StoreError,
    again_at: Instant,
}

/// State that a writer shares with its store.
#[derive(Clone, Default)]
pub(super) struct Shared {
    /// Receivers of the notices of each commit.
    pub(super) sinks: Arc<Mutex<Vec<CommitListener>>>,
    /// Asked for a slot when a task is submitted.
    pub(super) direct: Arc<OnceLock<Arc<dyn DirectDispatch>>>,
    /// The file, as first opened.
    pub(super) anchor: Arc<OnceLock<Anchor>>,
    /// Reason why this process must not write the file any more.
    pub(super) untrusted: Arc<OnceLock<String>>,
}

pub(super) struct Writer {
    db: Connection,
    dir: PathBuf,
    policy: TaskPolicy,
    node: u32,
    /// The task types that have counters.
    types: HashSet<TaskType>,
    group_commit_max: usize,
    shared: Shared,
    /// Length of the log after the last commit, in pages; [`UNCHANGED`] once it was
    /// read.
    wal_pages: Arc<AtomicU32>,
    checkpointer: Checkpointer,
    metrics: Arc<StoreMetrics>,
    /// Deferrable commands for which there was no space, in order. Nothing else is
    /// applied before them.
    deferred: VecDeque<Job>,
    deferred_max: usize,
    gate: Option<Gate>,
    full: FullDisk,
    reserve: Reserve,
    log_path: PathBuf,
    /// The write-ahead log, once it exists.
    log: Option<Anchor>,
    is_adrift: bool,
}

impl Writer {
    pub(super) fn open(options: &SqliteOptions, shared: Shared) -> rusqlite::Result<Self> {
        let mut db = writable(options)?;
        let wal_pages = Arc::new(AtomicU32::new(UNCHANGED));
        let pages = wal_pages.clone();
        db.wal_hook(Some(
            move |_: &mut rusqlite::hooks::Wal, n: std::ffi::c_int| {
                pages.store(u32::try_from(n).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            },
        ))?;
        unreadable::readmit(&db);
        let types = known_types(&db)?;
        let mut checkpointer = Checkpointer::new(options.checkpoint_pages, options.wal_max_bytes);
        // The previous run may have ended before it truncated erased content.
        checkpointer.erased();
        let dir = options.path.parent().map(PathBuf::from).unwrap_or_default();
        Ok(Self {
            db,
            types,
            reserve: Reserve::open(&dir, options.reserve_bytes),
            dir,
            policy: options.policy.clone(),
            node: options.node,
            group_commit_max: options.group_commit_max,
            shared,
            wal_pages,
            checkpointer,
            metrics: options.metrics.clone(),
            deferred: VecDeque::new(),
            deferred_max: options.queue_max,
            gate: None,
            full: FullDisk::default(),
            log: None,
            log_path: options.path.with_extension("db-wal"),
            is_adrift: false,
        })
    }

    /// Works until the queue is closed, or the file can no longer be trusted. Returns
    /// the reason why it ended.
    pub(super) fn run(mut self, queue: &mpsc::Receiver<Job>) -> String {
        let reason = self.work_until_closed(queue);
        for job in std::mem::take(&mut self.deferred) {
            // These were never applied, and are lost with this writer.
            self.refuse(job, StoreError::Closed);
        }
        reason
    }

    fn work_until_closed(&mut self, queue: &mpsc::Receiver<Job>) -> String {
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
        // The last chance for deferred commands; the next start makes up for those lost
        // here.
        self.gate = None;
        if let Err(reason) = self.look_at_gate() {
            return reason;
        }
        // The next start is quicker without a log to read; this is optional.
        match self.checkpoint() {
            Ok(()) => "closed".into(),
            Err(reason) => reason,
        }
    }

    /// Applies one group, from `first` on.
    fn work(&mut self, first: Job, queue: &mpsc::Receiver<Job>) -> Result<bool, String> {
        let group = self.gather(first, queue);
        if group
            .iter()
            .any(|job| matches!(job.command.effect(), Command::EraseTask(_)))
        {
            self.checkpointer.erased();
        }
        if self.reserve.is_in_use() && group.iter().any(|job| share(job) == Share::Half) {
            // The space that they take in the log must become free soon.
            self.checkpointer.erased();
        }
        match self.look_at_gate()? {
            Some(error) => group
                .into_iter()
                .for_each(|job| self.refuse_or_keep(job, error.clone())),
            None => {
                let group = self.spare_reserve(group);
                self.commit_group(group)?;
            }
        }
        // A full disk has space for the log once it is checkpointed: that must not wait
        // for a pause, which retrying callers may not leave.
        self.checkpoint_if_due(self.full.lasts())?;
        Ok(true)
    }

    /// Uses a pause, then waits. Returns `false` if the queue is closed.
    fn idle(&mut self, queue: &mpsc::Receiver<Job>) -> Result<bool, String> {
        self.checkpoint_if_due(true)?;
        if self.look_at_gate()?.is_some() {
            return Ok(true);
        }
        if self.shrink()? {
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
        while let Some(mut job) = next {
            job.answer.begin();
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

    /// Returns the reason why commands cannot be applied now, if there is one: a log
    /// that is too long and cannot be shortened, or deferred commands that still find
    /// no space. Checks again only from time to time.
    fn look_at_gate(&mut self) -> Result<Option<StoreError>, String> {
        if let Some(gate) = &self.gate
            && Instant::now() < gate.again_at
        {
            return Ok(Some(gate.error.clone()));
        }
        if let Err(adrift) = self.hold() {
            return Ok(Some(self.close_gate(StoreError::Gone(adrift))));
        }
        let error = match self.checkpointer.shorten_if_too_long(&self.db) {
            Err(error) => {
                self.checkpoint_failed(&error)?;
                Some(self.told(&error))
            }
            Ok(false) => {
                if self.gate.is_none() {
                    tracing::warn!(
                        "reads prevent a checkpoint of the write-ahead log, which has reached store.wal_max_bytes: writes are refused until it is short again"
                    );
                }
                Some(StoreError::Busy)
            }
            Ok(true) => self.apply_deferred()?,
        };
        self.gate = None;
        Ok(error.map(|error| self.close_gate(error)))
    }

    fn close_gate(&mut self, error: StoreError) -> StoreError {
        self.gate = Some(Gate {
            error: error.clone(),
            again_at: Instant::now() + AGAIN_AFTER,
        });
        error
    }

    /// Applies deferred commands as long as there is space for them.
    fn apply_deferred(&mut self) -> Result<Option<StoreError>, String> {
        while let Some(job) = self.deferred.pop_front() {
            match self.try_alone(&job) {
                Err(failure) if self.has_no_room(&failure) => {
                    self.deferred.push_front(job);
                    return Ok(Some(StoreError::Full(self.shortage())));
                }
                Err(failure) if failure.is_nothing_begun() => {
                    self.deferred.push_front(job);
                    return Ok(Some(StoreError::Busy));
                }
                done => self.answer_one(job, done)?,
            }
        }
        Ok(None)
    }

    /// Leaves the rest of the reserve to commands that may use it, and refuses the
    /// others. Restores the reserve first if there is space for it.
    fn spare_reserve(&mut self, group: Vec<Job>) -> Vec<Job> {
        if !self.reserve.is_in_use() || self.reserve.make_if_room() {
            return group;
        }
        let (may, others): (Vec<Job>, Vec<Job>) =
            group.into_iter().partition(|job| self.may_use_reserve(job));
        for job in others {
            let full = StoreError::Full(self.shortage());
            self.refuse(job, full);
        }
        may
    }

    /// Returns whether this command may use the remaining reserve.
    fn may_use_reserve(&self, job: &Job) -> bool {
        self.reserve.lets(share(job), self.shortage().free_bytes)
    }

    fn refuse_or_keep(&mut self, job: Job, error: StoreError) {
        if job.deferrable && self.deferred.len() < self.deferred_max {
            self.deferred.push_back(job);
        } else {
            self.refuse(job, error);
        }
    }

    fn refuse(&self, job: Job, error: StoreError) {
        self.metrics.not_applied(&error);
        // The caller may have gone away.
        job.answer.send(Err(error));
    }

    /// Returns whether there was no space. An error that SQLite reports as a broken
    /// disk may be a full one: then the disk itself is asked.
    fn is_full(&mut self, error: &rusqlite::Error) -> bool {
        let full = matches!(store_error(error), StoreError::Full(_))
            || (is_io(error) && disk_space::is_none_left(&self.dir));
        if full {
            self.full.seen(&self.shortage());
        }
        if full && is_io(error) {
            self.overwrite_tail();
        }
        full
    }

    /// Returns the free space, for callers whose command found too little.
    fn shortage(&self) -> Shortage {
        disk_space::shortage(&self.dir)
    }

    fn told(&mut self, error: &rusqlite::Error) -> StoreError {
        match self.is_full(error) {
            true => StoreError::Full(self.shortage()),
            false => store_error(error),
        }
    }

    /// Overwrites the tail of the log. A transaction that failed after its last frame
    /// was written (when the index of the log could not grow, for example) would
    /// reappear after a crash. Another one that changes nothing takes its place in the
    /// log.
    fn overwrite_tail(&self) {
        let same = "BEGIN IMMEDIATE;
            INSERT OR REPLACE INTO meta SELECT key, value FROM meta WHERE key = 'hive_id';
            COMMIT";
        if self.db.execute_batch(same).is_err() && !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    fn checkpoint_if_due(&mut self, idle: bool) -> Result<(), String> {
        match self.checkpointer.is_due(idle) {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        let run = self.checkpointer.run(&self.db);
        self.metrics.checkpointed(run.is_ok());
        match run {
            Ok(()) => Ok(()),
            Err(error) => self.checkpoint_failed(&error),
        }
    }

    /// After an I/O error the pages of an earlier, partial checkpoint may be on no
    /// disk, and the index of the log says that they need not be written again
    /// (Linux reports a failed write-back once). All connections of this process
    /// share that index: only the next process rebuilds it from the log.
    fn checkpoint_failed(&mut self, error: &rusqlite::Error) -> Result<(), String> {
        let full = self.is_full(error);
        match checkpoint_fault(error, full) {
            CheckpointFault::Full => Ok(()),
            CheckpointFault::Later => {
                // The log stays and is checkpointed later; nothing is lost.
                tracing::warn!(%error, "checkpoint failed; retrying with the next one");
                Ok(())
            }
            CheckpointFault::Untrusted => {
                let file = self.db.path().unwrap_or_default().to_owned();
                let reason = format!(
                    "{file} could not be synced by a checkpoint ({error}): check the disk; the next start writes it again from the write-ahead log"
                );
                tracing::error!(%error, file, "checkpoint failed; the process must end");
                // The next start needs the log, even if another process closes the file last.
                let kept = self
                    .db
                    .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                if let Err(error) = kept {
                    tracing::error!(%error, "closing the store may checkpoint again");
                }
                let _ = self.shared.untrusted.set(reason.clone());
                Err(reason)
            }
        }
    }
}

fn share(job: &Job) -> Share {
    reserve::share_of(&job.command, job.deferrable)
}

fn known_types(db: &Connection) -> rusqlite::Result<HashSet<TaskType>> {
    db.prepare("SELECT DISTINCT type FROM task_counts")?
        .query_map([], |row| {
            unreadable::lenient("task_counts", row, |row| rows::parsed(row, 0))
        })?
        .filter_map(Result::transpose)
        .collect()
}
