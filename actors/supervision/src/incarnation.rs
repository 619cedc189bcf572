//! A run of an actor: hooks, mailbox, spawned futures. The worker task polls it, inside a guard.
//!
//! The order of the steps is that of `actix::dev::ContextFut`; what differs is that a poll has a
//! budget, so that no actor starves its neighbours on the arbiter, and that nothing happens on
//! drop.

use std::task::{Context as TaskContext, Poll};

use actix::{Actor, ActorState, AsyncContext, Running, SpawnHandle, dev::EnvelopeProxy};

use crate::{
    allowance::Allowance,
    context::Context,
    exit::ExitReason,
    fence::Lease,
    handle::Handle,
    panic::{Panic, drop_each_quietly},
    spawned::{BoxedFuture, SpawnedFutures},
};

pub(crate) struct Incarnation<A: Actor<Context = Context<A>>> {
    actor: A,
    spawned: SpawnedFutures<A>,
    waits: Vec<BoxedFuture<A>>,
    started: bool,
    ready: bool,
    allowances: Allowances,
}

/// Limits of one poll. Each kind of work has its own allowance, so that none starves another.
struct Allowances {
    mail: Allowance,
    addr_mail: Allowance,
    futures: Allowance,
    waits: Allowance,
}

impl Allowances {
    fn new() -> Self {
        Self {
            mail: Allowance::new(),
            addr_mail: Allowance::new(),
            futures: Allowance::new(),
            waits: Allowance::new(),
        }
    }

    /// Returns true if something may have been left undone for which no waker was registered.
    fn is_any_used_up(&self) -> bool {
        self.mail.is_used_up() || self.addr_mail.is_used_up() || self.futures.is_used_up()
    }
}

impl<A: Actor<Context = Context<A>>> Incarnation<A> {
    pub(crate) fn new(actor: A) -> Self {
        Self {
            actor,
            spawned: SpawnedFutures::new(),
            waits: Vec::new(),
            started: false,
            ready: false,
            allowances: Allowances::new(),
        }
    }

