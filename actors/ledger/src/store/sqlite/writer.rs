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
    errors::{CheckpointFault, checkpoint_fault, is_io, store_error},
    options::SqliteOptions,
    reserve::{self, Reserve, Share},
    room::{self, FullDisk},
    rows, unreadable,
};
use crate::{
    Command, DirectDispatch, HintSink, Shortage, StoreError, TaskPolicy, anchor::Anchor,
    metrics::StoreMetrics,
};

/// How long the writer waits for a command before it uses the pause.
const IDLE_AFTER: Duration = Duration::from_millis(50);
/// How long to wait before what could not be written is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

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

/// State that a writer shares with the store that it serves.
#[derive(Clone, Default)]
pub(super) struct Shared {
    /// Receivers of the hints of each commit.
    pub(super) sinks: Arc<Mutex<Vec<HintSink>>>,
    /// Asked for a bot when a task comes in.
    pub(super) direct: Arc<OnceLock<Arc<dyn DirectDispatch>>>,
    /// The file, as it was opened first.
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
    /// Patient commands for which there was no room, in order. Nothing else is
    /// applied before them.
    kept: VecDeque<Job>,
    kept_max: usize,
    gate: Option<Gate>,
    full: FullDisk,
    reserve: Reserve,
    log_path: PathBuf,
    /// The write-ahead log, once it is there.
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
        // The run before may have ended before it cut off what it had erased.
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
            kept: VecDeque::new(),
            kept_max: options.queue_max,
            gate: None,
            full: FullDisk::default(),
            log: None,
            log_path: options.path.with_extension("db-wal"),
            is_adrift: false,
        })
    }

    /// Works until the queue is closed, or the file can no longer be trusted.
    /// Returns why it ended.
    pub(super) fn run(mut self, queue: &mpsc::Receiver<Job>) -> String {
        let reason = self.work_until_closed(queue);
        for job in std::mem::take(&mut self.kept) {
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
        // The last chance of what had no room; a start makes up for what is lost here.
        self.gate = None;
        if let Err(reason) = self.look_at_gate() {
            return reason;
        }
        // The next start is quicker without a log to read; it is not needed.
        match self.checkpoint() {
            Ok(()) => "closed".into(),
            Err(reason) => reason,
        }
    }

    /// One group, from `first` on.
    fn work(&mut self, first: Job, queue: &mpsc::Receiver<Job>) -> Result<bool, String> {
        let group = self.gather(first, queue);
        if group
            .iter()
            .any(|job| matches!(job.command.effect(), Command::EraseTask(_)))
        {
            self.checkpointer.erased();
        }
        if self.reserve.is_in_use() && group.iter().any(|job| share(job) == Share::Half) {
            // What they take in the log is to be free again soon.
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
        // A full disk has room for the log once it is folded back: that must not wait for a
        // pause, which those who try again may not leave.
        self.checkpoint_if_due(self.full.lasts())?;
        Ok(true)
    }

    /// Uses a pause, then waits. `false` when the queue is closed.
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

    /// What keeps commands from being applied now, if anything does: a log that
    /// is too long and cannot be shortened, or kept commands that still find no
    /// room. Looks anew from time to time only.
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
                        "reads keep the write-ahead log from being folded back, and it is as long as it may be (store.wal_max_bytes): writes are refused until it is short again"
                    );
                }
                Some(StoreError::Busy)
            }
            Ok(true) => self.apply_kept()?,
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

    /// Applies kept commands as long as there is room for them.
    fn apply_kept(&mut self) -> Result<Option<StoreError>, String> {
        while let Some(job) = self.kept.pop_front() {
            match self.try_alone(&job) {
                Err(failure) if self.has_no_room(&failure) => {
                    self.kept.push_front(job);
                    return Ok(Some(StoreError::Full(self.shortage())));
                }
                Err(failure) if failure.is_nothing_begun() => {
                    self.kept.push_front(job);
                    return Ok(Some(StoreError::Busy));
                }
                done => self.answer_one(job, done)?,
            }
        }
        Ok(None)
    }

    /// Leaves what is left of the reserve to those that may use it, and refuses
    /// the others. The reserve is made again first, if there is room for it.
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

    /// Returns whether the reserve is for this command, too, as much as is left of it.
    fn may_use_reserve(&self, job: &Job) -> bool {
        self.reserve.lets(share(job), self.shortage().free_bytes)
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
        job.answer.send(Err(error));
    }

    /// Whether there was no room. What SQLite takes for a broken disk may be a
    /// full one: then the disk itself is asked.
    fn is_full(&mut self, error: &rusqlite::Error) -> bool {
        let full = matches!(store_error(error), StoreError::Full(_))
            || (is_io(error) && room::is_none_left(&self.dir));
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
        room::shortage(&self.dir)
    }

    fn told(&mut self, error: &rusqlite::Error) -> StoreError {
        match self.is_full(error) {
            true => StoreError::Full(self.shortage()),
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
                // The log stays and is folded back later; nothing is lost.
                tracing::warn!(%error, "checkpoint failed; retrying with the next one");
                Ok(())
            }
            CheckpointFault::Untrusted => {
                let file = self.db.path().unwrap_or_default().to_owned();
                let reason = format!(
                    "{file} could not be synced by a checkpoint ({error}): check the disk; the next start writes it anew from the write-ahead log"
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
    reserve::share_of(&job.command, job.patient)
}

fn known_types(db: &Connection) -> rusqlite::Result<HashSet<TaskType>> {
    db.prepare("SELECT DISTINCT type FROM task_counts")?
        .query_map([], |row| {
            unreadable::lenient("task_counts", row, |row| rows::parsed(row, 0))
        })?
        .filter_map(Result::transpose)
        .collect()
}
