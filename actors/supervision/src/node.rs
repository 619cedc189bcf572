//! What the runtime and its observers share about one child: written by its supervisor and its
//! driver, read from any thread.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    arbiters::{HERE, PostId},
    child::WorkerBody,
    driver::Note,
    exit::ExitReason,
    intensity::Limit,
    spec::{Policy, Strategy},
    supervisor::admin::{ADMIN_QUEUE, Admin},
    tenure::Tenure,
};

/// Past exits kept of each child.
pub(crate) const EXITS_KEPT: usize = 16;
/// Restart times kept of each child, for `restarts_in_window`.
const RESTARTS_KEPT: usize = 128;
const DEFAULT_MAILBOX: usize = 10_000;

pub(crate) type ChildId = u64;

/// Worker or supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Runs an actor.
    Worker,
    /// Runs children.
    Supervisor,
}

/// What a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ChildState {
    /// Declared, not started yet; or its supervisor is down.
    Declared,
    /// Being built; not ready yet.
    Starting,
    /// Up.
    Running,
    /// Asked to stop.
    Stopping,
    /// Ended, waiting for its restart.
    Restarting,
    /// Terminated on request; its specification is kept.
    Terminated,
    /// Ended by itself, and its restart type says to leave it so.
    Ended,
    /// Its factory declined.
    Ignored,
    /// Stopped on purpose, to be resumed.
    Suspended,
    /// Used up its restart budget and was left down.
    Quarantined,
    /// Removed.
    Removed,
    /// It blocks its arbiter; its supervisor has not dealt with it yet, or cannot because it runs
    /// on the same arbiter.
    Stuck,
}

impl ChildState {
    /// A stable, machine-readable code, the same as in JSON: `running`, `restarting`, ...
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Terminated => "terminated",
            Self::Ended => "ended",
            Self::Ignored => "ignored",
            Self::Suspended => "suspended",
            Self::Quarantined => "quarantined",
            Self::Removed => "removed",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

const STATES: [ChildState; 12] = [
    ChildState::Declared,
    ChildState::Starting,
    ChildState::Running,
    ChildState::Stopping,
    ChildState::Restarting,
    ChildState::Terminated,
    ChildState::Ended,
    ChildState::Ignored,
    ChildState::Suspended,
    ChildState::Quarantined,
    ChildState::Removed,
    ChildState::Stuck,
];

/// One past exit.
#[derive(Clone, Debug, Serialize)]
pub struct ExitRecord {
    /// Why.
    #[serde(flatten)]
    pub reason: ExitReason,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Which incarnation ended (the first is 1).
    pub incarnation: u64,
}

#[derive(Default)]
pub(crate) struct History {
    pub(crate) started_at: Option<Instant>,
    /// How much it had worked when it was started the last time.
    pub(crate) busy_before_ns: u64,
    pub(crate) exits: VecDeque<ExitRecord>,
    pub(crate) restarts: VecDeque<Instant>,
    pub(crate) monitors: Vec<oneshot::Sender<ExitReason>>,
}

/// Set once, when the child is attached to a tree.
pub(crate) struct Place {
    pub(crate) path: Arc<str>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) window: Option<Limit>,
}

#[derive(Default)]
pub(crate) struct Branch {
    pub(crate) by_id: BTreeMap<ChildId, Arc<Node>>,
    pub(crate) by_name: HashMap<Arc<str>, ChildId>,
}

pub(crate) struct SupervisorPart {
    pub(crate) strategy: Strategy,
    pub(crate) branch: Mutex<Branch>,
    pub(crate) admin: mpsc::Sender<Admin>,
    /// What the watchdog tells the supervisor.
    pub(crate) notes: OnceLock<mpsc::UnboundedSender<Note>>,
}

pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) supervisor: Option<SupervisorPart>,
    /// Who runs it.
    pub(crate) tenure: Tenure,
    /// What runs there, for the watchdog.
    pub(crate) worker: OnceLock<Weak<dyn WorkerBody>>,
    post: AtomicU64,
    stuck: AtomicBool,
    place: OnceLock<Place>,
    state: AtomicU8,
    incarnation: AtomicU64,
    restarts: AtomicU64,
    bound: AtomicUsize,
    depth: AtomicUsize,
    handled: AtomicU64,
    busy_ns: AtomicU64,
    history: Mutex<History>,
}

impl Node {
    pub(crate) fn worker(name: String) -> Arc<Self> {
        Arc::new(Self::new(name, Kind::Worker, None))
    }

    pub(crate) fn supervisor(
        name: String,
        strategy: Strategy,
    ) -> (Arc<Self>, mpsc::Receiver<Admin>) {
        let (admin, commands) = mpsc::channel(ADMIN_QUEUE);
        let part = SupervisorPart {
            strategy,
            branch: Mutex::default(),
            admin,
            notes: OnceLock::new(),
        };
        let node = Self::new(name, Kind::Supervisor, Some(part));
        (Arc::new(node), commands)
    }

