//! The actor of a bot: runs the attempts that the scheduler dispatches to it, and reports their
//! results.

mod availability;
mod downfall;
mod reports;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Handler, Message, Running, SpawnHandle, WrapFuture,
};
use deia_ledger::{AttemptReport, ClaimedTask, Ledger};
use deia_model::{AttemptEnd, BotGeneration, BotName, Capabilities, LeaseToken, TaskId};
use deia_supervision::Context;
use tokio::sync::{oneshot, watch};

use self::downfall::Downfall;
use super::{
    attempt::{ExecutionResult, StopCause},
    attempt_span::AttemptSpan,
    clerk::Clerk,
    executor::{ExecutionEnd, Executor, ExecutorFactory, Started},
    intake::{FaultPolicy, Intake},
    progress::Progress,
    registry::BotGauges,
};
use crate::dispatch::{CapacityReports, Dispatch};

/// Time for which a cancellation waits for its attempt: the two messages may cross.
const EARLY_CANCEL_KEPT: Duration = Duration::from_secs(10);
/// Interval of a bot's heartbeats.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// The actor of one incarnation of a bot.
pub(crate) struct BotActor {
    name: BotName,
    incarnation: u64,
    generation: BotGeneration,
    capabilities: Capabilities,
    executor: Box<dyn Executor>,
    /// Offers a preflight check, which needs no attempt.
    executors: Arc<dyn ExecutorFactory>,
    gauges: Arc<BotGauges>,
    pub(super) ledger: Ledger,
    clerk: Clerk,
    reports_to: CapacityReports,
    pub(super) attempts: HashMap<AttemptKey, Attempt>,
    /// Suspects that wait until no other attempt runs.
    alone: VecDeque<ClaimedTask>,
    /// The suspect that runs, if any.
    suspect: Option<AttemptKey>,
    reports: Vec<AttemptReport>,
    /// Reports that are being sent to the store.
    sending: Vec<AttemptReport>,
    /// Cancellations that arrived before their attempts, with the time of arrival.
    cancelled: HashMap<AttemptKey, (Instant, Arc<str>)>,
    intake: Intake,
    /// Heartbeats since the last attempt.
    idle_beats: u32,
    /// Tasks that reached this incarnation of the bot.
    received: u64,
    /// Tasks received by this incarnation that have ended.
    ended: u64,
    stopped: Option<oneshot::Sender<()>>,
    /// Resolved when no attempt runs any more.
    drained: Option<oneshot::Sender<()>>,
    downfall: Downfall,
}

/// The parts from which the incarnations of a bot are built.
pub(super) struct BotParts {
    pub(super) name: BotName,
    pub(super) incarnation: u64,
    pub(super) generation: BotGeneration,
    pub(super) capabilities: Capabilities,
    pub(super) executor: Box<dyn Executor>,
    pub(super) executors: Arc<dyn ExecutorFactory>,
    pub(super) gauges: Arc<BotGauges>,
    pub(super) ledger: Ledger,
    pub(super) reports_to: CapacityReports,
    pub(super) fault_policy: FaultPolicy,
    pub(super) clerk: Clerk,
}

/// An attempt at a task. The same task may come back to the bot while an
/// earlier attempt at it still ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AttemptKey {
    pub(super) task: TaskId,
    pub(super) number: u32,
}

/// A running attempt.
pub(super) struct Attempt {
    pub(super) lease: LeaseToken,
    stop: watch::Sender<Option<StopCause>>,
    time_out: SpawnHandle,
    began: Instant,
    pub(super) progress: Progress,
    /// The progress reported to the store last.
    pub(super) noted: Option<f64>,
    span: Option<AttemptSpan>,
}

/// Ends an attempt whose task was cancelled.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct CancelAttempt {
    pub(super) key: AttemptKey,
    /// Reason recorded with the task, such as `cancelled by ada`.
    pub(super) words: Arc<str>,
}

/// Makes the bot take nothing new (its gauges says so, too) and reply when its running attempts have
/// ended. Sent repeatedly; only the last sender is answered.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Drain(pub(super) oneshot::Sender<()>);

/// Ends every attempt and gives the tasks back; replies when that is recorded.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopAll(pub(super) oneshot::Sender<()>);

