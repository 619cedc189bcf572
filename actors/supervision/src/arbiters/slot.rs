//! State that a tree keeps of one arbiter.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use actix_rt::ArbiterHandle;
use futures_util::task::AtomicWaker;
use jiff::Timestamp;

use super::{HERE, SlotId};
use crate::status::ArbiterStatus;

/// Shortest time over which the busy share of an arbiter is taken. Fixed: of the library,
/// which has no settings.
const SHARE_OVER: Duration = Duration::from_secs(1);

pub(crate) struct ArbiterSlot {
    pub(crate) id: SlotId,
    pub(crate) name: Arc<str>,
    group: Option<Arc<str>>,
    /// Handle of the arbiter; `None` for the one that started the tree, which the tree must not
    /// stop.
    arbiter: Option<ArbiterHandle>,
    heartbeat: Heartbeat,
    children: AtomicUsize,
    retired: AtomicBool,
    /// True if the watchdog has reported the arbiter, and it has made no progress since.
    blocked: AtomicBool,
    /// True if the loss was counted, so that another arbiter may take the place.
    lost: AtomicBool,
    silent_since: Mutex<Option<Timestamp>>,
    busy_ns: AtomicU64,
    share: Mutex<BusyShare>,
}

/// Heartbeat of an arbiter, which answers whenever the arbiter is free. The watchdog's clock
/// decides when to ask, so that nothing here depends on a clock that a test may have paused.
#[derive(Default)]
struct Heartbeat {
    waker: AtomicWaker,
    asked: AtomicU64,
    answered: AtomicU64,
}

/// Busy share of an arbiter, measured again when somebody reads it, at most once in [`SHARE_OVER`].
struct BusyShare {
    since: Instant,
    busy_ns: u64,
    share: f64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ArbiterSlot {
    fn new(
        id: SlotId,
        name: String,
        group: Option<Arc<str>>,
        arbiter: Option<ArbiterHandle>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            name: name.into(),
            group,
            arbiter,
            heartbeat: Heartbeat::default(),
            children: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            silent_since: Mutex::default(),
            busy_ns: AtomicU64::new(0),
            share: Mutex::new(BusyShare {
                since: Instant::now(),
                busy_ns: 0,
                share: 0.0,
            }),
        })
    }

    pub(super) fn here() -> Arc<Self> {
        Self::new(HERE, "tree".to_owned(), None, None)
    }

    pub(super) fn open(id: SlotId, group: &Arc<str>, arbiter: ArbiterHandle) -> Arc<Self> {
        let name = format!("{group}-{id}");
        let slot = Self::new(id, name, Some(Arc::clone(group)), Some(arbiter));
        let answering = Arc::clone(&slot);
        slot.run(move || drop(actix_rt::spawn(answering.answer())));
        slot
    }

    /// Answers forever; must be spawned on this arbiter.
    pub(crate) async fn answer(self: Arc<Self>) {
        poll_fn(|cx| {
            self.heartbeat.waker.register(cx.waker());
            let asked = self.heartbeat.asked.load(Ordering::Acquire);
            self.heartbeat.answered.store(asked, Ordering::Release);
            Poll::<()>::Pending
        })
        .await;
    }

    /// Returns true if the last question was answered. If so, asks the next.
    pub(crate) fn is_alive(&self) -> bool {
        let asked = self.heartbeat.asked.load(Ordering::Acquire);
        let alive = self.heartbeat.answered.load(Ordering::Acquire) == asked;
        if alive {
            self.heartbeat.asked.store(asked + 1, Ordering::Release);
            self.heartbeat.waker.wake();
        }
        let mut silent_since = lock(&self.silent_since);
        match (alive, &*silent_since) {
            (true, Some(_)) => *silent_since = None,
            (false, None) => *silent_since = Some(Timestamp::now()),
            _ => {}
        }
        alive
    }

    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::SeqCst);
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    /// Returns true if the arbiter was stopped by something outside this runtime.
    pub(super) fn is_stopped(&self) -> bool {
        self.arbiter.as_ref().is_some_and(|it| !it.alive())
    }

    /// Returns true if a child that is placed here will run.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_stopped() && !self.is_blocked()
    }

    /// Returns true if all children have left the arbiter for good, so that it ends as soon as it
    /// can.
    pub(crate) fn is_given_up(&self) -> bool {
        self.retired.load(Ordering::SeqCst) && self.children() == 0
    }

    pub(super) fn is_of(&self, group: &str) -> bool {
        self.group.as_deref() == Some(group)
    }

    /// Counts the arbiter as lost. Returns true if it was counted before.
    pub(super) fn count_lost(&self) -> bool {
        self.lost.swap(true, Ordering::SeqCst)
    }

    pub(super) fn is_counted_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Runs `task` on this arbiter, or drops it if the arbiter was stopped.
    pub(crate) fn run(&self, task: impl FnOnce() + Send + 'static) {
        match &self.arbiter {
            Some(arbiter) => drop(arbiter.spawn_fn(task)),
            None => task(),
        }
    }

    pub(super) fn stop(&self) {
        if let Some(arbiter) = &self.arbiter {
            arbiter.stop();
        }
    }

    /// Accepts no new children; the arbiter is stopped when the last one has left.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        if self.children() == 0 {
            self.stop();
        }
    }

    /// Returns the number of children that run on the arbiter.
    pub(crate) fn children(&self) -> usize {
        self.children.load(Ordering::SeqCst)
    }

    pub(crate) fn add_busy(&self, ns: u64) {
        self.busy_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Returns the share of the last second or more that the children have worked, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn busy_share(&self) -> f64 {
        let (now, busy_ns) = (Instant::now(), self.busy_ns.load(Ordering::Relaxed));
        let mut last = lock(&self.share);
        let passed = now.duration_since(last.since);
        if passed >= SHARE_OVER {
            let busy = busy_ns.saturating_sub(last.busy_ns);
            let share = (busy as f64 / passed.as_nanos() as f64).clamp(0.0, 1.0);
            *last = BusyShare {
                since: now,
                busy_ns,
                share,
            };
        }
        last.share
    }

    /// Returns the key by which the least loaded arbiter is found: the number of children, and
    /// among equals the busy share.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1,000"
    )]
    pub(super) fn load(&self) -> (usize, u32) {
        (self.children(), (self.busy_share() * 1_000.0) as u32)
    }

    pub(crate) fn status(&self) -> ArbiterStatus {
        ArbiterStatus {
            name: Arc::clone(&self.name),
            group: self.group.clone(),
            children: self.children(),
            busy_share: self.busy_share(),
            silent_since: *lock(&self.silent_since),
            blocked: self.is_blocked(),
            given_up: self.is_blocked() && self.is_given_up(),
        }
    }
}

/// Place of a child on an arbiter.
pub(crate) struct SlotGuard(Arc<ArbiterSlot>);

impl SlotGuard {
    pub(crate) fn on(slot: &Arc<ArbiterSlot>) -> Self {
        slot.children.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(slot))
    }

    pub(crate) fn slot(&self) -> &Arc<ArbiterSlot> {
        &self.0
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let last = self.0.children.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.retired.load(Ordering::SeqCst) {
            self.0.stop();
        }
    }
}
