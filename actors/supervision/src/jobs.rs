//! The futures that one run of an actor has spawned. Each has a waker of its own, so that a wake
//! costs the same whether there is one of them or there are ten thousand: only what was woken is
//! polled.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use actix::{SpawnHandle, fut::ActorFuture};
use futures_util::task::AtomicWaker;

pub(crate) type Job<A> = Pin<Box<dyn ActorFuture<A, Output = ()>>>;

/// A future on its way from the context to the engine.
pub(crate) struct Spawned<A: actix::Actor> {
    pub(crate) handle: SpawnHandle,
    /// The message whose handler spawned it.
    pub(crate) message_type: Option<&'static str>,
    pub(crate) job: Job<A>,
}

/// Who has been woken since it was last polled, in the order of waking.
#[derive(Default)]
struct Ready {
    woken: Mutex<Vec<SpawnHandle>>,
    /// Wakes the driver.
    driver: AtomicWaker,
}

impl Ready {
    fn woken(&self) -> MutexGuard<'_, Vec<SpawnHandle>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Bell {
    handle: SpawnHandle,
    ready: Arc<Ready>,
    /// Whether it waits to be polled.
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.ready.woken().push(self.handle);
            self.ready.driver.wake();
        }
    }
}

struct Entry<A: actix::Actor> {
    job: Job<A>,
    message_type: Option<&'static str>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Handles are small numbers that are used once.
#[derive(Default)]
struct HandleHasher(u64);

impl Hasher for HandleHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        // Fibonacci hashing: neighbours end up far apart.
        self.0 = (self.0 ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(crate) struct Jobs<A: actix::Actor> {
    entries: HashMap<SpawnHandle, Entry<A>, BuildHasherDefault<HandleHasher>>,
    ready: Arc<Ready>,
    /// To be polled next, the first first.
    turn: VecDeque<SpawnHandle>,
}

impl<A: actix::Actor> Jobs<A> {
    pub(crate) fn new() -> Self {
        Self {
            entries: HashMap::default(),
            ready: Arc::default(),
            turn: VecDeque::new(),
        }
    }

    /// Takes a future in; it is polled when its turn comes.
    pub(crate) fn push(&mut self, spawned: Spawned<A>) {
        let Spawned {
            handle,
            message_type,
            job,
        } = spawned;
        let bell = Arc::new(Bell {
            handle,
            ready: Arc::clone(&self.ready),
            rung: AtomicBool::new(true),
        });
        let entry = Entry {
            job,
            message_type,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        };
        self.entries.insert(handle, entry);
        self.turn.push_back(handle);
    }

    /// Takes a future out, polled or not.
    pub(crate) fn remove(&mut self, handle: SpawnHandle) -> Option<Job<A>> {
        self.entries.remove(&handle).map(|entry| entry.job)
    }

    /// Puts those woken since the last time in line. From now on, a wake wakes the driver.
    pub(crate) fn collect(&mut self, cx: &Context<'_>) {
        if self.entries.is_empty() {
            self.turn.clear();
            return;
        }
        self.ready.driver.register(cx.waker());
        self.turn.extend(self.ready.woken().drain(..));
    }

    /// Whether any is in line. (One that is woken after `collect` wakes the driver.)
    pub(crate) fn has_turn(&self) -> bool {
        !self.turn.is_empty()
    }

    /// Which is next, and the message that spawned it.
    pub(crate) fn next(&mut self) -> Option<(SpawnHandle, Option<&'static str>)> {
        while let Some(handle) = self.turn.pop_front() {
            if let Some(entry) = self.entries.get(&handle) {
                return Some((handle, entry.message_type));
            }
        }
        None
    }

    /// Polls one; `Ready` gives it back, to be dropped.
    pub(crate) fn poll(
        &mut self,
        handle: SpawnHandle,
        actor: &mut A,
        ctx: &mut A::Context,
    ) -> Poll<Option<Job<A>>> {
        let Some(entry) = self.entries.get_mut(&handle) else {
            return Poll::Ready(None);
        };
        // From here on, a wake is news.
        entry.bell.rung.swap(false, Ordering::AcqRel);
        let mut cx = Context::from_waker(&entry.waker);
        match entry.job.as_mut().poll(actor, ctx, &mut cx) {
            Poll::Ready(()) => Poll::Ready(self.remove(handle)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Puts one back in line although nothing has woken it.
    pub(crate) fn again(&mut self, handle: SpawnHandle) {
        if let Some(entry) = self.entries.get(&handle)
            && !entry.bell.rung.swap(true, Ordering::AcqRel)
        {
            self.turn.push_back(handle);
        }
    }

    /// All of them, to be dropped one by one.
    pub(crate) fn drain(&mut self) -> Vec<Job<A>> {
        self.turn.clear();
        self.entries.drain().map(|(_, entry)| entry.job).collect()
    }
}
