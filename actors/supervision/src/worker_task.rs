//! The task behind a worker, which lives from the first start of the child until that is removed or
//! moved, and is parked while the child is down.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::Actor;
use tokio::time::{Sleep, sleep};

use crate::{
    arbiters::ArbiterSlot,
    child::{Worker, WorkerBody as _},
    context::Context,
    control::Control,
    envelope::Envelope,
    error::StartError,
    exit::ExitReason,
    incarnation::Incarnation,
    panic::{Guarded, Panic, drop_quietly, guard},
    sampler::{POLLS_PER_SAMPLE, Sampler},
    signal::{SignalKind, SupervisorLine},
    spec::Shutdown,
};

pub(crate) struct WorkerTask<A: Actor<Context = Context<A>>> {
    worker: Arc<Worker<A>>,
    ctx: Context<A>,
    line: SupervisorLine,
    slot: Arc<ArbiterSlot>,
    sampler: Sampler,
    /// Type of message that crashed the last runs with their first message, and the number of those
    /// runs.
    poison: Option<(&'static str, u32)>,
}

enum Outcome {
    /// The run is over; report and park.
    Idle,
    /// The child was removed.
    Removed,
}

impl<A: Actor<Context = Context<A>>> WorkerTask<A> {
    pub(crate) fn new(
        worker: Arc<Worker<A>>,
        line: SupervisorLine,
        slot: Arc<ArbiterSlot>,
    ) -> Self {
        let sampler = Sampler::new(Arc::as_ptr(&line.record).addr() as u64);
        Self {
            ctx: Context::new(worker.handle.clone(), line.reporter()),
            worker,
            line,
            slot,
            poison: None,
            sampler,
        }
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps its argument twice, for every child"
    )]
    pub(crate) fn run(mut self, incarnation: u64) -> impl Future<Output = ()> {
        async move {
            self.work(incarnation).await;
            let _ = drop_quietly(self);
        }
    }

    async fn work(&mut self, first: u64) {
        if let Outcome::Removed = self.incarnate(first).await {
            return;
        }
        while let Some(control) = self.line.control.recv().await {
            let Control::Start { incarnation } = control else {
                continue; // it had ended before it was asked to
            };
            if let Outcome::Removed = self.incarnate(incarnation).await {
                break;
            }
        }
    }

    /// Builds the actor and runs it to its end.
    async fn incarnate(&mut self, incarnation: u64) -> Outcome {
        let kind = match self.build().await {
            Ok(actor) => self.drive(actor, incarnation).await,
            Err(kind) => Some(kind),
        };
        match kind {
            Some(kind) => {
                self.line.report(incarnation, kind);
                Outcome::Idle
            }
            None => Outcome::Removed,
        }
    }

    async fn build(&mut self) -> Result<A, SignalKind> {
        let building = match guard(|| (self.worker.factory)()) {
            Ok(building) => building,
            Err(panic) => return Err(SignalKind::StartFailed(panicked(panic, None))),
        };
        let mut building = Guarded::new(building);
        let control = &mut self.line.control;
        if !self.line.lease.is_held() {
            // The factory blocked for too long, and another runs elsewhere. Nobody hears this.
            return Err(SignalKind::Exited(ExitReason::Killed));
        }
        tokio::select! {
            biased;
            _ = control.recv() => Err(SignalKind::Exited(ExitReason::Shutdown)),
            built = &mut building => into_actor(built),
        }
    }

    /// Runs an actor; `None` if the child was removed meanwhile.
    async fn drive(&mut self, actor: A, incarnation: u64) -> Option<SignalKind> {
        self.ctx.reset(incarnation);
        let handled_before = self.line.record.handled();
        let mut run = Run {
            incarnation: Incarnation::new(actor),
            limit: None,
            deadline: None,
            ready: false,
        };
        let end = poll_fn(|cx| self.poll_run(&mut run, incarnation, cx)).await;
        let ready = run.incarnation.is_ready();
        if ready && !run.ready {
            self.line.report(incarnation, SignalKind::Started);
        }
        // A panicking destructor changes nothing any more: the reason is known.
        let mut after = run.incarnation.drop_futures();
        after = after.and(drop_quietly(run.incarnation));
        after = after.and(self.ctx.drop_futures());
        let reason = match (end?, after) {
            (ExitReason::Normal | ExitReason::Shutdown, Err(panic)) => panicked(panic, None),
            (reason, _) => reason,
        };
        let handled = self.line.record.handled().wrapping_sub(handled_before);
        self.drop_poison(incarnation, &reason, handled == 1);
        if ready {
            Some(SignalKind::Exited(reason))
        } else if reason.is_abnormal() {
            Some(SignalKind::StartFailed(reason))
        } else {
            self.line.report(incarnation, SignalKind::Started);
            Some(SignalKind::Exited(reason))
        }
    }

