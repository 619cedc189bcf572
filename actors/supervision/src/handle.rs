//! How a child is spoken to.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Poll, ready},
};

use actix::{
    Actor, Handler, Message,
    dev::channel::{AddressReceiver, AddressSender, channel},
};
use futures_util::Stream;
use tokio::sync::oneshot;

use crate::{
    context::Context,
    envelope::{Ask as AskEnvelope, Tell as TellEnvelope, recover_ask, recover_tell},
    error::{AskError, TellError},
    exit::ExitReason,
    fence::Lease,
    mailbox::{Mailbox, NotTaken},
    record::ChildRecord,
};

/// The address of a child. Cheap to clone, usable from any thread, and good from the declaration
/// of the child until it is removed or its tree ends: across restarts it stays the same, and
/// messages sent meanwhile wait.
pub struct Handle<A: Actor> {
    inner: Arc<Inner<A>>,
}

struct Inner<A: Actor> {
    mailbox: Mailbox<A>,
    record: Arc<ChildRecord>,
    /// Mail through bare addresses, made when the first one is asked for.
    addr_mail: OnceLock<Box<AddrMail<A>>>,
}

impl<A: Actor<Context = Context<A>>> Handle<A> {
    pub(crate) fn new(record: Arc<ChildRecord>) -> Self {
        let inner = Arc::new(Inner {
            mailbox: Mailbox::new(),
            record,
            addr_mail: OnceLock::new(),
        });
        Self { inner }
    }

    /// Sends `message` without waiting for an answer. Never blocks.
    ///
    /// # Errors
    /// Gives the message back if the mailbox is full or the child is gone.
    #[inline]
    pub fn tell<M>(&self, message: M) -> Result<(), TellError<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let inner = &*self.inner;
        let envelope = Box::new(TellEnvelope(message));
        match inner.mailbox.push(envelope, &inner.record) {
            Ok(()) => Ok(()),
            Err(NotTaken::Full(envelope)) => Err(TellError::Full(recover_tell(envelope))),
            Err(NotTaken::Closed(envelope)) => Err(TellError::Gone(recover_tell(envelope))),
        }
    }

    /// Sends `message` at once and returns a future of the answer, which may outlive the handle.
    /// Dropping the future withdraws a question that is still waiting. There is no time-out:
    /// wrap it in `tokio::time::timeout` where one is wanted.
    ///
    /// # Errors
    /// The future resolves to [`AskError::Full`] or [`AskError::Gone`] if the question was not
    /// taken, and to [`AskError::Crashed`] if the child crashed while working on it.
    #[inline]
    pub fn ask<M>(&self, message: M) -> Ask<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.try_ask(message).unwrap_or_else(|refused| {
            Ask(AskState::Refused(if refused.is_full() {
                AskError::Full
            } else {
                AskError::Gone
            }))
        })
    }

    /// Like [`ask`](Self::ask), but gives a message that is not taken back at once.
    ///
    /// # Errors
    /// As [`tell`](Self::tell).
    #[inline]
    pub fn try_ask<M>(&self, message: M) -> Result<Ask<M::Result>, TellError<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let inner = &*self.inner;
        let (answer, answered) = oneshot::channel();
        let envelope = Box::new(AskEnvelope(message, answer));
        match inner.mailbox.push(envelope, &inner.record) {
            Ok(()) => Ok(Ask(AskState::Waiting {
                answered,
                record: Arc::clone(&inner.record),
            })),
            Err(NotTaken::Full(envelope)) => Err(TellError::Full(recover_ask(envelope))),
            Err(NotTaken::Closed(envelope)) => Err(TellError::Gone(recover_ask(envelope))),
        }
    }

    /// An address for one type of message that does not name the actor.
    #[must_use]
    pub fn recipient<M>(&self) -> Recipient<M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Recipient(Arc::new(self.clone()))
    }
}

impl<A: Actor> Handle<A> {
    pub(crate) fn mailbox(&self) -> &Mailbox<A> {
        &self.inner.mailbox
    }

    pub(crate) fn record(&self) -> &Arc<ChildRecord> {
        &self.inner.record
    }

