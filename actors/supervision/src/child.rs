//! Declaring a worker.

use std::{future::Future, pin::Pin, sync::Arc};

use actix::Actor;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    context::Context,
    driver::{Driver, Link},
    envelope::Envelope,
    error::StartError,
    handle::Handle,
    node::Node,
    spec::ChildSpec,
};

pub(crate) type Built<A> = Pin<Box<dyn Future<Output = Result<A, StartError>>>>;
pub(crate) type Factory<A> = Box<dyn Fn() -> Built<A> + Send + Sync>;

/// Declares a worker: its name, how its actor is built, and the [`Handle`] to it, which works
/// from now on.
///
/// `factory` runs on the arbiter on which the actor will live, once for each incarnation, so that
/// no state survives a crash except what the factory hands on. It may take its time, and it may
/// fail; with [`StartError::Ignore`] it declines and the child stays down.
///
/// The child is *ready*, and the next one starts, when the factory has resolved, `started` has
/// returned, and all that `started` told its context to `wait` for has completed.
pub fn child<A, F, B, E>(name: impl Into<String>, factory: F) -> (ChildSpec, Handle<A>)
where
    A: Actor<Context = Context<A>>,
    F: Fn() -> B + Send + Sync + 'static,
    B: Future<Output = Result<A, E>> + 'static,
    E: Into<StartError>,
{
    let node = Node::worker(name.into());
    let (handle, mail) = Handle::new(Arc::clone(&node));
    let worker = Worker {
        factory: Box::new(move || {
            let building = factory();
            Box::pin(async move { building.await.map_err(Into::into) })
        }),
        handle: handle.clone(),
        mail,
    };
    (ChildSpec::worker(node, Box::new(worker)), handle)
}

struct Worker<A: Actor> {
    factory: Factory<A>,
    handle: Handle<A>,
    mail: UnboundedReceiver<Envelope<A>>,
}

/// A worker whose actor type is forgotten.
pub(crate) trait WorkerBody: Send {
    /// Runs the child's driver on the current arbiter until its link is cut.
    fn run(self: Box<Self>, link: Link) -> Pin<Box<dyn Future<Output = ()>>>;
}

impl<A: Actor<Context = Context<A>>> WorkerBody for Worker<A> {
    fn run(self: Box<Self>, link: Link) -> Pin<Box<dyn Future<Output = ()>>> {
        let driver = Driver::new(self.factory, self.handle, self.mail, link);
        Box::pin(driver.run())
    }
}
