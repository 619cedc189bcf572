//! Messages on their way.

use std::{
    any::{Any, type_name},
    sync::Arc,
};

use actix::{
    Actor, Handler, Message,
    dev::{EnvelopeProxy, MessageResponse, OneshotSender, ToEnvelope},
};
use tokio::sync::oneshot;

use crate::{
    ask::{Watched, relay},
    context::Context,
    fence::Lease,
    record::ChildRecord,
    taken_by::TakenBy,
};

pub(crate) type Envelope<A> = Box<dyn Work<A>>;

/// Message together with its handler.
pub(crate) trait Work<A: Actor>: Send {
    fn run(self: Box<Self>, actor: &mut A, ctx: &mut A::Context);
    fn message_type(&self) -> &'static str;
    /// Returns true if nobody wants the answer any more.
    fn is_withdrawn(&self) -> bool {
        false
    }
    /// Returns true if somebody waits for an answer.
    fn is_question(&self) -> bool {
        false
    }
    /// Marks the message as taken by the worker task with this lease. Returns `false` if that task
    /// has just lost the lease.
    fn take_as(&self, _lease: &Lease) -> bool {
        true
    }
    /// Makes the asker hear of it if the child loses its lease. Must be called on the arbiter of
    /// the tree.
    fn watch(&mut self, _record: &Arc<ChildRecord>) {}
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

pub(crate) struct Tell<M>(pub(crate) M);

impl<A, M> Work<A> for Tell<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
{
    fn run(self: Box<Self>, actor: &mut A, ctx: &mut Context<A>) {
        handle(self.0, None, actor, ctx);
    }

    fn message_type(&self) -> &'static str {
        type_name::<M>()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

pub(crate) struct Ask<M: Message> {
    pub(crate) message: M,
    pub(crate) answer: oneshot::Sender<M::Result>,
    /// Record of the task that works on the question, if the child may lose its lease.
    pub(crate) taken_by: Option<TakenBy>,
}

impl<A, M> Work<A> for Ask<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn run(self: Box<Self>, actor: &mut A, ctx: &mut Context<A>) {
        let Self {
            message, answer, ..
        } = *self;
        if !answer.is_closed() {
            handle(message, Some(answer), actor, ctx);
        }
    }

    fn message_type(&self) -> &'static str {
        type_name::<M>()
    }

    fn is_withdrawn(&self) -> bool {
        self.answer.is_closed()
    }

    fn is_question(&self) -> bool {
        true
    }

    fn watch(&mut self, record: &Arc<ChildRecord>) {
        if self.taken_by.is_some() {
            return;
        }
        let watched = Watched::new(record);
        self.taken_by = Some(watched.taken_by());
        let (answer, answered) = oneshot::channel();
        let asker = std::mem::replace(&mut self.answer, answer);
        actix_rt::spawn(relay(asker, answered, watched));
    }

    fn take_as(&self, lease: &Lease) -> bool {
        let taken_by = self.taken_by.as_ref();
        taken_by.is_none_or(|taken_by| taken_by.take_as(lease))
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[inline]
fn handle<A, M>(
    message: M,
    answer: Option<OneshotSender<M::Result>>,
    actor: &mut A,
    ctx: &mut Context<A>,
) where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message,
{
    ctx.set_running(type_name::<M>());
    <A as Handler<M>>::handle(actor, message, ctx).handle(ctx, answer);
    ctx.put_down();
}

/// Returns the message of an envelope that [`Tell`] made.
pub(crate) fn recover_tell<A, M>(envelope: Envelope<A>) -> M
where
    A: Actor,
    M: Send + 'static,
{
    match envelope.into_any().downcast::<Tell<M>>() {
        Ok(tell) => tell.0,
        Err(_) => unreachable!("a refused envelope is the one that was sent"),
    }
}

/// Returns the message of an envelope that [`Ask`] made.
pub(crate) fn recover_ask<A, M>(envelope: Envelope<A>) -> M
where
    A: Actor,
    M: Message + Send + 'static,
{
    match envelope.into_any().downcast::<Ask<M>>() {
        Ok(ask) => ask.message,
        Err(_) => unreachable!("a refused envelope is the one that was sent"),
    }
}

/// For messages sent through a bare [`actix::Addr`], which knows no bound.
struct AddrMessage<M: Message>(Option<M>, Option<OneshotSender<M::Result>>);

impl<A, M> EnvelopeProxy<A> for AddrMessage<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        let answer = self.1.take();
        if answer.as_ref().is_some_and(oneshot::Sender::is_closed) {
            return;
        }
        if let Some(message) = self.0.take() {
            ctx.begin_addr_message(type_name::<M>());
            handle(message, answer, actor, ctx);
        }
    }
}

impl<A, M> ToEnvelope<A, M> for Context<A>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, answer: Option<OneshotSender<M::Result>>) -> actix::dev::Envelope<A> {
        actix::dev::Envelope::with_proxy(Box::new(AddrMessage(Some(message), answer)))
    }
}