    fn new(name: String, kind: Kind, supervisor: Option<SupervisorPart>) -> Self {
        Self {
            name: name.into(),
            kind,
            supervisor,
            tenure: Tenure::default(),
            worker: OnceLock::new(),
            post: AtomicU64::new(HERE),
            stuck: AtomicBool::new(false),
            place: OnceLock::new(),
            state: AtomicU8::new(ChildState::Declared as u8),
            incarnation: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            bound: AtomicUsize::new(DEFAULT_MAILBOX),
            depth: AtomicUsize::new(0),
            handled: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            history: Mutex::default(),
        }
    }

    /// Written under the lock of the mailbox.
    #[inline]
    pub(crate) fn set_depth(&self, messages: usize) {
        self.depth.store(messages, Relaxed);
    }

    /// Only the driver writes these two, so they need no read-modify-write.
    #[inline]
    pub(crate) fn add_handled(&self, messages: u64) {
        self.handled
            .store(self.handled.load(Relaxed) + messages, Relaxed);
    }

    pub(crate) fn add_busy(&self, ns: u64) {
        self.busy_ns.store(self.busy_ns.load(Relaxed) + ns, Relaxed);
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Relaxed)
    }

    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Relaxed)
    }

    pub(crate) fn busy_ns(&self) -> u64 {
        self.busy_ns.load(Relaxed)
    }

    pub(crate) fn bound(&self) -> usize {
        self.bound.load(Relaxed)
    }

    pub(crate) fn set_bound(&self, messages: usize) {
        self.bound.store(messages, Relaxed);
    }

    pub(crate) fn attach(&self, place: Place) {
        // A node is attached once: its specification is consumed by its supervisor.
        let _ = self.place.set(place);
    }

    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.get()
    }

    /// The path within the tree; the bare name as long as there is no tree.
    pub(crate) fn path(&self) -> &Arc<str> {
        self.place.get().map_or(&self.name, |place| &place.path)
    }

    pub(crate) fn state(&self) -> ChildState {
        if self.stuck.load(Relaxed) {
            return ChildState::Stuck;
        }
        let state = usize::from(self.state.load(Relaxed));
        STATES.get(state).copied().unwrap_or(ChildState::Removed)
    }

    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Relaxed);
    }

    /// The arbiter it was placed on.
    pub(crate) fn post(&self) -> PostId {
        self.post.load(Relaxed)
    }

    pub(crate) fn set_post(&self, post: PostId) {
        self.post.store(post, Relaxed);
    }

    /// The message in hand on whichever thread, if it is one.
    pub(crate) fn in_hand(&self) -> Option<&'static str> {
        self.worker.get()?.upgrade()?.in_hand()
    }

    pub(crate) fn set_state(&self, state: ChildState) {
        self.state.store(state as u8, Relaxed);
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Relaxed)
    }

    pub(crate) fn set_incarnation(&self, incarnation: u64) {
        self.incarnation.store(incarnation, Relaxed);
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Relaxed)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn branch(&self) -> Option<MutexGuard<'_, Branch>> {
        let part = self.supervisor.as_ref()?;
        Some(part.branch.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn note_up(&self, now: Instant) {
        let mut history = self.history();
        history.started_at = Some(now);
        history.busy_before_ns = self.busy_ns();
    }

    pub(crate) fn note_restart(&self, now: Instant) {
        self.restarts.fetch_add(1, Relaxed);
        let mut history = self.history();
        if history.restarts.len() == RESTARTS_KEPT {
            history.restarts.pop_front();
        }
        history.restarts.push_back(now);
    }

    pub(crate) fn note_exit(&self, reason: &ExitReason) {
        let record = ExitRecord {
            reason: reason.clone(),
            at: Timestamp::now(),
            incarnation: self.incarnation(),
        };
        let monitors = {
            let mut history = self.history();
            history.started_at = None;
            if history.exits.len() == EXITS_KEPT {
                history.exits.pop_front();
            }
            history.exits.push_back(record);
            std::mem::take(&mut history.monitors)
        };
        for monitor in monitors {
            let _ = monitor.send(reason.clone());
        }
    }

    pub(crate) fn children(&self) -> Vec<Arc<Self>> {
        self.branch()
            .map(|branch| branch.by_id.values().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn children_by_id(&self) -> Vec<(ChildId, Arc<Self>)> {
        let all = |branch: MutexGuard<'_, Branch>| {
            let children = branch.by_id.iter();
            children.map(|(id, node)| (*id, Arc::clone(node))).collect()
        };
        self.branch().map(all).unwrap_or_default()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Self>> {
        let branch = self.branch()?;
        let id = branch.by_name.get(name)?;
        branch.by_id.get(id).cloned()
    }
}
