//! State of one child that the runtime and its observers share, written by its supervisor and its
//! worker task, read from any thread.

mod history;
mod mail;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use crate::{
    arbiters::{HERE, NOWHERE, SlotId},
    child::WorkerBody,
    exit::ExitReason,
    fence::Fence,
    health::Health,
    intensity::Limit,
    panic::drop_quietly,
    shedding::Suspended,
    signal::ChildSignal,
    spec::{Policy, StallLimit, Strategy},
    state::{ChildState, Kind},
    supervisor::handle::{REQUEST_QUEUE, Request},
    totals::Totals,
};

/// Number of past exits kept of each child. Fixed: of the library, which has no settings.
pub(crate) const EXITS_KEPT: usize = 16;
/// Number of restart times kept of each child, for `restarts_in_window`. Fixed: of the
/// library, which has no settings.
const RESTARTS_KEPT: usize = 128;
/// Capacity of a mailbox, unless the specification of the child sets another. Fixed: of
/// the library, which has no settings.
const DEFAULT_MAILBOX: usize = 10_000;

pub(crate) type ChildId = u64;

/// Past exit of a child.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExitRecord {
    /// Reason for which the run ended.
    #[serde(flatten)]
    pub reason: ExitReason,
    /// Time of the exit, by the wall clock.
    pub at: Timestamp,
    /// Number of the incarnation that ended (the first is 1).
    pub incarnation: u64,
}

#[derive(Default)]
pub(crate) struct History {
    pub(crate) started_at: Option<Instant>,
    /// Time that the child had worked when it was started the last time.
    pub(crate) busy_before_ns: u64,
    pub(crate) exits: VecDeque<ExitRecord>,
    pub(crate) restarts: VecDeque<Instant>,
    /// Times of the restarts of children that counted against this supervisor's budget.
    pub(crate) paid: VecDeque<Instant>,
    pub(crate) monitors: Vec<oneshot::Sender<ExitReason>>,
    /// Reason for which the child is suspended, if it is.
    pub(crate) suspended: Option<Suspended>,
    /// Health that the child reported in this run.
    pub(crate) health: Option<Health>,
    /// Last health that was reported.
    pub(crate) health_told: Option<Health>,
    /// True if a signal is on its way that the health has changed. One is enough, however often it
    /// changes.
    pub(crate) health_signalled: bool,
}

/// Data that is set once, when the child is attached to a tree.
pub(crate) struct Registration {
    pub(crate) path: Arc<str>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) window: Option<Limit>,
    pub(crate) stall: Option<StallLimit>,
    pub(crate) totals: Arc<Totals>,
}

#[derive(Default)]
pub(crate) struct ChildIndex {
    pub(crate) by_id: BTreeMap<ChildId, Arc<ChildRecord>>,
    pub(crate) by_name: HashMap<Arc<str>, ChildId, foldhash::quality::RandomState>,
}

pub(crate) struct SupervisorPart {
    pub(crate) strategy: Strategy,
    /// Limit of the child's restart budget, known once it is attached.
    pub(crate) limit: OnceLock<Limit>,
    pub(crate) index: Mutex<ChildIndex>,
    pub(crate) requests: mpsc::Sender<Request>,
    /// Report of the watchdog to the supervisor.
    pub(crate) signals: OnceLock<mpsc::UnboundedSender<ChildSignal>>,
}

