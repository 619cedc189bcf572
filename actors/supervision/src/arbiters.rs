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
pub(crate) type PostId = u64;

/// The arbiter that started the tree.
pub(crate) const HERE: PostId = 0;

/// One arbiter, as the tree knows it.
pub(crate) struct Post {
    pub(crate) id: PostId,
    /// `None` for the one that started the tree: it is not ours to stop.
    arbiter: Option<ArbiterHandle>,
    pulse: Pulse,
    tenants: AtomicUsize,
    retired: AtomicBool,
}

/// Answers whenever the arbiter gets around to it. The clock that asks is the watchdog's, so that
/// nothing here depends on a clock that a test may have paused.
#[derive(Default)]
struct Pulse {
    waker: AtomicWaker,
    asked: AtomicU64,
    answered: AtomicU64,
}

impl Post {
    fn new(id: PostId, arbiter: Option<ArbiterHandle>) -> Arc<Self> {
        Arc::new(Self {
            id,
            arbiter,
            pulse: Pulse::default(),
            tenants: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
        })
    }

    /// Answers for ever; to be spawned on this arbiter.
    pub(crate) async fn answer(self: Arc<Self>) {
        poll_fn(|cx| {
            self.pulse.waker.register(cx.waker());
            let asked = self.pulse.asked.load(Ordering::Acquire);
            self.pulse.answered.store(asked, Ordering::Release);
            Poll::<()>::Pending
        })
        .await;
    }

    /// Whether the last question was answered. If so, asks the next.
    pub(crate) fn is_alive(&self) -> bool {
        let asked = self.pulse.asked.load(Ordering::Acquire);
        let alive = self.pulse.answered.load(Ordering::Acquire) == asked;
        if alive {
            self.pulse.asked.store(asked + 1, Ordering::Release);
            self.pulse.waker.wake();
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
pub(crate) struct Seat(Arc<Post>);

impl Seat {
    pub(crate) fn on(post: &Arc<Post>) -> Self {
        post.tenants.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(post))
    }
}

impl Drop for Seat {
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
pub(crate) struct Pool {
    size: usize,
    here: Arc<Post>,
    inner: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    members: Vec<Arc<Post>>,
    turn: usize,
    last: PostId,
    /// Which member took the place of one that was blocked.
    successors: HashMap<PostId, Arc<Post>>,
    own: Vec<Weak<Post>>,
}

impl Members {
    fn open(&mut self) -> Arc<Post> {
        self.last += 1;
        let post = Post::new(self.last, Some(Arbiter::new().handle()));
        let answering = Arc::clone(&post);
        post.run(move || drop(actix_rt::spawn(answering.answer())));
        post
    }
}

impl Pool {
    pub(crate) fn new(size: Option<usize>) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            size: size.unwrap_or_else(cores),
            here: Post::new(HERE, None),
            inner: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Members> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The arbiter that started the tree.
    pub(crate) fn here(&self) -> &Arc<Post> {
        &self.here
    }

    /// The arbiter whose turn it is.
    pub(crate) fn next(&self) -> Arc<Post> {
        let inner = &mut *self.inner();
        let index = inner.turn % self.size;
        inner.turn += 1;
        if index >= inner.members.len() {
            let post = inner.open();
            inner.members.push(post);
        }
        Arc::clone(&inner.members[index.min(inner.members.len() - 1)])
    }

    /// A new arbiter for one child.
    pub(crate) fn own(&self) -> Arc<Post> {
        let inner = &mut *self.inner();
        let post = inner.open();
        inner.own.retain(|post| post.strong_count() > 0);
        inner.own.push(Arc::downgrade(&post));
        post
    }

    /// A fresh arbiter for those that were on `blocked`, the same one for all of them. `blocked`
    /// gets no new children any more.
    pub(crate) fn successor(&self, blocked: PostId) -> Arc<Post> {
        let inner = &mut *self.inner();
        let mut id = blocked;
        let mut latest = None;
        while let Some(post) = inner.successors.get(&id) {
            id = post.id;
            latest = Some(Arc::clone(post));
        }
        let index = inner.members.iter().position(|post| post.id == id);
        if let (Some(post), Some(_)) = (&latest, index) {
            return Arc::clone(post);
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
    pub(crate) fn posts(&self) -> Vec<Arc<Post>> {
        let inner = self.inner();
        let own = inner.own.iter().filter_map(Weak::upgrade);
        let mut posts: Vec<_> = inner.members.iter().cloned().chain(own).collect();
        posts.push(Arc::clone(&self.here));
        posts
    }

    pub(crate) fn stop(&self) {
        for post in self.inner().members.drain(..) {
            post.stop();
        }
    }
}