impl Actor for BotActor {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.downfall.stopped();
        Running::Stop
    }

    fn started(&mut self, ctx: &mut Self::Context) {
        self.gauges.set_up(self.incarnation, true);
        ctx.run_interval(HEARTBEAT_EVERY, |this, ctx| {
            this.gauges.beat();
            this.cancelled
                .retain(|_, (at, _)| at.elapsed() < EARLY_CANCEL_KEPT);
            this.note_progress(ctx);
            this.widen_intake();
            this.look_whether_it_works(ctx);
            this.report_capacity(ctx);
        });
        self.report_capacity(ctx);
    }
}

/// Gives the bot's tasks back at once, however the bot ends.
impl Drop for BotActor {
    fn drop(&mut self) {
        self.gauges.set_up(self.incarnation, false);
        self.withdraw();
        self.leave_reports();
    }
}

impl BotActor {
    pub(super) fn new(parts: BotParts) -> Self {
        let places = parts.capabilities.max_concurrent_tasks;
        Self {
            name: parts.name,
            incarnation: parts.incarnation,
            generation: parts.generation,
            capabilities: parts.capabilities,
            executor: parts.executor,
            executors: parts.executors,
            gauges: parts.gauges,
            ledger: parts.ledger,
            clerk: parts.clerk,
            reports_to: parts.reports_to,
            attempts: HashMap::new(),
            alone: VecDeque::new(),
            suspect: None,
            reports: Vec::new(),
            sending: Vec::new(),
            cancelled: HashMap::new(),
            intake: Intake::new(parts.fault_policy, places),
            idle_beats: 0,
            received: 0,
            ended: 0,
            stopped: None,
            drained: None,
            downfall: Downfall::Unexplained,
        }
    }

    fn in_hand(&self) -> usize {
        self.attempts.len() + self.alone.len() + self.reports.len() + self.sending.len()
    }

    /// Returns whether incoming tasks are given back because the bot takes none now.
    fn takes_none(&self) -> bool {
        self.stopped.is_some()
            || self.gauges.draining()
            || self.intake.allowed().is_none()
            || self.has_suspect()
    }

    fn begin(&mut self, mut claimed: ClaimedTask, ctx: &mut Context<Self>) {
        let (stop, stopping) = watch::channel(None);
        let key = AttemptKey::of(&claimed);
        let lease = claimed.lease;
        let after_seconds = claimed.task.timeout_seconds;
        let earlier = self.cancelled.remove(&key).map(|(_, words)| words);
        let cancelled = earlier.or_else(|| words_of_cancellation(&claimed));
        let span = AttemptSpan::begin(&mut claimed);
        match self.executor.start(claimed, stopping) {
            Started::Done(result) => {
                self.reports.push(reports::report(key, lease, span, result));
            }
            Started::Running(execution) => {
                let time_out = ctx.run_later(Duration::from_secs(after_seconds), move |this, _| {
                    this.stop_attempt(key, StopCause::TimedOut { after_seconds });
                });
                if let Some(words) = cancelled {
                    stop.send_replace(Some(StopCause::Cancelled(words)));
                }
                self.attempts.insert(
                    key,
                    Attempt {
                        lease,
                        stop,
                        time_out,
                        began: Instant::now(),
                        progress: execution.progress,
                        noted: None,
                        span,
                    },
                );
                ctx.spawn(
                    execution
                        .end
                        .into_actor(self)
                        .map(move |end, this, ctx| this.ended(key, end, ctx)),
                );
            }
        }
    }

    fn ended(&mut self, key: AttemptKey, end: ExecutionEnd, ctx: &mut Context<Self>) {
        let result = match end {
            Ok(result) => result,
            Err(down) => {
                self.downfall.caused_by(key);
                ctx.fail(down.reason);
                return;
            }
        };
        self.judge(&result, ctx);
        if let Some(attempt) = self.attempts.remove(&key) {
            ctx.cancel_future(attempt.time_out);
            self.reports
                .push(reports::report(key, attempt.lease, attempt.span, result));
        }
        if self.has_suspect() {
            self.suspect.take_if(|suspect| *suspect == key);
            self.begin_next_suspect(ctx);
            self.report_capacity(ctx);
        }
        self.send_reports(ctx);
    }

    fn stop_attempt(&self, key: AttemptKey, cause: StopCause) {
        if let Some(attempt) = self.attempts.get(&key) {
            attempt.stop(cause);
        }
    }