pub(crate) struct ChildRecord {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    /// Part of a supervisor, kept apart because most children are workers.
    pub(crate) supervisor: Option<Box<SupervisorPart>>,
    /// Fence around the task that runs the child.
    pub(crate) fence: Fence,
    /// Worker behind the record, for the watchdog.
    pub(crate) worker: OnceLock<Weak<dyn WorkerBody>>,
    slot: AtomicU64,
    /// True if the supervisor has failed and is restarted: see `MailOnEscalation`.
    after_failure: AtomicBool,
    stuck: AtomicBool,
    stalled: AtomicBool,
    registration: OnceLock<Registration>,
    state: AtomicU8,
    incarnation: AtomicU64,
    restarts: AtomicU64,
    bound: AtomicUsize,
    /// Number of messages that may wait now: the bound, or none while the child refuses mail.
    room: AtomicUsize,
    refuses_mail: AtomicBool,
    /// Reason for which the child stays down, if it does.
    parked: AtomicU8,
    /// Number of the message that was taken last.
    taken: AtomicU64,
    /// Number of questions that nobody wants answered any more, and that may still be waiting.
    withdrawn: AtomicUsize,
    /// Notifier of lost leases, made when somebody waits for one.
    revoked: OnceLock<Arc<Notify>>,
    depth: AtomicUsize,
    handled: AtomicU64,
    busy_ns: AtomicU64,
    history: Mutex<History>,
}

impl ChildRecord {
    pub(crate) fn worker(name: String) -> Arc<Self> {
        Arc::new(Self::new(name, Kind::Worker, None))
    }

    pub(crate) fn supervisor(
        name: String,
        strategy: Strategy,
    ) -> (Arc<Self>, mpsc::Receiver<Request>) {
        let (requests, commands) = mpsc::channel(REQUEST_QUEUE);
        let part = SupervisorPart {
            strategy,
            limit: OnceLock::new(),
            index: Mutex::default(),
            requests,
            signals: OnceLock::new(),
        };
        let record = Self::new(name, Kind::Supervisor, Some(Box::new(part)));
        (Arc::new(record), commands)
    }

    fn new(name: String, kind: Kind, supervisor: Option<Box<SupervisorPart>>) -> Self {
        let slot = match kind {
            Kind::Supervisor => HERE,
            Kind::Worker => NOWHERE,
        };
        Self {
            name: name.into(),
            kind,
            supervisor,
            fence: Fence::default(),
            worker: OnceLock::new(),
            slot: AtomicU64::new(slot),
            after_failure: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            registration: OnceLock::new(),
            state: AtomicU8::new(ChildState::Declared as u8),
            incarnation: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            bound: AtomicUsize::new(DEFAULT_MAILBOX),
            room: AtomicUsize::new(DEFAULT_MAILBOX),
            refuses_mail: AtomicBool::new(false),
            parked: AtomicU8::new(0),
            taken: AtomicU64::new(0),
            withdrawn: AtomicUsize::new(0),
            revoked: OnceLock::new(),
            depth: AtomicUsize::new(0),
            handled: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            history: Mutex::default(),
        }
    }

    /// Sets the number of messages that wait. Called under the lock of the mailbox.
    #[inline]
    pub(crate) fn set_depth(&self, messages: usize) {
        self.depth.store(messages, Relaxed);
    }

    /// Counts a handled message. Called under the lock of the mailbox, so it needs no
    /// read-modify-write.
    #[inline]
    pub(crate) fn add_handled(&self) {
        self.handled.store(self.handled.load(Relaxed) + 1, Relaxed);
    }

    pub(crate) fn add_busy(&self, ns: u64) {
        self.busy_ns.fetch_add(ns, Relaxed);
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
        self.room.store(messages, Relaxed);
    }

    pub(crate) fn attach(&self, registration: Registration) {
        // A record is attached once: its specification is consumed by its supervisor.
        if self.registration.set(registration).is_ok()
            && let Some(registration) = self.registration.get()
        {
            registration.totals.add(self.settled_state());
        }
    }

    pub(crate) fn registration(&self) -> Option<&Registration> {
        self.registration.get()
    }

    /// Returns the path within the tree, or the bare name as long as there is no tree.
    pub(crate) fn path(&self) -> &Arc<str> {
        self.registration
            .get()
            .map_or(&self.name, |registration| &registration.path)
    }

    pub(crate) fn state(&self) -> ChildState {
        if self.stuck.load(Relaxed) {
            return ChildState::Stuck;
        }
        ChildState::from_u8(self.state.load(Relaxed))
    }

