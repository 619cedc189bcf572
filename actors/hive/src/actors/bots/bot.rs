//! One bot: runs the attempts that the scheduler gives it, and reports how
//! they end.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Handler, Message, Running, SpawnHandle, WrapFuture,
};
use deia_supervision::{Context, Handle};
use tokio::sync::{oneshot, watch};

use super::{
    attempt::{AttemptOutcome, StopCause},
    attempt_span::AttemptSpan,
    board::Card,
    progress::Progress,
    simulated::Played,
    work::{Begun, Work},
};
use crate::{
    actors::scheduler::{Scheduler, SeatClosed, SeatOpened, SeatsFreed},
    failpoint,
    ledger::{AttemptReport, ClaimedTask, Command, Ledger, Outcome, StoreError},
    model::{AttemptEnd, BotName, Capabilities, LeaseToken, TaskId},
};

/// How long to wait before a report that the store did not take is sent again.
const REPORT_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a cancellation waits for its task: both may be under way at once.
const EARLY_CANCEL_KEPT: Duration = Duration::from_secs(10);
/// How often a bot gives a sign of life.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// One bot.
pub(crate) struct BotActor {
    pub(super) name: BotName,
    pub(super) epoch: u64,
    pub(super) capabilities: Capabilities,
    pub(super) work: Work,
    pub(super) card: Arc<Card>,
    pub(super) ledger: Ledger,
    pub(super) scheduler: Handle<Scheduler>,
    pub(super) attempts: HashMap<TaskId, Attempt>,
    pub(super) reports: Vec<AttemptReport>,
    /// Those that are on their way to the store.
    pub(super) sending: Vec<AttemptReport>,
    /// Cancellations that came before their tasks, and when.
    pub(super) cancelled: HashMap<TaskId, Instant>,
    pub(super) stopped: Option<oneshot::Sender<()>>,
    /// Whom to tell when nothing is in hand any more.
    pub(super) drained: Option<oneshot::Sender<()>>,
    /// Whether it goes down by its own fault.
    pub(super) crashed: bool,
    /// What becomes of the attempts that still go on when this ends.
    pub(super) at_end: AttemptEnd,
}

/// An attempt that goes on.
pub(super) struct Attempt {
    pub(super) number: u32,
    pub(super) lease: LeaseToken,
    stop: watch::Sender<Option<StopCause>>,
    time_out: SpawnHandle,
    began: Instant,
    pub(super) progress: Progress,
    /// What the store was told last.
    pub(super) noted: Option<f64>,
    span: Option<AttemptSpan>,
}

/// Work on these.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Run {
    /// The start of the bot that they are meant for.
    pub(crate) epoch: u64,
    pub(crate) tasks: Vec<ClaimedTask>,
}

/// End that task: it was called off.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CancelTask(pub(crate) TaskId);

/// Take nothing new (the card says so, too); tells when what was in hand has
/// ended. Sent again from time to time: the last one is told.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Drain(pub(super) oneshot::Sender<()>);

/// End everything and give it back; tells when that is done and recorded.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopAll(pub(super) oneshot::Sender<()>);

impl Actor for BotActor {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if !self.crashed {
            self.at_end = AttemptEnd::GivenBack;
        }
        Running::Stop
    }

    fn started(&mut self, ctx: &mut Self::Context) {
        self.card.set_up(true);
        ctx.run_interval(HEARTBEAT_EVERY, |this, ctx| {
            this.card.beat();
            this.cancelled
                .retain(|_, at| at.elapsed() < EARLY_CANCEL_KEPT);
            this.note_progress(ctx);
            this.offer(ctx);
        });
        self.offer(ctx);
    }
}

/// However it ends, its tasks go back at once.
impl Drop for BotActor {
    fn drop(&mut self) {
        self.card.set_up(false);
        // A scheduler that is gone or overrun learns it when it hands over a task.
        let _ = self.scheduler.tell(SeatClosed {
            bot: self.name.clone(),
            epoch: self.epoch,
        });
        let reports = self.last_reports();
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !reports.is_empty()
        {
            let ledger = self.ledger.clone();
            // Should the store not take them, the bot's next start gives them back.
            let command = Command::Finish(reports);
            runtime.spawn(async move { ledger.apply_when_there_is_room(command).await });
        }
    }
}

impl BotActor {
    /// Tells the scheduler that this bot takes tasks. Should the message find no
    /// room, the next one will.
    fn offer(&self, ctx: &Context<Self>) {
        if self.stopped.is_none() && !self.card.draining() {
            let _ = self.scheduler.tell(SeatOpened {
                bot: self.name.clone(),
                epoch: self.epoch,
                capabilities: self.capabilities.clone(),
                in_hand: u32::try_from(self.in_hand()).unwrap_or(u32::MAX),
                handle: ctx.handle(),
            });
        }
    }

