//! Messages on their way.

use std::any::{Any, type_name};

use actix::{
    Actor, Handler, Message,
    dev::{EnvelopeProxy, MessageResponse, OneshotSender, ToEnvelope},
};
use tokio::sync::oneshot;

use crate::context::Context;

pub(crate) type Envelope<A> = Box<dyn Work<A>>;

/// A message that knows its handler.
pub(crate) trait Work<A: Actor>: Send {
    fn run(self: Box<Self>, actor: &mut A, ctx: &mut A::Context);
    fn message_type(&self) -> &'static str;
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

pub(crate) struct Ask<M: Message>(pub(crate) M, pub(crate) oneshot::Sender<M::Result>);

impl<A, M> Work<A> for Ask<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn run(self: Box<Self>, actor: &mut A, ctx: &mut Context<A>) {
        let Self(message, answer) = *self;
        if !answer.is_closed() {
            handle(message, Some(answer), actor, ctx);
        }
    }

    fn message_type(&self) -> &'static str {
        type_name::<M>()
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

/// The message of an envelope that [`Tell`] made.
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

/// The message of an envelope that [`Ask`] made.
pub(crate) fn recover_ask<A, M>(envelope: Envelope<A>) -> M
where
    A: Actor,
    M: Message + Send + 'static,
{
    match envelope.into_any().downcast::<Ask<M>>() {
        Ok(ask) => ask.0,
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
