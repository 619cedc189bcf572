//! Interface of the runtime to an actor.

use std::fmt;

use actix::{Actor, ActorContext, ActorState, Addr, AsyncContext, SpawnHandle, fut::ActorFuture};

use crate::{
    exit::ExitReason,
    handle::Handle,
    health::Health,
    mailbox::Mailbox,
    panic::{Panic, drop_each_quietly},
    signal::{Reporter, SignalKind},
    spawned::{BoxedFuture, PendingFuture},
};

/// Execution context of a supervised actor.
///
/// The context offers what `actix::Context` does (through [`AsyncContext`]: `spawn`, `wait`,
/// `notify`, `run_later`, `run_interval`, streams), and in addition [`fail`](Self::fail) and
/// [`handle`](Self::handle). Two things differ from `actix::Context`: an actor does not stop
/// because nobody holds its address, and messages that are waiting when it stops are kept for its
/// next incarnation.
///
/// A future that is spawned here belongs to this run: it is polled only when it was woken, it ends
/// with the run, and a panic in it ends the run, naming the message whose handler spawned it. The
/// same holds for answers of type `actix::ResponseActFuture`. An `actix::ResponseFuture`, however,
/// is a task of its own on the arbiter: a panic in it is no crash of the actor (the caller gets
/// [`AskError::Crashed`](crate::AskError::Crashed)), and it goes on when the actor ends.
///
/// Messages sent to [`AsyncContext::address`] arrive as usual, but are not subject to the bound of
/// the mailbox and not counted in its depth. Prefer [`handle`](Self::handle).
pub struct Context<A: Actor<Context = Self>> {
    handle: Handle<A>,
    reporter: Reporter,
    incarnation: u64,
    pub(crate) state: ActorState,
    /// Reason for which the run ends, once that is settled.
    pub(crate) exit: Option<ExitReason>,
    /// True if the supervisor asked for the stop. The actor cannot turn that into another reason.
    pub(crate) asked_to_stop: bool,
    pub(crate) spawned: Vec<PendingFuture<A>>,
    pub(crate) waits: Vec<BoxedFuture<A>>,
    pub(crate) cancelled: Vec<SpawnHandle>,
    /// Last handle that was given out. Never reset, so that a handle from an earlier incarnation
    /// matches nothing in this one.
    last_handle: SpawnHandle,
    pub(crate) current_future: SpawnHandle,
    current_message: Option<&'static str>,
}

impl<A: Actor<Context = Self>> Context<A> {
    pub(crate) fn new(handle: Handle<A>, reporter: Reporter) -> Self {
        Self {
            handle,
            reporter,
            incarnation: 0,
            state: ActorState::Started,
            exit: None,
            asked_to_stop: false,
            spawned: Vec::new(),
            waits: Vec::new(),
            cancelled: Vec::new(),
            last_handle: SpawnHandle::default(),
            current_future: SpawnHandle::default(),
            current_message: None,
        }
    }

    /// Ends this run with [`ExitReason::Failed`]: an abnormal exit, so that a transient child is
    /// restarted. As with `stop`, [`Actor::stopping`] and [`Actor::stopped`] are called.
    pub fn fail(&mut self, error: impl fmt::Display) {
        if !self.asked_to_stop {
            self.exit = Some(ExitReason::Failed(error.to_string().into()));
        }
        self.begin_stop();
    }

    /// Reports the health of this actor, which is shown in
    /// [`TreeStatus::health`](crate::TreeStatus::health), and as an event
    /// ([`HealthChanged`](crate::EventKind::HealthChanged)) when it is something else than before.
    /// If it changes more often than its supervisor looks, only the latest is reported. A new run
    /// begins healthy.
    pub fn set_health(&mut self, health: Health) {
        let record = self.handle.record();
        if record.set_health(self.reporter.lease(), health) {
            self.reporter.report(self.incarnation, SignalKind::Health);
        }
    }

    /// Returns the address of this actor, which is valid across restarts.
    #[must_use]
    pub fn handle(&self) -> Handle<A> {
        self.handle.clone()
    }

