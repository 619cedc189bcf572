//! One run of an actor: hooks, mailbox, spawned futures. Polled by the driver, inside a guard.
//!
//! The order of things is that of `actix::dev::ContextFut`; what differs is that a poll has a
//! budget, so that no actor starves its neighbours on the arbiter, and that nothing happens on
//! drop.

use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use actix::{Actor, ActorState, Running, SpawnHandle, dev::EnvelopeProxy};
use futures_util::Stream;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    context::{Context, Job},
    envelope::Envelope,
    exit::ExitReason,
    node::Node,
};

/// Messages and finished futures per poll, after which the neighbours get their turn.
const FUEL: u32 = 128;

pub(crate) struct Engine<A: Actor<Context = Context<A>>> {
    actor: A,
    jobs: Vec<(SpawnHandle, Job<A>)>,
    waits: Vec<Job<A>>,
    started: bool,
    ready: bool,
    fuel: u32,
}

impl<A: Actor<Context = Context<A>>> Engine<A> {
    pub(crate) fn new(actor: A) -> Self {
        Self {
            actor,
            jobs: Vec::new(),
            waits: Vec::new(),
            started: false,
            ready: false,
            fuel: FUEL,
        }
    }

    /// Whether `started` has returned and everything it told the context to wait for is done.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(crate) fn poll(
        &mut self,
        ctx: &mut Context<A>,
        mail: &mut UnboundedReceiver<Envelope<A>>,
        node: &Node,
        cx: &mut TaskContext<'_>,
    ) -> Poll<ExitReason> {
        self.fuel = FUEL;
        if !self.started {
            ctx.state = ActorState::Running;
            self.actor.started(ctx);
            self.started = true;
            self.adopt(ctx);
        }
        loop {
            if self.poll_waits(ctx, cx).is_pending() {
                return Poll::Pending;
            }
            self.ready |= !ctx.halting();
            self.poll_mail(ctx, mail, node, cx);
            self.poll_foreign_mail(ctx, node, cx);
            if !self.waits.is_empty() && !ctx.halting() {
                continue;
            }
            self.poll_jobs(ctx, cx);
            if self.adopt(ctx) && !ctx.halting() {
                if self.fuel > 0 {
                    continue;
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !ctx.halting() {
                if self.fuel == 0 {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            if ctx.state == ActorState::Stopping && self.actor.stopping(ctx) == Running::Continue {
                ctx.carry_on();
                self.adopt(ctx);
                continue;
            }
            ctx.state = ActorState::Stopped;
            self.actor.stopped(ctx);
            return Poll::Ready(ctx.exit.take().unwrap_or(ExitReason::Normal));
        }
    }

    /// What it was told to wait for, the latest first. Nothing else happens meanwhile.
    fn poll_waits(&mut self, ctx: &mut Context<A>, cx: &mut TaskContext<'_>) -> Poll<()> {
        while !ctx.halting()
            && let Some(wait) = self.waits.last_mut()
        {
            let polled = wait.as_mut().poll(&mut self.actor, ctx, cx);
            if polled.is_pending() && !ctx.halting() {
                return Poll::Pending;
            }
            self.waits.pop();
            self.adopt(ctx);
        }
        Poll::Ready(())
    }

    fn poll_mail(
        &mut self,
        ctx: &mut Context<A>,
        mail: &mut UnboundedReceiver<Envelope<A>>,
        node: &Node,
        cx: &mut TaskContext<'_>,
    ) {
        while self.fuel > 0 && ctx.waits.is_empty() && !ctx.halting() {
            let Poll::Ready(Some(envelope)) = mail.poll_recv(cx) else {
                break;
            };
            self.fuel -= 1;
            node.leave();
            node.add_handled(1);
            envelope.run(&mut self.actor, ctx);
        }
        self.adopt_waits(ctx);
    }

    fn poll_foreign_mail(&mut self, ctx: &mut Context<A>, node: &Node, cx: &mut TaskContext<'_>) {
        while self.fuel > 0 && ctx.waits.is_empty() && self.waits.is_empty() && !ctx.halting() {
            let Some(mail) = ctx.foreign_mail() else {
                return;
            };
            let Poll::Ready(Some(mut envelope)) = Pin::new(mail).poll_next(cx) else {
                break;
            };
            self.fuel -= 1;
            node.add_handled(1);
            envelope.handle(&mut self.actor, ctx);
        }
        self.adopt_waits(ctx);
    }

    fn poll_jobs(&mut self, ctx: &mut Context<A>, cx: &mut TaskContext<'_>) {
        let mut index = 0;
        while index < self.jobs.len() && !ctx.halting() && ctx.waits.is_empty() {
            ctx.current_job = self.jobs[index].0;
            let polled = self.jobs[index].1.as_mut().poll(&mut self.actor, ctx, cx);
            if polled.is_ready() {
                self.fuel = self.fuel.saturating_sub(1);
                drop(self.jobs.swap_remove(index));
            } else {
                index += 1;
            }
            if !ctx.cancelled.is_empty() {
                self.cancel(ctx);
            }
        }
        ctx.current_job = SpawnHandle::default();
    }

    /// Takes over what the context collected; whether there is anything new to poll.
    fn adopt(&mut self, ctx: &mut Context<A>) -> bool {
        if !ctx.cancelled.is_empty() {
            self.cancel(ctx);
        }
        let new = !ctx.jobs.is_empty() || !ctx.waits.is_empty();
        self.jobs.append(&mut ctx.jobs);
        self.adopt_waits(ctx);
        new
    }

    fn adopt_waits(&mut self, ctx: &mut Context<A>) {
        if !ctx.waits.is_empty() {
            self.waits.append(&mut ctx.waits);
        }
    }

    fn cancel(&mut self, ctx: &mut Context<A>) {
        for handle in std::mem::take(&mut ctx.cancelled) {
            self.jobs.retain(|(job, _)| *job != handle);
            ctx.jobs.retain(|(job, _)| *job != handle);
        }
    }
}
