//! Declarations of workers whose type is known.

use std::{fmt, future::Future, time::Duration};

use actix::Actor;

use super::{
    ChildSpec, Criticality, MailOnEscalation, MailWhileSuspended, OnExhausted, OnStall, Placement,
    Restart, Shutdown,
};
use crate::{
    backoff::Backoff, child::child, context::Context, error::StartError, handle::Handle,
    intensity::Intensity,
};

/// Declaration of a worker, made by [`worker`] or [`worker_async`].
pub struct WorkerSpec<A: Actor<Context = Context<A>>> {
    spec: ChildSpec,
    handle: Handle<A>,
}

/// Declares a worker that `build` builds again for each incarnation, synchronously and without
/// failing.
///
/// ```
/// # use deia_supervision::prelude::*;
/// struct Counter(u64);
/// # impl Actor for Counter { type Context = Context<Self>; }
///
/// let counter = worker("counter", || Counter(0)).restart(Restart::Transient);
/// let handle = counter.handle(); // works from now on
/// let root = SupervisorSpec::one_for_one("root").child(counter);
/// # drop((handle, root));
/// ```
pub fn worker<A, F>(name: impl Into<String>, build: F) -> WorkerSpec<A>
where
    A: Actor<Context = Context<A>>,
    F: Fn() -> A + Send + Sync + 'static,
{
    WorkerSpec::new(child(name, move || {
        let actor = build();
        async move { Ok::<_, StartError>(actor) }
    }))
}

/// Declares a worker that `build` builds again for each incarnation from `deps`, of which it gets a
/// clone each time. `build` may take its time, and may fail: see [`child`].
///
/// ```
/// # use deia_supervision::prelude::*;
/// # #[derive(Clone)] struct Pool;
/// # impl Pool { async fn connect(self) -> std::io::Result<Connection> { Ok(Connection) } }
/// # struct Connection;
/// struct Store(Connection);
/// # impl Actor for Store { type Context = Context<Self>; }
///
/// # let pool = Pool;
/// let store = worker_async("store", pool, |pool| async move {
///     Ok::<_, StartError>(Store(pool.connect().await?))
/// });
/// # drop(store.handle());
/// ```
pub fn worker_async<A, D, F, B, E>(name: impl Into<String>, deps: D, build: F) -> WorkerSpec<A>
where
    A: Actor<Context = Context<A>>,
    D: Clone + Send + Sync + 'static,
    F: Fn(D) -> B + Send + Sync + 'static,
    B: Future<Output = Result<A, E>> + 'static,
    E: Into<StartError>,
{
    WorkerSpec::new(child(name, move || build(deps.clone())))
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for WorkerSpec<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerSpec").field(&self.spec).finish()
    }
}

impl<A: Actor<Context = Context<A>>> WorkerSpec<A> {
    fn new((spec, handle): (ChildSpec, Handle<A>)) -> Self {
        Self { spec, handle }
    }

    policy_methods!(spec.policy);
    policy_getters!(spec.policy);
    worker_methods!(spec.policy; spec.record);

    /// Returns the name, which is unique among the siblings.
    #[must_use]
    pub fn name(&self) -> &str {
        self.spec.name()
    }

    /// Returns the address of the worker, which works at once: messages that are sent before the
    /// tree is started wait.
    #[must_use]
    pub fn handle(&self) -> Handle<A> {
        self.handle.clone()
    }
}

impl<A: Actor<Context = Context<A>>> From<WorkerSpec<A>> for ChildSpec {
    fn from(worker: WorkerSpec<A>) -> Self {
        worker.spec
    }
}