    /// Tells the scheduler that this bot takes nothing more. Should the message
    /// find no room, what is handed over still goes back.
    fn close_seat(&self) {
        let closed = SeatClosed {
            bot: self.name.clone(),
            epoch: self.epoch,
        };
        if self.scheduler.tell(closed).is_err() {
            tracing::warn!(bot = %self.name, "the scheduler does not know that the bot takes no more");
        }
    }

    /// What has ended but was not reported, and what ends now.
    fn last_reports(&mut self) -> Vec<AttemptReport> {
        // Those on their way may have arrived: then they are stale and change nothing.
        let mut reports = std::mem::take(&mut self.sending);
        reports.append(&mut self.reports);
        reports.extend(self.attempts.drain().map(|(task, attempt)| {
            let error = match self.at_end {
                AttemptEnd::BotDied => format!("bot {} went down while working on it", self.name),
                _ => format!("bot {} was stopped", self.name),
            };
            let outcome = AttemptOutcome {
                error: Some(error),
                ..AttemptOutcome::bare(self.at_end, ms_since(attempt.began))
            };
            report(task, attempt.number, attempt.lease, attempt.span, outcome)
        }));
        reports
    }

    fn in_hand(&self) -> usize {
        self.attempts.len() + self.reports.len() + self.sending.len()
    }

    /// Sends tasks back that are not for this start of the bot. Most were given
    /// back already; for those the report is stale and changes nothing.
    fn send_back(&mut self, tasks: &[ClaimedTask], ctx: &mut Context<Self>) {
        if !tasks.is_empty() {
            let back = |claimed: &ClaimedTask| {
                AttemptReport::given_back(claimed, "its bot could not take it")
            };
            self.return_reports(tasks.iter().map(back).collect(), ctx);
        }
    }

    fn return_reports(&mut self, reports: Vec<AttemptReport>, ctx: &mut Context<Self>) {
        let ledger = self.ledger.clone();
        let sending = async move {
            (
                ledger
                    .apply_when_there_is_room(Command::Finish(reports.clone()))
                    .await,
                reports,
            )
        };
        ctx.spawn(
            sending
                .into_actor(self)
                .map(|(outcome, reports), this, ctx| {
                    if outcome.is_err() {
                        ctx.run_later(REPORT_AGAIN_AFTER, |this, ctx| {
                            this.return_reports(reports, ctx)
                        });
                    } else {
                        this.send_reports(ctx);
                    }
                }),
        );
    }

    fn begin(&mut self, mut claimed: ClaimedTask, ctx: &mut Context<Self>) {
        let (stop, stopping) = watch::channel(None);
        let (task, number, lease) = (claimed.task.id, claimed.task.attempt, claimed.lease);
        let after_seconds = claimed.task.timeout_seconds;
        let cancelled =
            self.cancelled.remove(&task).is_some() || claimed.task.cancel_requested_at.is_some();
        let span = AttemptSpan::begin(&mut claimed);
        match self.work.begin(claimed, stopping) {
            Begun::Ended(outcome) => self
                .reports
                .push(report(task, number, lease, span, outcome)),
            Begun::Going(attempt, progress) => {
                let time_out = ctx.run_later(Duration::from_secs(after_seconds), move |this, _| {
                    this.stop_attempt(task, StopCause::TimedOut { after_seconds });
                });
                if cancelled {
                    stop.send_replace(Some(StopCause::Cancelled));
                }
                self.attempts.insert(
                    task,
                    Attempt {
                        number,
                        lease,
                        stop,
                        time_out,
                        began: Instant::now(),
                        progress,
                        noted: None,
                        span,
                    },
                );
                ctx.spawn(
                    attempt
                        .into_actor(self)
                        .map(move |played, this, ctx| this.ended(task, played, ctx)),
                );
            }
        }
    }

    fn ended(&mut self, task: TaskId, played: Played, ctx: &mut Context<Self>) {
        let Played::Done(outcome) = played else {
            self.crashed = true;
            ctx.fail("simulated crash");
            return;
        };
        if let Some(attempt) = self.attempts.remove(&task) {
            ctx.cancel_future(attempt.time_out);
            self.reports.push(report(
                task,
                attempt.number,
                attempt.lease,
                attempt.span,
                outcome,
            ));
        }
        self.send_reports(ctx);
    }