    /// Returns true if `started` has returned and everything it told the context to wait for is
    /// done.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(crate) fn poll(
        &mut self,
        ctx: &mut Context<A>,
        child: &Handle<A>,
        lease: &Lease,
        cx: &mut TaskContext<'_>,
    ) -> Poll<ExitReason> {
        self.allowances = Allowances::new();
        if !self.started {
            if !lease.is_held() {
                return Poll::Pending; // its factory blocked for too long
            }
            ctx.state = ActorState::Running;
            self.actor.started(ctx);
            self.started = true;
            self.adopt(ctx);
        }
        loop {
            if self.poll_waits(ctx, lease, cx).is_pending() {
                return Poll::Pending;
            }
            self.ready |= !ctx.halting();
            self.poll_mail(ctx, child, lease, cx);
            self.poll_addr_mail(ctx, child, lease, cx);
            if !self.waits.is_empty() && !ctx.halting() {
                continue;
            }
            self.poll_spawned(ctx, lease, cx);
            if !lease.is_held() {
                return Poll::Pending; // it goes on elsewhere
            }
            if self.adopt(ctx) && !ctx.halting() {
                if !self.allowances.is_any_used_up() {
                    continue;
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !ctx.halting() {
                if self.allowances.is_any_used_up() || self.spawned.has_queued() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            if ctx.state == ActorState::Stopping && self.actor.stopping(ctx) == Running::Continue {
                ctx.carry_on();
                self.adopt(ctx);
                continue;
            }
            if !lease.is_held() {
                return Poll::Pending;
            }
            ctx.state = ActorState::Stopped;
            self.actor.stopped(ctx);
            return Poll::Ready(ctx.exit.take().unwrap_or(ExitReason::Normal));
        }
    }

    /// Polls the futures that the context was told to wait for, the latest first. Nothing else
    /// happens meanwhile.
    fn poll_waits(
        &mut self,
        ctx: &mut Context<A>,
        lease: &Lease,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        while !ctx.halting()
            && let Some(wait) = self.waits.last_mut()
        {
            if !lease.is_held() {
                return Poll::Pending;
            }
            if self.allowances.waits.is_used_up() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.allowances.waits.use_one();
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
        child: &Handle<A>,
        lease: &Lease,
        cx: &mut TaskContext<'_>,
    ) {
        let mut current_message = false;
        while !self.allowances.mail.is_used_up() && ctx.waits.is_empty() && !ctx.halting() {
            let Poll::Ready(envelope) = child.mailbox().poll_pop(lease, child.record(), cx) else {
                current_message = false;
                break;
            };
            current_message = true;
            self.allowances.mail.use_one();
            envelope.run(&mut self.actor, ctx);
        }
        if current_message {
            child.mailbox().set_current_message(lease, None);
        }
        self.adopt_waits(ctx);
    }

    fn poll_addr_mail(
        &mut self,
        ctx: &mut Context<A>,
        child: &Handle<A>,
        lease: &Lease,
        cx: &mut TaskContext<'_>,
    ) {
        let Some(mail) = child.addr_mail() else {
            return;
        };
        while !self.allowances.addr_mail.is_used_up()
            && ctx.waits.is_empty()
            && self.waits.is_empty()
            && !ctx.halting()
        {
            let Poll::Ready(Some(mut envelope)) = mail.poll_pop(lease, cx) else {
                break;
            };
            self.allowances.addr_mail.use_one();
            envelope.handle(&mut self.actor, ctx);
            child.mailbox().set_current_message(lease, None);
        }
        self.adopt_waits(ctx);
    }

    /// Polls the spawned futures that were woken, each at most once.
    fn poll_spawned(&mut self, ctx: &mut Context<A>, lease: &Lease, cx: &mut TaskContext<'_>) {
        self.spawned.collect(cx);
        while !self.allowances.futures.is_used_up()
            && !ctx.halting()
            && ctx.waits.is_empty()
            && lease.is_held()
            && let Some((handle, message_type)) = self.spawned.next()
        {
            self.allowances.futures.use_one();
            ctx.current_future = handle;
            ctx.resume(message_type);
            let polled = self.spawned.poll(handle, &mut self.actor, ctx);
            ctx.resume(None);
            match polled {
                Poll::Ready(done) => drop(done),
                // Streams that see that the context waits return without having left a waker.
                Poll::Pending if ctx.waiting() => self.spawned.requeue(handle),
                Poll::Pending => {}
            }
            if !ctx.cancelled.is_empty() {
                self.cancel(ctx);
            }
        }
        ctx.current_future = SpawnHandle::default();
    }

    /// Drops all futures that are left, one by one, and returns the first panic of a destructor, if
    /// any.
    pub(crate) fn drop_futures(&mut self) -> Result<(), Panic> {
        if self.spawned.is_empty() && self.waits.is_empty() {
            return Ok(());
        }
        let spawned = drop_each_quietly(self.spawned.drain());
        spawned.and(drop_each_quietly(self.waits.drain(..)))
    }

    /// Takes over the futures that the context collected. Returns true if there is anything new to
    /// poll.
    fn adopt(&mut self, ctx: &mut Context<A>) -> bool {
        if !ctx.cancelled.is_empty() {
            self.cancel(ctx);
        }
        let new = !ctx.spawned.is_empty() || !ctx.waits.is_empty();
        for future in ctx.spawned.drain(..) {
            self.spawned.push(future);
        }
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
            drop(self.spawned.remove(handle));
            ctx.spawned.retain(|spawned| spawned.handle != handle);
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Incarnation<A> {
    /// Drops the run as a whole, if its arbiter was stopped or its lease was lost. The actor is the
    /// only thing left that can panic then: a second panic while unwinding would end the process.
    fn drop(&mut self) {
        let _ = self.drop_futures();
    }
}
