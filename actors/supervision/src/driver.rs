//! The task behind a worker. It lives as long as the declaration: it holds the mailbox, and is
//! parked while the child is down.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::Actor;
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Sleep, sleep},
};

use crate::{
    arbiters::PostId,
    child::{Worker, WorkerBody as _},
    context::Context,
    control::{Control, ControlReceiver},
    engine::Engine,
    error::StartError,
    exit::ExitReason,
    node::{ChildId, ChildState, Node},
    panic::{Guarded, Panic, drop_quietly, guard},
    spec::Shutdown,
    tenure::{Lease, Seen},
};

/// Of this many polls one is timed, and stands for all: a clock read costs as much as a message.
const TIMED_POLLS: u32 = 8;

/// What a child tells its supervisor.
pub(crate) struct Note {
    pub(crate) id: ChildId,
    pub(crate) incarnation: u64,
    pub(crate) news: News,
}

pub(crate) enum News {
    Started,
    Ignored,
    StartFailed(ExitReason),
    Exited(ExitReason),
    /// From the watchdog: an arbiter with children of this supervisor makes no progress.
    Blocked(Blocked),
}

/// An arbiter that makes no progress.
#[derive(Clone, Copy)]
pub(crate) struct Blocked {
    pub(crate) post: PostId,
    /// Who blocks it, if it is a child of the supervisor that hears of it.
    pub(crate) culprit: Option<Culprit>,
}

#[derive(Clone, Copy)]
pub(crate) struct Culprit {
    pub(crate) id: ChildId,
    pub(crate) seen: Seen,
    pub(crate) message_type: Option<&'static str>,
}

/// A child's connection to its supervisor.
pub(crate) struct Link {
    pub(crate) id: ChildId,
    pub(crate) node: Arc<Node>,
    pub(crate) control: ControlReceiver,
    pub(crate) lease: Lease,
    pub(crate) notes: UnboundedSender<Note>,
}

impl Link {
    pub(crate) fn report(&self, incarnation: u64, news: News) {
        if !self.lease.is_held() {
            return;
        }
        // If the supervisor is gone, the cut control line says so, too.
        let _ = self.notes.send(Note {
            id: self.id,
            incarnation,
            news,
        });
    }
}

impl Drop for Link {
    /// Nothing more comes of this child, whichever way its task ended.
    fn drop(&mut self) {
        if self.lease.is_held() {
            self.node.set_state(ChildState::Removed);
        }
    }
}

pub(crate) struct Driver<A: Actor<Context = Context<A>>> {
    worker: Arc<Worker<A>>,
    ctx: Context<A>,
    link: Link,
    polls: u32,
}

enum Outcome {
    /// The run is over; report and park.
    Parked,
    /// The child was removed.
    Removed,
}

