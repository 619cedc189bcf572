//! Handles, through which messages are sent to children.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix::{Actor, Handler, Message};
use futures_util::future::BoxFuture;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    addr_mail::AddrMail,
    ask::{Ask, Asking, Monitor},
    context::Context,
    envelope::{Ask as AskEnvelope, Tell as TellEnvelope, recover_ask, recover_tell},
    error::{AskError, TellError},
    mailbox::{Mailbox, Refusal, Sending},
    panic::drop_quietly,
    record::ChildRecord,
};

/// Address of a child. Handles are cheap to clone, usable from any thread, and good from the
/// declaration of the child until it is removed or its tree ends: across restarts it stays the
/// same, and messages sent meanwhile wait, unless the child [refuses mail while
/// suspended](crate::MailWhileSuspended::Refuse).
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
    /// Gives the message back: [`TellError::Full`] if the mailbox is full,
    /// [`TellError::Suspended`] if the child takes no mail while it is suspended, and
    /// [`TellError::Gone`] if it was removed or its tree ended.
    #[inline]
    pub fn tell<M>(&self, message: M) -> Result<(), TellError<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let inner = &*self.inner;
        let envelope = Box::new(TellEnvelope(message));
        let taken = inner.mailbox.push(envelope, Sending::Mail, &inner.record);
        taken
            .map(drop)
            .map_err(|refused| TellError::new(refused.why, recover_tell(refused.envelope)))
    }

    /// Sends `message` without waiting for an answer; while the mailbox is full, waits for room.
    /// There is no time-out: wrap it in `tokio::time::timeout` where one is wanted. Dropping the
    /// future drops the message.
    ///
    /// # Errors
    /// Gives the message back if the child is gone, or takes no mail while it is suspended.
    pub async fn send<M>(&self, message: M) -> Result<(), TellError<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let mut message = match self.tell(message) {
            Err(TellError::Full(message)) => Some(message),
            told => return told,
        };
        let try_again = || match self.tell(message.take()?) {
            Err(TellError::Full(refused)) => {
                message = Some(refused);
                None
            }
            told => Some(told),
        };
        self.inner.mailbox.wait_for_room(try_again).await
    }

    /// Sends `message` at once and returns a future of the answer, which may outlive the handle.
    /// Dropping the future withdraws a question that is still waiting. There is no time-out: see
    /// [`ask_within`](Self::ask_within).
    ///
    /// # Errors
    /// The future resolves to [`AskError::Crashed`] if the child may have worked on the question:
    /// it crashed, or was found to block its thread, meanwhile. With all other errors it has never
    /// seen the question: the mailbox is [full](AskError::Full), the child is
    /// [suspended](AskError::Suspended), [down](AskError::Down) until somebody starts it, or
    /// [gone](AskError::Gone), or the question was [dropped](AskError::Dropped) with other mail.
    /// Questions that wait when the child is suspended or left down are answered so at once; over
    /// restarts they wait.
    #[inline]
    pub fn ask<M>(&self, message: M) -> Ask<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.try_ask(message)
            .unwrap_or_else(|refused| Ask::refused(refused.into()))
    }

    /// Sends a question like [`ask`](Self::ask), and withdraws it when there is no answer within
    /// `limit`.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and [`AskError::TimedOut`].
    pub async fn ask_within<M>(&self, message: M, limit: Duration) -> Result<M::Result, AskError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let answered = timeout(limit, self.ask(message)).await;
        answered.unwrap_or(Err(AskError::TimedOut))
    }

    /// Sends a question like [`ask`](Self::ask), but hands the message back at once if it is not
    /// taken.
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
        let (mut message, mut asking) = (message, Asking::of(&inner.record));
        loop {
            let (answer, answered) = oneshot::channel();
            let envelope = Box::new(AskEnvelope {
                message,
                answer,
                taken_by: asking.taken_by(),
            });
            let is_watched = asking.is_watched();
            let sending = Sending::Question { is_watched };
            let refused = match inner.mailbox.push(envelope, sending, &inner.record) {
                Ok(number) => {
                    let record = Arc::clone(&inner.record);
                    return Ok(Ask::waiting(answered, record, number, asking));
                }
                Err(refused) => refused,
            };
            message = recover_ask(refused.envelope);
            if refused.why != Refusal::Unwatched {
                return Err(TellError::new(refused.why, message));
            }
            asking = Asking::watched(&inner.record);
        }
    }

    /// Returns an address for one type of message that does not name the actor.
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

    /// Takes no more messages and drops those that are left.
    pub(crate) fn close(&self) {
        for envelope in self.mailbox().close(self.record()) {
            let _ = drop_quietly(envelope);
        }
        // An address mailbox that is made from now on is closed at once.
        if let Some(addr_mail) = self.addr_mail() {
            addr_mail.close();
        }
    }

    pub(crate) fn record(&self) -> &Arc<ChildRecord> {
        &self.inner.record
    }

    /// Returns the mailbox of bare addresses, if there are any.
    pub(crate) fn addr_mail(&self) -> Option<&AddrMail<A>> {
        self.inner.addr_mail.get().map(|addr_mail| &**addr_mail)
    }

    pub(crate) fn addr_mail_or_new(&self) -> &AddrMail<A> {
        let addr_mail = self.inner.addr_mail.get_or_init(Box::default);
        if self.is_gone() {
            addr_mail.close();
        }
        addr_mail
    }

    /// Resolves when the child's current (or next) run ends, with the reason; to `None` if the
    /// child is removed, or its tree ends, before it runs again.
    pub fn monitor(&self) -> Monitor {
        Monitor(self.inner.record.monitor())
    }

    /// Returns the number of messages waiting. Withdrawn questions count until their room is
    /// needed.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.inner.record.depth()
    }

    /// Returns true if the child was removed or its tree ended, so that no message is taken any
    /// more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.inner.mailbox.is_closed()
    }

    /// Returns the child's name, which is unique among its siblings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.record.name
    }

    /// Returns the child's path in its tree, or its bare name before the tree is started.
    #[must_use]
    pub fn path(&self) -> &str {
        self.inner.record.path()
    }
}

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

