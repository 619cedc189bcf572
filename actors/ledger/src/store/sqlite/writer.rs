//! The writer thread: drains its queue into one transaction, commits, answers.

mod answer;
mod checkpoints;
mod commit;
mod commits;
mod gate;
mod hold;
mod log;
mod room;
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

use arc_swap::ArcSwap;
use deia_model::TaskType;
use rusqlite::Connection;

pub(super) use self::answer::Answer;
use self::{
    gate::Gate,
    log::Log,
    room::share,
    weight::{WEIGHT_MAX, weight_of},
};
use super::{
    checkpoint::{Checkpointer, UNCHANGED},
    connection::writable,
    disk_space::FullDisk,
    options::SqliteOptions,
    reserve::{Reserve, Share},
    rows, unreadable,
};
use crate::{
    Command, CommitListener, DirectDispatch, StoreError, TaskPolicy, anchor::Anchor,
    metrics::StoreMetrics,
};

/// Time that the writer waits for a command before it uses the pause. Fixed: a pause that
/// callers do not see.
const IDLE_AFTER: Duration = Duration::from_millis(50);

/// A command and the caller who waits for its answer.
pub(super) struct Job {
    pub(super) command: Command,
    pub(super) queued_at: Instant,
    /// True if the command is kept until there is space on a full disk.
    pub(super) deferrable: bool,
    /// Answers the caller once the command is on disk or refused.
    pub(super) answer: Answer,
}

/// State that a writer shares with its store.
#[derive(Clone)]
pub(super) struct Shared {
    /// Receivers of the notices of each commit.
    pub(super) sinks: Arc<Mutex<Vec<CommitListener>>>,
    /// Asked for a slot when a task is submitted.
    pub(super) direct: Arc<OnceLock<Arc<dyn DirectDispatch>>>,
    /// The rules in force, which may change between two groups of commands.
    pub(super) policy: Arc<ArcSwap<TaskPolicy>>,
    /// The file, as first opened.
    pub(super) anchor: Arc<OnceLock<Anchor>>,
    /// Reason why this process must not write the file any more.
    pub(super) untrusted: Arc<OnceLock<String>>,
}

impl Shared {
    pub(super) fn new(policy: TaskPolicy) -> Self {
        Self {
            sinks: Arc::default(),
            direct: Arc::default(),
            policy: Arc::new(ArcSwap::from_pointee(policy)),
            anchor: Arc::default(),
            untrusted: Arc::default(),
        }
    }
}

pub(super) struct Writer {
    db: Connection,
    dir: PathBuf,
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
    /// The log as its shipper sees it.
    shipped_log: Option<Log>,
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
        let shipping = options.shipping.clone();
        let shipped_log = shipping
            .map(|feed| Log::open(&db, feed, &mut checkpointer))
            .transpose()?;
        Ok(Self {
            db,
            types,
            reserve: Reserve::open(&dir, options.reserve_bytes),
            dir,
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
            shipped_log,
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
        if !self.may_fold() {
            return "closed".into();
        }
        match self.last_checkpoint() {
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
        // A checkpoint that waits for the archive is tried again.
        let next = match self.checkpointer.is_due(true) {
            true => queue.recv_timeout(IDLE_AFTER),
            false => queue
                .recv()
                .map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(first) => self.work(first, queue),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(true),
            Err(mpsc::RecvTimeoutError::Disconnected) => Ok(false),
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
        self.metrics.gathered(group.iter().map(|job| job.queued_at));
        group
    }

    fn refuse(&self, job: Job, error: StoreError) {
        self.metrics.not_applied(&error);
        // The caller may have gone away.
        job.answer.send(Err(error));
    }
}

fn known_types(db: &Connection) -> rusqlite::Result<HashSet<TaskType>> {
    db.prepare("SELECT DISTINCT type FROM task_counts")?
        .query_map([], |row| {
            unreadable::lenient("task_counts", row, |row| rows::parsed(row, 0))
        })?
        .filter_map(Result::transpose)
        .collect()
}