    /// Drops messages of a type that crashes each run with its first message.
    fn drop_poison(&mut self, incarnation: u64, reason: &ExitReason, on_its_first: bool) {
        if !self.line.lease.is_held() {
            return; // the mail is another's
        }
        let policy = self.line.record.registration().map(|place| &place.policy);
        let Some(limit) = policy.and_then(|policy| policy.poison_after) else {
            return;
        };
        let message_type = match reason {
            ExitReason::Panicked(panic) if on_its_first => panic.message_type,
            _ => None,
        };
        let Some(message_type) = message_type else {
            self.poison = None;
            return;
        };
        let crashes = match self.poison {
            Some((suspect, crashes)) if suspect == message_type => crashes + 1,
            _ => 1,
        };
        self.poison = Some((message_type, crashes));
        if crashes < limit {
            return;
        }
        let handle = &self.worker.handle;
        let is_poison = |envelope: &Envelope<A>| envelope.message_type() == message_type;
        let (mailbox, lease) = (handle.mailbox(), &self.line.lease);
        let dropped = mailbox.take_out_as(lease, handle.record(), is_poison);
        if !dropped.is_empty() {
            let kind = SignalKind::PoisonMail {
                message_type,
                dropped: dropped.len(),
            };
            self.line.report(incarnation, kind);
        }
        for envelope in dropped {
            let _ = drop_quietly(envelope);
        }
    }

    fn poll_run(
        &mut self,
        run: &mut Run<A>,
        incarnation: u64,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<ExitReason>> {
        while let Poll::Ready(control) = self.line.control.poll_recv(cx) {
            match control {
                None => return Poll::Ready(None),
                Some(Control::Stop(Shutdown::Brutal) | Control::Suspend(Shutdown::Brutal)) => {
                    return Poll::Ready(Some(ExitReason::Killed));
                }
                Some(
                    Control::Stop(Shutdown::Within(limit))
                    | Control::Suspend(Shutdown::Within(limit)),
                ) => {
                    self.ctx.ask_to_stop();
                    run.limit = Some(limit);
                }
                Some(Control::Stop(Shutdown::Infinity) | Control::Suspend(Shutdown::Infinity)) => {
                    self.ctx.ask_to_stop();
                }
                Some(Control::Start { .. } | Control::Park(_)) => {}
            }
        }
        let polled = self.poll_incarnation(run, cx);
        if !run.ready && run.incarnation.is_ready() {
            run.ready = true;
            self.line.report(incarnation, SignalKind::Started);
        }
        if polled.is_pending() && run.is_out_of_time(cx) {
            return Poll::Ready(Some(ExitReason::Killed));
        }
        polled.map(Some)
    }

    fn poll_incarnation(&mut self, run: &mut Run<A>, cx: &mut TaskContext<'_>) -> Poll<ExitReason> {
        let timed = self.sampler.pick().then(Instant::now);
        let Self {
            ctx,
            worker,
            line,
            slot,
            ..
        } = self;
        let polled = guard(|| run.incarnation.poll(ctx, &worker.handle, &line.lease, cx));
        // A poll that was found stuck is not representative of the others.
        if let Some(begin) = timed
            && line.lease.is_held()
        {
            let ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let ns = ns.saturating_mul(u64::from(POLLS_PER_SAMPLE));
            line.record.add_busy(ns);
            slot.add_busy(ns);
        }
        polled.unwrap_or_else(|panic| Poll::Ready(panicked(panic, ctx.current_message())))
    }
}

impl<A: Actor<Context = Context<A>>> Drop for WorkerTask<A> {
    /// Closes the mailbox if the child was removed. Otherwise the child goes on elsewhere: its
    /// lease was taken away, or its arbiter was stopped, which the line reports to the supervisor.
    fn drop(&mut self) {
        if self.line.lease.is_held() && self.line.control.is_cut() {
            // Set first, so that callers that wait for an answer see that the child is gone.
            self.line.record.set_removed();
            self.worker.close();
        }
    }
}

/// State of one run.
struct Run<A: Actor<Context = Context<A>>> {
    incarnation: Incarnation<A>,
    /// Time that the child has to stop, if it was asked to. Most children need no time at all, so
    /// the timer is made only for one that does.
    limit: Option<Duration>,
    deadline: Option<Pin<Box<Sleep>>>,
    ready: bool,
}

impl<A: Actor<Context = Context<A>>> Run<A> {
    fn is_out_of_time(&mut self, cx: &mut TaskContext<'_>) -> bool {
        if let Some(limit) = self.limit.take() {
            self.deadline = Some(Box::pin(sleep(limit)));
        }
        self.deadline
            .as_mut()
            .is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
    }
}

fn into_actor<A>(built: Result<Result<A, StartError>, Panic>) -> Result<A, SignalKind> {
    match built {
        Ok(Ok(actor)) => Ok(actor),
        Ok(Err(StartError::Ignore)) => Err(SignalKind::Ignored),
        Ok(Err(error)) => {
            let reason = ExitReason::StartFailed(error.to_string().into());
            Err(SignalKind::StartFailed(reason))
        }
        Err(panic) => Err(SignalKind::StartFailed(panicked(panic, None))),
    }
}

fn panicked(mut panic: Panic, message_type: Option<&'static str>) -> ExitReason {
    panic.message_type = message_type;
    ExitReason::Panicked(Arc::new(panic))
}