/// Handles are equal if they stand for the same child.
impl<A: Actor> PartialEq for Handle<A> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl<A: Actor> Eq for Handle<A> {}

impl<A: Actor> Hash for Handle<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.inner).hash(state);
    }
}

impl<A: Actor> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.path()).finish()
    }
}

trait Receive<M: Message>: Send + Sync {
    fn tell(&self, message: M) -> Result<(), TellError<M>>;
    fn send(&self, message: M) -> BoxFuture<'_, Result<(), TellError<M>>>;
    fn ask(&self, message: M) -> Ask<M::Result>;
    fn record(&self) -> &ChildRecord;
    fn is_gone(&self) -> bool;
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

    fn send(&self, message: M) -> BoxFuture<'_, Result<(), TellError<M>>> {
        Box::pin(Handle::send(self, message))
    }

    fn ask(&self, message: M) -> Ask<M::Result> {
        Handle::ask(self, message)
    }

    fn record(&self) -> &ChildRecord {
        &self.inner.record
    }

    fn is_gone(&self) -> bool {
        Handle::is_gone(self)
    }
}

/// Address of some child that takes messages of type `M`: see [`Handle::recipient`].
pub struct Recipient<M: Message>(Arc<dyn Receive<M>>);

impl<M: Message> Recipient<M> {
    /// See [`Handle::tell`].
    ///
    /// # Errors
    /// Gives the message back if it is not taken.
    pub fn tell(&self, message: M) -> Result<(), TellError<M>> {
        self.0.tell(message)
    }

    /// See [`Handle::send`].
    ///
    /// # Errors
    /// Gives the message back if it is not taken.
    pub async fn send(&self, message: M) -> Result<(), TellError<M>> {
        self.0.send(message).await
    }

    /// See [`Handle::ask`].
    pub fn ask(&self, message: M) -> Ask<M::Result> {
        self.0.ask(message)
    }

    /// See [`Handle::path`].
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.record().path()
    }

    /// See [`Handle::depth`].
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.record().depth()
    }

    /// See [`Handle::is_gone`].
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.is_gone()
    }
}

impl<M: Message> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipient").field(&self.path()).finish()
    }
}