impl<A: Actor<Context = Context<A>>> Driver<A> {
    pub(crate) fn new(worker: Arc<Worker<A>>, link: Link) -> Self {
        Self {
            ctx: Context::new(worker.handle.clone()),
            worker,
            link,
            polls: 0,
        }
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps its argument twice, for every child"
    )]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            self.work().await;
            let _ = drop_quietly(self);
        }
    }

    async fn work(&mut self) {
        while let Some(control) = self.link.control.recv().await {
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
        let news = match self.build().await {
            Ok(actor) => self.drive(actor, incarnation).await,
            Err(news) => Some(news),
        };
        match news {
            Some(news) => {
                self.link.report(incarnation, news);
                Outcome::Parked
            }
            None => Outcome::Removed,
        }
    }

    async fn build(&mut self) -> Result<A, News> {
        let building = match guard(|| (self.worker.factory)()) {
            Ok(building) => building,
            Err(panic) => return Err(News::StartFailed(panicked(panic, None))),
        };
        let mut building = Guarded::new(building);
        let control = &mut self.link.control;
        tokio::select! {
            biased;
            _ = control.recv() => Err(News::Exited(ExitReason::Shutdown)),
            built = &mut building => match built {
                Ok(Ok(actor)) => Ok(actor),
                Ok(Err(StartError::Ignore)) => Err(News::Ignored),
                Ok(Err(error)) => {
                    Err(News::StartFailed(ExitReason::StartFailed(error.to_string().into())))
                }
                Err(panic) => Err(News::StartFailed(panicked(panic, None))),
            },
        }
    }

    /// Runs an actor; `None` if the child was removed meanwhile.
    async fn drive(&mut self, actor: A, incarnation: u64) -> Option<News> {
        self.ctx.reset();
        let mut run = Run {
            engine: Engine::new(actor),
            limit: None,
            deadline: None,
            ready: false,
        };
        let end = poll_fn(|cx| self.poll_run(&mut run, incarnation, cx)).await;
        let ready = run.engine.is_ready();
        if ready && !run.ready {
            self.link.report(incarnation, News::Started);
        }
        // A panicking destructor changes nothing any more: the reason is known.
        let mut after = Ok(());
        for job in run.engine.drain() {
            after = after.and(drop_quietly(job));
        }
        after = after.and(drop_quietly(run.engine));
        for spawned in self.ctx.jobs.drain(..) {
            after = after.and(drop_quietly(spawned.job));
        }
        for wait in self.ctx.waits.drain(..) {
            after = after.and(drop_quietly(wait));
        }
        let reason = match (end?, after) {
            (ExitReason::Normal | ExitReason::Shutdown, Err(panic)) => panicked(panic, None),
            (reason, _) => reason,
        };
        if ready {
            Some(News::Exited(reason))
        } else if reason.is_abnormal() {
            Some(News::StartFailed(reason))
        } else {
            self.link.report(incarnation, News::Started);
            Some(News::Exited(reason))
        }
    }

    fn poll_run(
        &mut self,
        run: &mut Run<A>,
        incarnation: u64,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<ExitReason>> {
        while let Poll::Ready(control) = self.link.control.poll_recv(cx) {
            match control {
                None => return Poll::Ready(None),
                Some(Control::Stop(Shutdown::Brutal)) => {
                    return Poll::Ready(Some(ExitReason::Killed));
                }
                Some(Control::Stop(Shutdown::Within(limit))) => {
                    self.ctx.ask_to_stop();
                    run.limit = Some(limit);
                }
                Some(Control::Stop(Shutdown::Infinity)) => self.ctx.ask_to_stop(),
                Some(Control::Start { .. }) => {}
            }
        }
        let polled = self.poll_engine(run, cx);
        if !run.ready && run.engine.is_ready() {
            run.ready = true;
            self.link.report(incarnation, News::Started);
        }
        if polled.is_pending() && run.is_out_of_time(cx) {
            return Poll::Ready(Some(ExitReason::Killed));
        }
        polled.map(Some)
    }

    fn poll_engine(&mut self, run: &mut Run<A>, cx: &mut TaskContext<'_>) -> Poll<ExitReason> {
        self.polls = self.polls.wrapping_add(1);
        let timed = self.polls.is_multiple_of(TIMED_POLLS).then(Instant::now);
        let Self {
            ctx, worker, link, ..
        } = self;
        let polled = guard(|| run.engine.poll(ctx, &worker.handle, &link.lease, cx));
        if let Some(begin) = timed {
            let ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            link.node
                .add_busy(ns.saturating_mul(u64::from(TIMED_POLLS)));
        }
        polled.unwrap_or_else(|panic| Poll::Ready(panicked(panic, ctx.in_hand())))
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Driver<A> {
    /// The child was removed, or its arbiter was stopped. (If the lease was taken away, the child
    /// goes on elsewhere.)
    fn drop(&mut self) {
        if self.link.lease.is_held() {
            // First, so that whoever waits for an answer sees that the child is gone.
            self.link.node.set_state(ChildState::Removed);
            self.worker.close();
        }
    }
}

/// What belongs to one run.
struct Run<A: Actor<Context = Context<A>>> {
    engine: Engine<A>,
    /// It was asked to stop, and has this long. Most children need no time at all, so the timer
    /// is made only for one that does.
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

fn panicked(mut panic: Panic, message_type: Option<&'static str>) -> ExitReason {
    panic.message_type = message_type;
    ExitReason::Panicked(Arc::new(panic))
}