    /// Returns whether a suspect waits or runs. A suspect runs alone on its bot.
    fn has_suspect(&self) -> bool {
        self.suspect.is_some() || !self.alone.is_empty()
    }

    /// Begins the next suspect once no other attempt runs.
    fn begin_next_suspect(&mut self, ctx: &mut Context<Self>) {
        while self.attempts.is_empty()
            && let Some(claimed) = self.alone.pop_front()
        {
            let key = AttemptKey::of(&claimed);
            self.begin(claimed, ctx);
            // An attempt that has ended already makes room for the next suspect.
            self.suspect = self.attempts.contains_key(&key).then_some(key);
        }
    }

    /// Gives back the waiting suspects, which were not started.
    fn return_suspects(&mut self) {
        let reports = self
            .alone
            .drain(..)
            .map(|claimed| AttemptReport::given_back(&claimed, "its bot was stopped"));
        self.reports.extend(reports);
    }
}

/// Returns the reason of a cancellation that arrived with the task.
fn words_of_cancellation(claimed: &ClaimedTask) -> Option<Arc<str>> {
    claimed.task.cancel_requested_at?;
    let words = claimed.task.last_error.as_deref();
    Some(words.unwrap_or("cancelled").into())
}

impl AttemptKey {
    fn of(claimed: &ClaimedTask) -> Self {
        Self {
            task: claimed.task.id,
            number: claimed.task.attempt,
        }
    }
}

impl Attempt {
    /// Signals the attempt to stop. The first cause stays.
    fn stop(&self, cause: StopCause) {
        self.stop
            .send_if_modified(|stop| stop.is_none() && stop.replace(cause).is_none());
    }

    fn ran_for_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Handler<Dispatch> for BotActor {
    type Result = ();

    fn handle(&mut self, dispatch: Dispatch, ctx: &mut Self::Context) {
        let mut tasks = dispatch.tasks;
        if dispatch.incarnation != self.incarnation {
            // Most were given back already: their reports are stale.
            self.send_back(&tasks, ctx);
            return;
        }
        self.received += tasks.len() as u64;
        let room = match self.takes_none() {
            true => 0,
            false => self.slots_left(),
        };
        let too_many = tasks.split_off(tasks.len().min(room));
        if !too_many.is_empty() {
            // Otherwise they would come back at once: nothing more until the next heartbeat.
            self.withdraw();
            self.send_back(&too_many, ctx);
            self.free_slots(too_many.len());
        }
        let (suspects, others): (Vec<_>, Vec<_>) = tasks
            .into_iter()
            .partition(|claimed| claimed.task.toll().runs_alone());
        for claimed in others {
            self.begin(claimed, ctx);
        }
        if !suspects.is_empty() {
            self.withdraw();
            self.alone.extend(suspects);
            self.begin_next_suspect(ctx);
            self.report_capacity(ctx);
        }
        self.send_reports(ctx);
    }
}

impl Handler<CancelAttempt> for BotActor {
    type Result = ();

    fn handle(&mut self, cancel: CancelAttempt, ctx: &mut Self::Context) {
        let CancelAttempt { key, words } = cancel;
        if self.attempts.contains_key(&key) {
            self.stop_attempt(key, StopCause::Cancelled(words));
        } else if let Some(at) = self.alone.iter().position(|it| AttemptKey::of(it) == key) {
            if let Some(claimed) = self.alone.remove(at) {
                let result = ExecutionResult::bare(AttemptEnd::Cancelled, 0);
                self.reports
                    .push(reports::report(key, claimed.lease, None, result));
            }
            self.send_reports(ctx);
        } else {
            self.cancelled.insert(key, (Instant::now(), words));
        }
    }
}

impl Handler<Drain> for BotActor {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, ctx: &mut Self::Context) {
        self.withdraw();
        self.drained = Some(done);
        self.send_reports(ctx);
    }
}

impl Handler<StopAll> for BotActor {
    type Result = ();

    fn handle(&mut self, StopAll(done): StopAll, ctx: &mut Self::Context) {
        self.withdraw();
        self.stopped = Some(done);
        self.return_suspects();
        for attempt in self.attempts.values() {
            attempt.stop(StopCause::BotStopping);
        }
        self.send_reports(ctx);
    }
}
