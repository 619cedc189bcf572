//! Declaring a worker.

use std::{any::Any, future::Future, pin::Pin, sync::Arc};

use actix::Actor;

use crate::{
    arbiters::ArbiterSlot, context::Context, error::StartError, fence::FencedTask, handle::Handle,
    panic::drop_quietly, record::ChildRecord, signal::SupervisorLine, spec::ChildSpec,
    worker_task::WorkerTask,
};

pub(crate) type Built<A> = Pin<Box<dyn Future<Output = Result<A, StartError>>>>;
pub(crate) type Factory<A> = Box<dyn Fn() -> Built<A> + Send + Sync>;

/// Declares a worker: its name, how its actor is built, and the [`Handle`] to it, which works at
/// once.
///
/// `factory` runs on the arbiter on which the actor will live, once for each incarnation, so that
/// no state survives a crash except what the factory hands on. The factory may take its time, and
/// may fail; with [`StartError::Ignore`] it declines and the child stays down. A stop while the
/// actor is being built drops the future of the factory at once, whatever [`ChildSpec::shutdown`]
/// says: that future must be safe to cancel at each of its `await`s.
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
    let record = ChildRecord::worker(name.into());
    let handle = Handle::new(Arc::clone(&record));
    let worker = Worker {
        factory: Box::new(move || {
            let building = factory();
            Box::pin(async move { building.await.map_err(Into::into) })
        }),
        handle: handle.clone(),
    };
    (ChildSpec::worker(record, Arc::new(worker)), handle)
}

/// State of a child that does not depend on the task that runs it.
pub(crate) struct Worker<A: Actor> {
    pub(crate) factory: Factory<A>,
    pub(crate) handle: Handle<A>,
}

/// Worker whose actor type is erased.
pub(crate) trait WorkerBody: Send + Sync {
    /// Runs a task of the child on the current arbiter, which is `slot`, until its control channel
    /// is closed or its lease is taken away. The task starts as that incarnation.
    fn run(self: Arc<Self>, line: SupervisorLine, slot: Arc<ArbiterSlot>, incarnation: u64);
    /// Takes no more messages and drops those that are left.
    fn close(&self);
    /// Drops the messages that wait.
    fn drop_mail(&self);
    /// Drops the questions that wait, because the child stays down.
    fn drop_questions(&self);
    /// Makes callers hear if the child loses their question, because it is moved off the arbiter of
    /// its tree.
    fn watch_questions(&self);
    /// Wakes the senders that wait for room.
    fn wake_senders(&self);
    /// Returns a `Handle<A>` to the child.
    fn handle(&self) -> Box<dyn Any + Send>;
    /// Returns the type of the message that is being handled on any thread, if there is one.
    fn current_message(&self) -> Option<&'static str>;
}

impl<A: Actor<Context = Context<A>>> WorkerBody for Worker<A> {
    fn run(self: Arc<Self>, line: SupervisorLine, slot: Arc<ArbiterSlot>, incarnation: u64) {
        let lease = line.lease.clone();
        let task = WorkerTask::new(self, line, slot).run(incarnation);
        actix_rt::spawn(FencedTask::new(task, lease));
    }

    fn close(&self) {
        self.handle.close();
    }

    fn drop_mail(&self) {
        let mailbox = self.handle.mailbox();
        for envelope in mailbox.take_out(self.handle.record(), |_| true) {
            let _ = drop_quietly(envelope);
        }
    }

    fn drop_questions(&self) {
        let mailbox = self.handle.mailbox();
        for envelope in mailbox.take_out(self.handle.record(), |it| it.is_question()) {
            let _ = drop_quietly(envelope);
        }
    }

    fn watch_questions(&self) {
        let mailbox = self.handle.mailbox();
        mailbox.watch_questions(self.handle.record());
    }

    fn wake_senders(&self) {
        self.handle.mailbox().wake_senders();
    }

    fn handle(&self) -> Box<dyn Any + Send> {
        Box::new(self.handle.clone())
    }

    fn current_message(&self) -> Option<&'static str> {
        self.handle.mailbox().current_message()
    }
}

impl<A: Actor> Drop for Worker<A> {
    /// Closes the mailbox of a child that never got into a tree, or is gone from it.
    fn drop(&mut self) {
        self.handle.record().set_removed();
        self.handle.close();
    }
}
