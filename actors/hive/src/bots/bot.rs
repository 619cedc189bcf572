//! The actor of a bot: runs the attempts that the scheduler dispatches to it, and reports their
//! results.

mod availability;
mod circuit;
mod downfall;
mod leases;
mod messages;
mod probing;
mod reports;
mod running;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Running, WrapFuture};
use deia_ledger::{AttemptReport, ClaimedTask, Ledger};
use deia_model::{BotGeneration, BotName, Capabilities, LeaseToken};
use deia_supervision::Context;
use tokio::sync::{oneshot, watch};

use self::downfall::Downfall;
pub(super) use self::{
    messages::{CancelAttempt, Drain, EndAttempt, StopAll},
    running::{Attempt, AttemptKey},
};
use super::{
    attempt::StopCause,
    attempt_span::AttemptSpan,
    circuit::CircuitPolicy,
    clerk::Clerk,
    executor::{BotDown, Execution, ExecutionEnd, Executor, ExecutorFactory, Offer, Started},
    intake::{FaultPolicy, Intake, PausePolicy},
    probe::Prober,
    registry::BotGauges,
};
use crate::dispatch::CapacityReports;

/// Time for which a cancellation waits for its attempt: the two messages may cross.
/// Fixed: messages between actors take milliseconds.
const EARLY_CANCEL_KEPT: Duration = Duration::from_secs(10);
/// Interval of a bot's heartbeats. Fixed: the pace of a bot's own housekeeping, which
/// costs microseconds.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// The actor of one incarnation of a bot.
pub(crate) struct BotActor {
    name: BotName,
    incarnation: u64,
    generation: BotGeneration,
    capabilities: Capabilities,
    executor: Box<dyn Executor>,
    /// Number of attempts that the executor can run now, if it varies.
    offer: Option<watch::Receiver<Offer>>,
    /// Offers a preflight check, which needs no attempt.
    executors: Arc<dyn ExecutorFactory>,
    pub(super) gauges: Arc<BotGauges>,
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
    pause_policy: PausePolicy,
    /// Seconds for which attempts may give no sign of life, unless their tasks say otherwise.
    idle_limit: Option<u64>,
    circuit_policy: CircuitPolicy,
    /// Looks whether the bot can be reached, if its specification says how.
    prober: Option<Prober>,
    /// True once the attempts are known that outlived an earlier incarnation: one of them must not
    /// be taken for one that is dispatched now.
    has_taken_over: bool,
    /// Heartbeats since the last attempt.
    idle_beats: u32,
    /// Tasks that reached this incarnation of the bot.
    received: u64,
    /// Tasks received by this incarnation that have ended.
    ended: u64,
    stopped: Option<oneshot::Sender<()>>,
    /// True while the executor ends what it runs beside the attempts.
    executor_stops: bool,
    /// Resolved when no attempt runs any more.
    drained: Option<oneshot::Sender<()>>,
    downfall: Downfall,
}

/// A begun attempt.
struct Begun {
    key: AttemptKey,
    lease: LeaseToken,
    stop: watch::Sender<Option<StopCause>>,
    span: Option<AttemptSpan>,
    /// Time limit of the attempt, in seconds.
    after_seconds: u64,
    /// Time that is left of it.
    left: Duration,
    /// Limit of the time without a sign of life.
    idle_limit: Option<u64>,
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
    pub(super) pause_policy: PausePolicy,
    pub(super) circuit_policy: CircuitPolicy,
    pub(super) idle_limit: Option<u64>,
    pub(super) prober: Option<Prober>,
    pub(super) clerk: Clerk,
}