    /// Mail through bare addresses, if there are any.
    pub(crate) fn addr_mail(&self) -> Option<&AddrMail<A>> {
        self.inner.addr_mail.get().map(|addr_mail| &**addr_mail)
    }

    pub(crate) fn addr_mail_or_new(&self) -> &AddrMail<A> {
        self.inner.addr_mail.get_or_init(Box::default)
    }

    /// Resolves when the child's current (or next) run ends, with the reason.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor(self.inner.record.monitor())
    }

    /// Messages waiting.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.inner.record.depth()
    }

    /// Whether the child was removed or its tree ended: nothing will be taken any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.inner.mailbox.is_closed()
    }

    /// The child's path in its tree; its bare name before the tree is started.
    #[must_use]
    pub fn path(&self) -> &str {
        self.inner.record.path()
    }
}

/// Mail through bare addresses. It belongs to the child, as its mailbox does.
pub(crate) struct AddrMail<A: Actor> {
    sender: Mutex<AddressSender<A>>,
    receiver: Mutex<AddressReceiver<A>>,
}

impl<A: Actor> Default for AddrMail<A> {
    fn default() -> Self {
        // The capacity of an actix channel bounds nothing that is sent with `do_send`.
        let (sender, receiver) = channel(16);
        Self {
            sender: Mutex::new(sender),
            receiver: Mutex::new(receiver),
        }
    }
}

impl<A: Actor> AddrMail<A> {
    pub(crate) fn sender(&self) -> AddressSender<A> {
        let sender = self.sender.lock();
        sender.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn poll_pop(
        &self,
        lease: &Lease,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<actix::dev::Envelope<A>>> {
        let receiver = self.receiver.lock();
        let mut receiver = receiver.unwrap_or_else(PoisonError::into_inner);
        match lease.is_held() {
            true => Pin::new(&mut *receiver).poll_next(cx),
            false => Poll::Pending,
        }
    }
}

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<A: Actor> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.path()).finish()
    }
}

/// The answer to come: see [`Handle::ask`].
#[must_use = "the answer is record_lost_run if this is dropped"]
pub struct Ask<R>(AskState<R>);

enum AskState<R> {
    Refused(AskError),
    Waiting {
        answered: oneshot::Receiver<R>,
        record: Arc<ChildRecord>,
    },
}

impl<R> Future for Ask<R> {
    type Output = Result<R, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            AskState::Refused(error) => Poll::Ready(Err(*error)),
            AskState::Waiting { answered, record } => {
                let answer = ready!(Pin::new(answered).poll(cx));
                Poll::Ready(answer.map_err(|_| match record.state() {
                    crate::ChildState::Removed => AskError::Gone,
                    _ => AskError::Crashed,
                }))
            }
        }
    }
}

/// The end of a child's run: see [`Handle::monitor`]. Resolves to `None` if the child is removed,
/// or its tree ends, before it runs again.
pub struct Monitor(oneshot::Receiver<ExitReason>);

impl Future for Monitor {
    type Output = Option<ExitReason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

trait Receive<M: Message>: Send + Sync {
    fn tell(&self, message: M) -> Result<(), TellError<M>>;
    fn ask(&self, message: M) -> Ask<M::Result>;
}

impl<A, M> Receive<M> for Handle<A>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn tell(&self, message: M) -> Result<(), TellError<M>> {
        Handle::tell(self, message)
    }

    fn ask(&self, message: M) -> Ask<M::Result> {
        Handle::ask(self, message)
    }
}

/// The address of some child that takes messages of type `M`: see [`Handle::recipient`].
pub struct Recipient<M: Message>(Arc<dyn Receive<M>>);

impl<M: Message> Recipient<M> {
    /// See [`Handle::tell`].
    ///
    /// # Errors
    /// Gives the message back if the mailbox is full or the child is gone.
    pub fn tell(&self, message: M) -> Result<(), TellError<M>> {
        self.0.tell(message)
    }

    /// See [`Handle::ask`].
    pub fn ask(&self, message: M) -> Ask<M::Result> {
        self.0.ask(message)
    }
}

impl<M: Message> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
