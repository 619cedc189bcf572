//! The threads of a tree.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
};

use actix_rt::{Arbiter, ArbiterHandle};
use futures_util::task::AtomicWaker;

/// Names an arbiter within its tree.
pub(crate) type SlotId = u64;

/// The arbiter that started the tree.
pub(crate) const HERE: SlotId = 0;

/// One arbiter, as the tree knows it.
pub(crate) struct ArbiterSlot {
    pub(crate) id: SlotId,
    /// `None` for the one that started the tree: it is not ours to stop.
    arbiter: Option<ArbiterHandle>,
    heartbeat: Heartbeat,
    tenants: AtomicUsize,
    retired: AtomicBool,
}

/// Answers whenever the arbiter gets around to it. The clock that asks is the watchdog's, so that
/// nothing here depends on a clock that a test may have paused.
#[derive(Default)]
struct Heartbeat {
    waker: AtomicWaker,
    asked: AtomicU64,
    answered: AtomicU64,
}

impl ArbiterSlot {
    fn new(id: SlotId, arbiter: Option<ArbiterHandle>) -> Arc<Self> {
        Arc::new(Self {
            id,
            arbiter,
            heartbeat: Heartbeat::default(),
            tenants: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
        })
    }

    /// Answers for ever; to be spawned on this arbiter.
    pub(crate) async fn answer(self: Arc<Self>) {
        poll_fn(|cx| {
            self.heartbeat.waker.register(cx.waker());
            let asked = self.heartbeat.asked.load(Ordering::Acquire);
            self.heartbeat.answered.store(asked, Ordering::Release);
            Poll::<()>::Pending
        })
        .await;
    }

    /// Whether the last question was answered. If so, asks the next.
    pub(crate) fn is_alive(&self) -> bool {
        let asked = self.heartbeat.asked.load(Ordering::Acquire);
        let alive = self.heartbeat.answered.load(Ordering::Acquire) == asked;
        if alive {
            self.heartbeat.asked.store(asked + 1, Ordering::Release);
            self.heartbeat.waker.wake();
        }
        alive
    }

    /// Runs `task` on this arbiter.
    pub(crate) fn run(&self, task: impl FnOnce() + Send + 'static) {
        match &self.arbiter {
            Some(arbiter) => drop(arbiter.spawn_fn(task)),
            None => task(),
        }
    }

    fn stop(&self) {
        if let Some(arbiter) = &self.arbiter {
            arbiter.stop();
        }
    }

    /// No new children; it is stopped when the last one has left.
    fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        if self.tenants.load(Ordering::SeqCst) == 0 {
            self.stop();
        }
    }
}

/// A child's place on an arbiter.
pub(crate) struct SlotGuard(Arc<ArbiterSlot>);

impl SlotGuard {
    pub(crate) fn on(slot: &Arc<ArbiterSlot>) -> Self {
        slot.tenants.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(slot))
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let last = self.0.tenants.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.retired.load(Ordering::SeqCst) {
            self.0.stop();
        }
    }
}

/// The arbiters of a tree: the one that started it, the pool for
/// [`Placement::RoundRobin`](crate::Placement::RoundRobin), made when first used, and those that
/// children have for themselves.
pub(crate) struct ArbiterPool {
    size: usize,
    here: Arc<ArbiterSlot>,
    inner: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    members: Vec<Arc<ArbiterSlot>>,
    next: usize,
    last: SlotId,
    /// Which member took the place of one that was blocked.
    successors: HashMap<SlotId, Arc<ArbiterSlot>>,
    own: Vec<Weak<ArbiterSlot>>,
}

impl PoolState {
    fn open(&mut self) -> Arc<ArbiterSlot> {
        self.last += 1;
        let slot = ArbiterSlot::new(self.last, Some(Arbiter::new().handle()));
        let answering = Arc::clone(&slot);
        slot.run(move || drop(actix_rt::spawn(answering.answer())));
        slot
    }
}

impl ArbiterPool {
    pub(crate) fn new(size: Option<usize>) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            size: size.unwrap_or_else(cores),
            here: ArbiterSlot::new(HERE, None),
            inner: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, PoolState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The arbiter that started the tree.
    pub(crate) fn here(&self) -> &Arc<ArbiterSlot> {
        &self.here
    }

    /// The arbiter whose turn it is.
    pub(crate) fn next(&self) -> Arc<ArbiterSlot> {
        let inner = &mut *self.inner();
        let index = inner.next % self.size;
        inner.next += 1;
        if index >= inner.members.len() {
            let slot = inner.open();
            inner.members.push(slot);
        }
        Arc::clone(&inner.members[index.min(inner.members.len() - 1)])
    }

    /// A new arbiter for one child.
    pub(crate) fn own(&self) -> Arc<ArbiterSlot> {
        let inner = &mut *self.inner();
        let slot = inner.open();
        inner.own.retain(|slot| slot.strong_count() > 0);
        inner.own.push(Arc::downgrade(&slot));
        slot
    }

    /// A fresh arbiter for those that were on `blocked`, the same one for all of them. `blocked`
    /// gets no new children any more.
    pub(crate) fn successor(&self, blocked: SlotId) -> Arc<ArbiterSlot> {
        let inner = &mut *self.inner();
        let mut id = blocked;
        let mut latest = None;
        while let Some(slot) = inner.successors.get(&id) {
            id = slot.id;
            latest = Some(Arc::clone(slot));
        }
        let index = inner.members.iter().position(|slot| slot.id == id);
        if let (Some(slot), Some(_)) = (&latest, index) {
            return Arc::clone(slot);
        }
        let fresh = inner.open();
        inner.successors.insert(id, Arc::clone(&fresh));
        match index {
            Some(index) => {
                let old = std::mem::replace(&mut inner.members[index], Arc::clone(&fresh));
                old.retire();
            }
            None => inner.members.push(Arc::clone(&fresh)),
        }
        fresh
    }

    /// All that are in use, for the watchdog.
    pub(crate) fn slots(&self) -> Vec<Arc<ArbiterSlot>> {
        let inner = self.inner();
        let own = inner.own.iter().filter_map(Weak::upgrade);
        let mut slots: Vec<_> = inner.members.iter().cloned().chain(own).collect();
        slots.push(Arc::clone(&self.here));
        slots
    }

    pub(crate) fn stop(&self) {
        for slot in self.inner().members.drain(..) {
            slot.stop();
        }
    }
}