    fn stop_attempt(&self, task: TaskId, cause: StopCause) {
        if let Some(attempt) = self.attempts.get(&task) {
            // The first cause stays.
            attempt
                .stop
                .send_if_modified(|stop| stop.is_none() && stop.replace(cause).is_none());
        }
    }

    /// Sends the reports that have gathered, all in one command.
    fn send_reports(&mut self, ctx: &mut Context<Self>) {
        self.card.set_running(self.in_hand());
        if self.sending.is_empty() && !self.reports.is_empty() {
            self.sending = std::mem::take(&mut self.reports);
            self.send(ctx);
        } else if self.sending.is_empty() && self.attempts.is_empty() {
            self.stopped.take().map(|stopped| stopped.send(()));
            self.drained.take().map(|drained| drained.send(()));
        }
    }

    fn send(&mut self, ctx: &mut Context<Self>) {
        failpoint::hit("before_report");
        let (ledger, reports) = (self.ledger.clone(), self.sending.clone());
        let command = Command::Finish(reports);
        let sending = async move { ledger.apply_when_there_is_room(command).await };
        ctx.spawn(
            sending
                .into_actor(self)
                .map(|outcome, this, ctx| this.sent(outcome, ctx)),
        );
    }

    fn sent(&mut self, outcome: Result<Outcome, StoreError>, ctx: &mut Context<Self>) {
        match outcome {
            Ok(_) => {
                let sent = std::mem::take(&mut self.sending);
                self.free_places(sent.len(), ctx);
                self.send_reports(ctx);
            }
            Err(error) => {
                // Their places stay taken, so what waits here is bounded.
                tracing::warn!(bot = %self.name, %error, "results could not be recorded; tried again");
                ctx.run_later(REPORT_AGAIN_AFTER, Self::send);
            }
        }
    }

    fn free_places(&mut self, places: usize, ctx: &mut Context<Self>) {
        if places == 0 {
            return;
        }
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        let freed = SeatsFreed {
            bot: self.name.clone(),
            epoch: self.epoch,
            places,
        };
        if self.scheduler.tell(freed).is_err() {
            ctx.run_later(REPORT_AGAIN_AFTER, move |this, ctx| {
                this.free_places(places as usize, ctx)
            });
        }
    }
}

fn ms_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn report(
    task: TaskId,
    attempt: u32,
    lease: LeaseToken,
    span: Option<AttemptSpan>,
    outcome: AttemptOutcome,
) -> AttemptReport {
    if let Some(span) = span {
        span.end(&outcome);
    }
    AttemptReport {
        task,
        attempt,
        lease,
        end: outcome.end,
        output: outcome.output,
        output_bytes: outcome.output_bytes,
        error: outcome.error,
        exit_code: outcome.exit_code,
        execution_time_ms: outcome.execution_time_ms,
        tokens_used: outcome.tokens_used,
        cost_cents: outcome.cost_cents,
    }
}

impl Handler<Run> for BotActor {
    type Result = ();

    fn handle(&mut self, run: Run, ctx: &mut Self::Context) {
        let mut tasks = run.tasks;
        if run.epoch != self.epoch || self.stopped.is_some() || self.card.draining() {
            self.send_back(&tasks, ctx);
            return;
        }
        // A new scheduler may for a moment not know of everything in hand.
        let places = self.capabilities.max_concurrent_tasks as usize;
        let too_many = tasks.split_off(tasks.len().min(places.saturating_sub(self.in_hand())));
        self.send_back(&too_many, ctx);
        self.free_places(too_many.len(), ctx);
        tasks
            .into_iter()
            .for_each(|claimed| self.begin(claimed, ctx));
        self.send_reports(ctx);
    }
}

impl Handler<CancelTask> for BotActor {
    type Result = ();

    fn handle(&mut self, CancelTask(task): CancelTask, _: &mut Self::Context) {
        if self.attempts.contains_key(&task) {
            self.stop_attempt(task, StopCause::Cancelled);
        } else {
            self.cancelled.insert(task, Instant::now());
        }
    }
}

impl Handler<Drain> for BotActor {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, _: &mut Self::Context) {
        self.close_seat();
        self.drained = Some(done);
    }
}

impl Handler<StopAll> for BotActor {
    type Result = ();

    fn handle(&mut self, StopAll(done): StopAll, ctx: &mut Self::Context) {
        self.close_seat();
        self.stopped = Some(done);
        for attempt in self.attempts.values() {
            attempt.stop.send_if_modified(|stop| {
                stop.is_none() && stop.replace(StopCause::BotStopping).is_none()
            });
        }
        self.send_reports(ctx);
    }
}
