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

pub(crate) type BoxedFuture<A> = Pin<Box<dyn ActorFuture<A, Output = ()>>>;

/// Future on its way from the context to the incarnation.
pub(crate) struct PendingFuture<A: actix::Actor> {
    pub(crate) handle: SpawnHandle,
    /// Type of the message whose handler spawned the future.
    pub(crate) message_type: Option<&'static str>,
    pub(crate) future: BoxedFuture<A>,
}

/// Futures that have been woken since they were last polled, in the order of waking.
#[derive(Default)]
struct WokenList {
    woken: Mutex<Vec<SpawnHandle>>,
    /// Waker of the task.
    task: AtomicWaker,
}

impl WokenList {
    fn woken(&self) -> MutexGuard<'_, Vec<SpawnHandle>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct FutureWaker {
    handle: SpawnHandle,
    list: Arc<WokenList>,
    /// True if the future waits to be polled.
    is_woken: AtomicBool,
}

impl Wake for FutureWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.list.woken().push(self.handle);
            self.list.task.wake();
        }
    }
}

struct Entry<A: actix::Actor> {
    future: BoxedFuture<A>,
    message_type: Option<&'static str>,
    wakeup: Arc<FutureWaker>,
    waker: Waker,
}

/// Hasher for handles, which are small numbers that are used once.
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

pub(crate) struct SpawnedFutures<A: actix::Actor> {
    entries: HashMap<SpawnHandle, Entry<A>, BuildHasherDefault<HandleHasher>>,
    /// List of woken futures, made with the first future because most actors spawn none.
    list: Option<Arc<WokenList>>,
    /// Futures to be polled next, in order.
    run_queue: VecDeque<SpawnHandle>,
}

impl<A: actix::Actor> SpawnedFutures<A> {
    pub(crate) fn new() -> Self {
        Self {
            entries: HashMap::default(),
            list: None,
            run_queue: VecDeque::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a future, which is polled when its turn comes.
    pub(crate) fn push(&mut self, spawned: PendingFuture<A>) {
        let PendingFuture {
            handle,
            message_type,
            future,
        } = spawned;
        let wakeup = Arc::new(FutureWaker {
            handle,
            list: Arc::clone(self.list.get_or_insert_default()),
            is_woken: AtomicBool::new(true),
        });
        let entry = Entry {
            future,
            message_type,
            waker: Waker::from(Arc::clone(&wakeup)),
            wakeup,
        };
        self.entries.insert(handle, entry);
        self.run_queue.push_back(handle);
    }

    /// Removes a future, polled or not.
    pub(crate) fn remove(&mut self, handle: SpawnHandle) -> Option<BoxedFuture<A>> {
        self.entries.remove(&handle).map(|entry| entry.future)
    }

    /// Queues the futures that were woken since the last call. From now on, a wake wakes the task.
    pub(crate) fn collect(&mut self, cx: &Context<'_>) {
        if self.entries.is_empty() {
            self.run_queue.clear();
            return;
        }
        let Some(list) = &self.list else {
            return;
        };
        list.task.register(cx.waker());
        self.run_queue.extend(list.woken().drain(..));
    }

    /// Returns true if any future is queued. (A future that is woken after `collect` wakes the
    /// task.)
    pub(crate) fn has_queued(&self) -> bool {
        !self.run_queue.is_empty()
    }

    /// Returns the next future, and the type of the message that spawned it.
    pub(crate) fn next(&mut self) -> Option<(SpawnHandle, Option<&'static str>)> {
        while let Some(handle) = self.run_queue.pop_front() {
            if let Some(entry) = self.entries.get(&handle) {
                return Some((handle, entry.message_type));
            }
        }
        None
    }

    /// Polls a future; `Ready` returns it, to be dropped.
    pub(crate) fn poll(
        &mut self,
        handle: SpawnHandle,
        actor: &mut A,
        ctx: &mut A::Context,
    ) -> Poll<Option<BoxedFuture<A>>> {
        let Some(entry) = self.entries.get_mut(&handle) else {
            return Poll::Ready(None);
        };
        // From here on, a wake is news.
        entry.wakeup.is_woken.swap(false, Ordering::AcqRel);
        let mut cx = Context::from_waker(&entry.waker);
        match entry.future.as_mut().poll(actor, ctx, &mut cx) {
            Poll::Ready(()) => Poll::Ready(self.remove(handle)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Queues a future again although nothing has woken it.
    pub(crate) fn requeue(&mut self, handle: SpawnHandle) {
        if let Some(entry) = self.entries.get(&handle)
            && !entry.wakeup.is_woken.swap(true, Ordering::AcqRel)
        {
            self.run_queue.push_back(handle);
        }
    }

    /// Returns all futures, to be dropped one by one.
    pub(crate) fn drain(&mut self) -> Vec<BoxedFuture<A>> {
        self.run_queue.clear();
        self.entries
            .drain()
            .map(|(_, entry)| entry.future)
            .collect()
    }
}