impl Actor for BotActor {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.downfall.stopped();
        Running::Stop
    }

    fn started(&mut self, ctx: &mut Self::Context) {
        self.gauges.set_up(self.incarnation, true);
        self.gauges.circuit.restarted();
        ctx.run_interval(HEARTBEAT_EVERY, |this, ctx| {
            this.gauges.beat();
            this.cancelled
                .retain(|_, (at, _)| at.elapsed() < EARLY_CANCEL_KEPT);
            this.note_progress(ctx);
            this.end_idle_attempts();
            this.widen_intake();
            this.look_whether_it_works(ctx);
            this.look_after_leases(ctx);
            this.report_capacity(ctx);
        });
        self.follow_executor(ctx);
        self.take_over(ctx);
        self.begin_to_probe(ctx);
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
            has_taken_over: !parts.executor.adopts(),
            offer: parts.executor.offer(),
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
            pause_policy: parts.pause_policy,
            circuit_policy: parts.circuit_policy,
            idle_limit: parts.idle_limit,
            prober: parts.prober,
            intake: Intake::new(parts.fault_policy, places),
            idle_beats: 0,
            received: 0,
            ended: 0,
            stopped: None,
            executor_stops: false,
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
            || self.open_slots().is_none()
            || self.has_suspect()
    }

    fn begin(&mut self, mut claimed: ClaimedTask, ctx: &mut Context<Self>) {
        let (stop, stopping) = watch::channel(None);
        let key = AttemptKey::of(&claimed);
        let lease = claimed.lease;
        let after_seconds = claimed.task.timeout_seconds;
        let idle_limit = claimed.task.idle_timeout_seconds.or(self.idle_limit);
        let earlier = self.cancelled.remove(&key).map(|(_, words)| words);
        let cancelled = earlier.or_else(|| words_of_cancellation(&claimed));
        let span = AttemptSpan::begin(&mut claimed);
        self.gauges.circuit.began(key);
        match self.executor.start(claimed, stopping) {
            Started::Done(result) => {
                self.judge_circuit(key, &result, ctx);
                self.reports.push(reports::report(key, lease, span, result));
            }
            Started::Running(execution) => {
                if let Some(words) = cancelled {
                    stop.send_replace(Some(StopCause::Cancelled(words)));
                }
                let begun = Begun {
                    key,
                    lease,
                    stop,
                    span,
                    after_seconds,
                    left: Duration::from_secs(after_seconds),
                    idle_limit,
                };
                self.follow(begun, execution, ctx);
            }
        }
    }

    /// Follows a running attempt to its end, or to its time limit.
    fn follow(&mut self, begun: Begun, execution: Execution, ctx: &mut Context<Self>) {
        let Begun {
            key,
            lease,
            stop,
            span,
            after_seconds,
            left,
            idle_limit,
        } = begun;
        let time_out = ctx.run_later(left, move |this, _| {
            this.stop_attempt(key, StopCause::TimedOut { after_seconds });
        });
        self.attempts.insert(
            key,
            Attempt {
                lease,
                stop,
                idle_limit,
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

    fn ended(&mut self, key: AttemptKey, end: ExecutionEnd, ctx: &mut Context<Self>) {
        let result = match end {
            Ok(result) => result,
            Err(down) => return self.taken_down(key, down, ctx),
        };
        self.gauges.progressed(Duration::ZERO);
        self.judge(&result, ctx);
        self.judge_circuit(key, &result, ctx);
        if let Some(attempt) = self.attempts.remove(&key) {
            ctx.cancel_future(attempt.time_out);
            if result.is_settled {
                attempt.close_span(&result);
                self.free_slots(1);
            } else {
                self.reports
                    .push(reports::report(key, attempt.lease, attempt.span, result));
            }
        }
        if self.has_suspect() {
            self.suspect.take_if(|suspect| *suspect == key);
            self.begin_next_suspect(ctx);
            self.report_capacity(ctx);
        }
        self.send_reports(ctx);
    }

    /// Fails because an attempt took the bot down.
    fn taken_down(&mut self, key: AttemptKey, down: BotDown, ctx: &mut Context<Self>) {
        match (down.result, self.attempts.remove(&key)) {
            (Some(result), Some(attempt)) => {
                self.judge_circuit(key, &result, ctx);
                self.downfall.explained();
                let report = reports::report(key, attempt.lease, attempt.span, *result);
                self.reports.push(report);
            }
            (None, Some(attempt)) => {
                self.downfall.caused_by(key);
                self.attempts.insert(key, attempt);
            }
            (_, None) => {}
        }
        ctx.fail(down.reason);
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