    /// Returns the state of the child as its supervisor set it.
    pub(crate) fn settled_state(&self) -> ChildState {
        ChildState::from_u8(self.state.load(Relaxed))
    }

    pub(crate) fn set_stuck(&self) {
        self.stuck.store(true, Relaxed);
    }

    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Relaxed);
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }

    /// Clears the stuck state. Returns true if the child was stuck.
    pub(crate) fn clear_stuck(&self) -> bool {
        self.stuck.swap(false, Relaxed)
    }

    /// Returns the arbiter on which the child has a task.
    pub(crate) fn slot(&self) -> SlotId {
        self.slot.load(Relaxed)
    }

    pub(crate) fn set_slot(&self, slot: SlotId) {
        self.slot.store(slot, Relaxed);
    }

    /// Returns the type of the message that is being handled on any thread, if there is one.
    pub(crate) fn current_message(&self) -> Option<&'static str> {
        let worker = self.worker.get()?.upgrade()?;
        let message_type = worker.current_message();
        // This may be the last owner, and its destructors are the user's.
        let _ = drop_quietly(worker);
        message_type
    }

    pub(crate) fn set_state(&self, state: ChildState) {
        let was = ChildState::from_u8(self.state.swap(state as u8, Relaxed));
        if let Some(registration) = self.registration.get()
            && was != state
        {
            registration.totals.remove(was);
            registration.totals.add(state);
        }
    }

    /// Marks the child as removed, and ends its monitors.
    pub(crate) fn set_removed(&self) {
        let monitors = {
            let mut history = self.history();
            self.set_state(ChildState::Removed);
            std::mem::take(&mut history.monitors)
        };
        drop(monitors);
    }

    /// Returns a receiver that gets the reason of the next exit, or is closed when there can be
    /// none.
    pub(crate) fn monitor(&self) -> oneshot::Receiver<ExitReason> {
        let (sender, receiver) = oneshot::channel();
        let mut history = self.history();
        // Under the lock that `set_removed` takes, so that none is forgotten.
        if self.settled_state() != ChildState::Removed {
            history.monitors.retain(|monitor| !monitor.is_closed());
            history.monitors.push(sender);
        }
        receiver
    }

    /// Stops counting the past restarts of this child against any budget.
    pub(crate) fn forget_restarts(&self) {
        self.history().restarts.clear();
    }

    /// Stops counting the past restarts of the children against this supervisor's budget.
    pub(crate) fn forget_payments(&self) {
        self.history().paid.clear();
    }

    /// Counts the restart of a child against this supervisor's budget.
    pub(crate) fn record_payment(&self, now: Instant) {
        let mut history = self.history();
        if history.paid.len() == RESTARTS_KEPT {
            history.paid.pop_front();
        }
        history.paid.push_back(now);
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

    pub(crate) fn child_index(&self) -> Option<MutexGuard<'_, ChildIndex>> {
        let part = self.supervisor.as_ref()?;
        Some(part.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn children(&self) -> Vec<Arc<Self>> {
        self.child_index()
            .map(|index| index.by_id.values().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn children_by_id(&self) -> Vec<(ChildId, Arc<Self>)> {
        let all = |index: MutexGuard<'_, ChildIndex>| {
            let children = index.by_id.iter();
            children
                .map(|(id, record)| (*id, Arc::clone(record)))
                .collect()
        };
        self.child_index().map(all).unwrap_or_default()
    }

    /// Returns the record at `path`, whose first part is this one.
    pub(crate) fn descendant(self: &Arc<Self>, path: &str) -> Option<Arc<Self>> {
        let mut parts = path.split('/');
        if parts.next()? != &*self.name {
            return None;
        }
        parts.try_fold(Arc::clone(self), |record, name| record.find(name))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Self>> {
        let index = self.child_index()?;
        let id = index.by_name.get(name)?;
        index.by_id.get(id).cloned()
    }
}