    /// Returns the handle of the future being polled, or `SpawnHandle::default()` outside of one.
    #[must_use]
    pub fn current_job(&self) -> SpawnHandle {
        self.current_future
    }

    pub(crate) fn reset(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.state = ActorState::Started;
        self.exit = None;
        self.asked_to_stop = false;
        self.cancelled.clear();
        self.current_future = SpawnHandle::default();
        self.current_message = None;
    }

    /// Drops the futures that nobody has taken over, and returns the first panic of a destructor,
    /// if any.
    pub(crate) fn drop_futures(&mut self) -> Result<(), Panic> {
        if self.spawned.is_empty() && self.waits.is_empty() {
            return Ok(());
        }
        let spawned = self.spawned.drain(..).map(|pending| pending.future);
        let spawned = drop_each_quietly(spawned);
        spawned.and(drop_each_quietly(self.waits.drain(..)))
    }

    pub(crate) fn ask_to_stop(&mut self) {
        self.asked_to_stop = true;
        self.exit.get_or_insert(ExitReason::Shutdown);
        self.begin_stop();
    }

    fn begin_stop(&mut self) {
        if self.state.alive() {
            self.state = ActorState::Stopping;
        }
    }

    /// Continues the run, because the actor refused to stop for now.
    pub(crate) fn carry_on(&mut self) {
        self.state = ActorState::Running;
        if !self.asked_to_stop {
            self.exit = None;
        }
    }

    pub(crate) fn halting(&self) -> bool {
        self.state.stopping()
    }

    #[inline]
    pub(crate) fn set_running(&mut self, message_type: &'static str) {
        self.current_message = Some(message_type);
    }

    #[inline]
    pub(crate) fn put_down(&mut self) {
        self.current_message = None;
    }

    /// Notes that the run works on a future that this message left behind, if it was a message.
    pub(crate) fn resume(&mut self, message_type: Option<&'static str>) {
        let was = std::mem::replace(&mut self.current_message, message_type);
        if message_type.is_some() || was.is_some() {
            let lease = self.reporter.lease();
            self.mailbox().set_current_message(lease, message_type);
        }
    }

    pub(crate) fn current_message(&self) -> Option<&'static str> {
        self.current_message
    }

    pub(crate) fn begin_addr_message(&self, message_type: &'static str) {
        let handle = &self.handle;
        let (mailbox, lease) = (handle.mailbox(), self.reporter.lease());
        mailbox.begin_addr_message(message_type, lease, handle.record());
    }

    pub(crate) fn mailbox(&self) -> &Mailbox<A> {
        self.handle.mailbox()
    }
}

impl<A: Actor<Context = Self>> Drop for Context<A> {
    /// Drops the futures one by one, because two destructors that panic would end the process.
    fn drop(&mut self) {
        let _ = self.drop_futures();
    }
}

impl<A: Actor<Context = Self>> ActorContext for Context<A> {
    /// Ends this run with [`ExitReason::Normal`].
    fn stop(&mut self) {
        self.exit.get_or_insert(ExitReason::Normal);
        self.begin_stop();
    }

    /// Ends this run with [`ExitReason::Normal`] without asking [`Actor::stopping`].
    fn terminate(&mut self) {
        self.exit.get_or_insert(ExitReason::Normal);
        self.state = ActorState::Stopped;
    }

    fn state(&self) -> ActorState {
        self.state
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for Context<A> {
    fn address(&self) -> Addr<A> {
        Addr::new(self.handle.addr_mail_or_new().sender())
    }

    fn spawn<F>(&mut self, future: F) -> SpawnHandle
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        self.last_handle = self.last_handle.next();
        self.spawned.push(PendingFuture {
            handle: self.last_handle,
            message_type: self.current_message,
            future: Box::pin(future),
        });
        self.last_handle
    }

    fn wait<F>(&mut self, future: F)
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        self.waits.push(Box::pin(future));
    }

    fn waiting(&self) -> bool {
        !self.waits.is_empty() || self.halting()
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.cancelled.push(handle);
        true
    }
}

impl<A: Actor<Context = Self>> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("handle", &self.handle)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
