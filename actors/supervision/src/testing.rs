//! Helpers for the tests of this crate and of those that build on it, behind the feature `testing`:
//! a paused clock, actors that record or crash, and waiting for events.
//!
//! ```
//! use deia_supervision::{
//!     EventKind, Intensity, SupervisorSpec, Tree,
//!     testing::{self, Crash, Incarnation},
//! };
//! use std::time::Duration;
//!
//! testing::run(async {
//!     let (spec, handle) = testing::crasher("a");
//!     let root = SupervisorSpec::one_for_one("root");
//!     let tree = Tree::start(root.intensity(Intensity::unlimited()).child(spec)).await.unwrap();
//!     let mut events = tree.subscribe();
//!     handle.tell(Crash).unwrap();
//!     let is_back = |event: &deia_supervision::Event| matches!(event.kind, EventKind::Restarted { .. });
//!     testing::wait_for(&mut events, Duration::from_secs(1), is_back).await.unwrap();
//!     assert_eq!(handle.ask(Incarnation).await, Ok(2));
//!     tree.shutdown().await;
//! });
//! ```

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, ActorContext as _, Handler, Message};
use thiserror::Error;

use crate::{ChildSpec, Context, Event, EventStream, Handle, StartError, child};

/// Time longer than any test takes, in the time of a paused clock.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

/// Runs `test` on an actix system whose clock is paused: time passes only when nothing else can
/// happen, and then at once. A test that waits for something that never happens fails.
///
/// # Panics
/// If the test does not end, or there is no runtime to be had.
pub fn run<F: Future>(test: F) -> F::Output {
    run_with_threads(async {
        match tokio::time::timeout(FOR_EVER, test).await {
            Ok(output) => output,
            Err(_) => panic!("the test hangs"),
        }
    })
}

/// Runs `test` like [`run`], but without that limit, for tests with other threads: the clock of
/// this one jumps to its next timer whenever it has nothing to do but wait for them. Limits on what
/// happens there pass at once: say [`start_within(None)`](ChildSpec::start_within) for children
/// that start there.
///
/// # Panics
/// If there is no runtime to be had.
pub fn run_with_threads<F: Future>(test: F) -> F::Output {
    crate::install_panic_hook();
    let system = actix::System::with_tokio_rt(|| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        match runtime.enable_all().start_paused(true).build() {
            Ok(runtime) => runtime,
            Err(error) => panic!("no runtime: {error}"),
        }
    });
    system.block_on(test)
}

/// Lets everything happen that can happen now.
pub async fn idle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Reason for which [`wait_for`] found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotSeen {
    /// The deadline passed. On a paused clock it does as soon as nothing else can happen.
    #[error("it did not happen in time")]
    TimedOut,
    /// The tree ended first.
    #[error("the tree ended first")]
    Ended,
}

/// Waits for the first event from now on that is `wanted`, at most for `deadline`.
///
/// # Errors
/// If it does not come. Events before it are passed over, and lost.
pub async fn wait_for(
    events: &mut EventStream,
    deadline: Duration,
    wanted: impl Fn(&Event) -> bool,
) -> Result<Event, NotSeen> {
    let waiting = async {
        loop {
            match events.recv().await {
                Some(Ok(event)) if wanted(&event) => return Ok(event),
                Some(_) => {}
                None => return Err(NotSeen::Ended),
            }
        }
    };
    let waited = tokio::time::timeout(deadline, waiting).await;
    waited.unwrap_or(Err(NotSeen::TimedOut))
}

/// Messages that probes and others have recorded, in order. Clones stand for the same recording.
pub struct Recording<T>(Arc<Mutex<Vec<T>>>);

impl<T> Recording<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `item` at the end.
    pub fn add(&self, item: impl Into<T>) {
        self.lock().push(item.into());
    }

    /// Returns all items since the last call, in order.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock())
    }
}

impl<T> Default for Recording<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Recording<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Actor that records the messages it gets, in order, across incarnations.
pub struct Probe<M>(Recording<M>);

impl<M: Unpin + 'static> Actor for Probe<M> {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for Probe<M> {
    type Result = ();
    fn handle(&mut self, message: M, _: &mut Self::Context) {
        self.0.add(message);
    }
}

/// Declares a [`Probe`].
#[must_use]
pub fn probe<M>(name: impl Into<String>) -> (ChildSpec, Handle<Probe<M>>, Recording<M>)
where
    M: Message<Result = ()> + Send + Unpin + 'static,
{
    let recording = Recording::default();
    let given = recording.clone();
    let (spec, handle) = child(name, move || {
        let probe = Probe(given.clone());
        async move { Ok::<_, StartError>(probe) }
    });
    (spec, handle, recording)
}

/// Actor that ends in the way it is asked to: [`Crash`], [`Fail`], [`Stop`]. [`Incarnation`] asks
/// it how often it was built.
pub struct Crasher(u64);

impl Actor for Crasher {
    type Context = Context<Self>;
}

/// Makes a [`Crasher`] panic.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Crash;

/// Makes a [`Crasher`] end with an error.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Fail;

/// Makes a [`Crasher`] end normally.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// Asks a [`Crasher`] how often it was built, this time included.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "u64")]
pub struct Incarnation;

impl Handler<Crash> for Crasher {
    type Result = ();
    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("told to crash");
    }
}

impl Handler<Fail> for Crasher {
    type Result = ();
    fn handle(&mut self, _: Fail, ctx: &mut Self::Context) {
        ctx.fail("told to fail");
    }
}

impl Handler<Stop> for Crasher {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Incarnation> for Crasher {
    type Result = u64;
    fn handle(&mut self, _: Incarnation, _: &mut Self::Context) -> u64 {
        self.0
    }
}

/// Declares a [`Crasher`].
#[must_use]
pub fn crasher(name: impl Into<String>) -> (ChildSpec, Handle<Crasher>) {
    let built = AtomicU64::new(0);
    child(name, move || {
        let crasher = Crasher(built.fetch_add(1, Ordering::Relaxed) + 1);
        async move { Ok::<_, StartError>(crasher) }
    })
}
