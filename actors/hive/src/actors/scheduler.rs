//! Gives ready tasks to bots. What to give to whom is decided by
//! [`assign`](assign::assign); here it is carried out.

mod assign;
mod lanes;
mod messages;
mod roster;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, SpawnHandle, WrapFuture};
use deia_supervision::{Context, Handle};
pub(crate) use messages::{
    PausesChanged, Quiesce, SeatClosed, SeatOpened, SeatsFreed, TasksWaiting,
};

use self::{
    assign::{Ageing, Assignment, assign},
    lanes::Lanes,
    roster::Roster,
};
use super::bots::{BotActor, Run};
use crate::{
    config::SchedulerSettings,
    failpoint,
    ledger::{
        AttemptReport, Claim, ClaimedTask, Command, Ledger, Outcome, ReadyQuery, ReadyTask,
        StoreError,
    },
    metrics::SchedulerMetrics,
    model::{AttemptEnd, BotName, LeaseToken, Pause, Priority, TaskId, TaskType, Timestamp},
};

/// Tasks made ready in one command.
const PROMOTE_MAX: u32 = 1_000;
/// How long to wait before the store is asked again after it failed.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Gives ready tasks to bots.
pub(crate) struct Scheduler {
    ledger: Ledger,
    settings: SchedulerSettings,
    lanes: Lanes,
    roster: Roster,
    bots: HashMap<BotName, Handle<BotActor>>,
    /// Tasks whose claim is on its way to the store.
    claiming: HashSet<TaskId>,
    next_due: Option<i64>,
    due_timer: Option<SpawnHandle>,
    /// What is not started. The store has the last word.
    paused: Vec<Pause>,
    quiescing: bool,
    metrics: Arc<SchedulerMetrics>,
}

impl Scheduler {
    pub(crate) fn new(
        ledger: Ledger,
        settings: SchedulerSettings,
        metrics: Arc<SchedulerMetrics>,
    ) -> Self {
        Self {
            lanes: Lanes::new(settings.window as usize),
            ledger,
            settings,
            roster: Roster::default(),
            bots: HashMap::new(),
            claiming: HashSet::new(),
            next_due: None,
            due_timer: None,
            paused: Vec::new(),
            quiescing: false,
            metrics,
        }
    }

    /// Assigns what can be assigned, and reads what runs low.
    fn schedule(&mut self, ctx: &mut Context<Self>) {
        if self.quiescing {
            return;
        }
        let aged_ms = i64::try_from(self.settings.aged_after.as_millis()).unwrap_or(i64::MAX);
        let ageing = Ageing {
            before: Timestamp::now().as_millis().saturating_sub(aged_ms),
            every: self.settings.aged_every,
        };
        loop {
            let assigned = assign(
                &mut self.lanes,
                &mut self.roster,
                self.settings.claim_max as usize,
                ageing,
                |task_type| self.paused.iter().any(|pause| pause.holds(task_type)),
            );
            let full = assigned.len() >= self.settings.claim_max as usize;
            if !assigned.is_empty() {
                self.claim(assigned, ctx);
            }
            if !full {
                break;
            }
        }
        for query in self.lanes.refills() {
            self.refill(query, ctx);
        }
        self.tell_metrics();
    }

    fn tell_metrics(&self) {
        let metrics = &self.metrics;
        metrics.lanes.set(self.lanes.count() as u64);
        metrics.window.set(self.lanes.len() as u64);
        metrics.claiming.set(self.claiming.len() as u64);
    }

    fn claim(&mut self, assigned: Vec<Assignment>, ctx: &mut Context<Self>) {
        self.metrics.assigned.add(assigned.len() as u64);
        self.claiming.extend(assigned.iter().map(|a| a.task.id));
        let claims = assigned
            .iter()
            .map(|a| Claim {
                task: a.task.id,
                bot: a.bot.clone(),
                lease: LeaseToken::new(),
            })
            .collect();
        let ledger = self.ledger.clone();
        let claiming = async move { ledger.apply(Command::Claim(claims)).await };
        ctx.spawn(
            claiming
                .into_actor(self)
                .map(move |outcome, this, ctx| this.claimed(assigned, outcome, ctx)),
        );
    }

    fn claimed(
        &mut self,
        assigned: Vec<Assignment>,
        outcome: Result<Outcome, StoreError>,
        ctx: &mut Context<Self>,
    ) {
        for assignment in &assigned {
            self.claiming.remove(&assignment.task.id);
        }
        match outcome {
            Ok(Outcome::Claimed { tasks, deferred }) => {
                failpoint::hit("after_claim_before_run");
                self.metrics.claims.add(1);
                let lost = assigned.len().saturating_sub(tasks.len());
                self.metrics.lost.add(lost as u64);
                self.release_unclaimed(&assigned, &tasks);
                self.keep(&assigned, &deferred);
                let nothing = tasks.is_empty() && !deferred.is_empty();
                self.deliver(&assigned, tasks, ctx);
                match nothing {
                    // A pause that this scheduler has not heard of.
                    true => drop(ctx.run_later(RETRY_AFTER, Self::poll)),
                    false => self.schedule(ctx),
                }
            }
            other => {
                self.metrics.claims_failed.add(1);
                // Of a full disk the store tells, once.
                if !matches!(other, Err(StoreError::Full)) {
                    tracing::warn!(?other, "claim failed; tried again");
                }
                for Assignment { task, bot, epoch } in assigned {
                    self.roster.free(&bot, epoch, 1);
                    self.lanes.push(task);
                }
                ctx.run_later(RETRY_AFTER, Self::schedule);
            }
        }
    }

    /// Frees the places of tasks that were no longer to be had.
    fn release_unclaimed(&mut self, assigned: &[Assignment], tasks: &[ClaimedTask]) {
        if tasks.len() < assigned.len() {
            let claimed: HashSet<TaskId> = tasks.iter().map(|claimed| claimed.task.id).collect();
            for lost in assigned.iter().filter(|a| !claimed.contains(&a.task.id)) {
                self.roster.free(&lost.bot, lost.epoch, 1);
            }
        }
    }

    /// Keeps tasks that are ready but were not to be had now.
    fn keep(&mut self, assigned: &[Assignment], deferred: &[TaskId]) {
        if !deferred.is_empty() {
            let deferred: HashSet<&TaskId> = deferred.iter().collect();
            for kept in assigned.iter().filter(|a| deferred.contains(&a.task.id)) {
                self.lanes.push(kept.task.clone());
            }
        }
    }

    /// Hands tasks to their bots, each bot's in one message. What cannot be
    /// handed over goes back to the queue.
    fn deliver(
        &mut self,
        assigned: &[Assignment],
        tasks: Vec<ClaimedTask>,
        ctx: &mut Context<Self>,
    ) {
        let mut by_bot: HashMap<(BotName, u64), Vec<ClaimedTask>> = HashMap::new();
        let mut assigned = assigned.iter();
        for claimed in tasks {
            // The answer keeps the order of the claims.
            if let Some(assignment) = assigned.find(|a| a.task.id == claimed.task.id) {
                by_bot
                    .entry((claimed.bot.clone(), assignment.epoch))
                    .or_default()
                    .push(claimed);
            }
        }
        for ((bot, epoch), tasks) in by_bot {
            let run = Run { epoch, tasks };
            let undelivered = match self.bots.get(&bot) {
                Some(handle) => handle
                    .tell(run)
                    .err()
                    .map(deia_supervision::Refused::into_inner),
                None => Some(run),
            };
            if let Some(Run { tasks, .. }) = undelivered {
                self.roster
                    .free(&bot, epoch, u32::try_from(tasks.len()).unwrap_or(u32::MAX));
                self.give_back(&tasks, ctx);
            }
        }
    }

    fn give_back(&mut self, tasks: &[ClaimedTask], ctx: &mut Context<Self>) {
        let reports: Vec<AttemptReport> = tasks
            .iter()
            .map(|claimed| AttemptReport::given_back(claimed, "its bot could not take it"))
            .collect();
        let ledger = self.ledger.clone();
        let command = Command::Finish(reports);
        let finishing = async move { ledger.apply_when_there_is_room(command).await };
        ctx.spawn(finishing.into_actor(self).map(|outcome, _, ctx| {
            if let Err(error) = outcome {
                // They are still with the bot in the store: its next start gives them back.
                tracing::error!(%error, "tasks could not be given back");
                ctx.notify(Poll);
            }
        }));
    }

    fn refill(&mut self, query: ReadyQuery, ctx: &mut Context<Self>) {
        let ledger = self.ledger.clone();
        let reading = async move { (ledger.ready(query.clone()).await, query) };
        ctx.spawn(reading.into_actor(self).map(|(found, query), this, ctx| {
            let failed = found.is_err();
            let empty = found.as_ref().is_ok_and(Vec::is_empty);
            this.lanes.refilled(&query, found.ok(), &this.claiming);
            if failed {
                ctx.run_later(RETRY_AFTER, Self::schedule);
            } else if !empty {
                this.schedule(ctx);
            }
        }));
    }

    fn due_at(&mut self, at: i64, ctx: &mut Context<Self>) {
        if self.next_due.is_some_and(|next| next <= at) {
            return;
        }
        self.next_due = Some(at);
        if let Some(timer) = self.due_timer.take() {
            ctx.cancel_future(timer);
        }
        let wait = u64::try_from(at.saturating_sub(Timestamp::now().as_millis())).unwrap_or(0);
        self.due_timer = Some(ctx.run_later(Duration::from_millis(wait), Self::promote));
    }

    fn promote(&mut self, ctx: &mut Context<Self>) {
        self.next_due = None;
        if let Some(timer) = self.due_timer.take() {
            ctx.cancel_future(timer);
        }
        let ledger = self.ledger.clone();
        let promoting = async move {
            ledger
                .apply(Command::Promote { limit: PROMOTE_MAX })
                .await?;
            ledger.next_due().await
        };
        ctx.spawn(
            promoting
                .into_actor(self)
                .map(|next, this, ctx| match next {
                    Ok(Some(at)) => this.due_at(at, ctx),
                    Ok(None) => {}
                    Err(error) => {
                        if !matches!(error, StoreError::Full) {
                            tracing::warn!(%error, "due tasks could not be made ready; tried again");
                        }
                        ctx.run_later(RETRY_AFTER, Self::promote);
                    }
                }),
        );
    }

    /// Looks at the store, in case that news were lost.
    fn poll(&mut self, ctx: &mut Context<Self>) {
        let ledger = self.ledger.clone();
        let reading = async move {
            let paused = ledger.pauses().await?;
            Ok::<_, StoreError>((
                paused,
                ledger.ready_lanes().await?,
                ledger.next_due().await?,
            ))
        };
        ctx.spawn(reading.into_actor(self).map(|read, this, ctx| match read {
            Ok((paused, lanes, due)) => {
                this.paused = paused;
                this.polled(lanes, due, ctx);
            }
            Err(error) => tracing::warn!(%error, "the queue could not be read"),
        }));
    }

    fn polled(
        &mut self,
        lanes: Vec<(TaskType, Priority)>,
        due: Option<i64>,
        ctx: &mut Context<Self>,
    ) {
        for (task_type, priority) in lanes {
            self.lanes.discover(priority, task_type);
        }
        match due {
            // The clock may have jumped past it while a timer was running.
            Some(at) if at <= Timestamp::now().as_millis() => self.promote(ctx),
            Some(at) => self.due_at(at, ctx),
            None => {}
        }
        self.schedule(ctx);
    }
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.poll(ctx);
        ctx.run_interval(self.settings.poll_interval, Self::poll);
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Poll;

impl Handler<Poll> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: Poll, ctx: &mut Self::Context) {
        self.poll(ctx);
    }
}

impl Handler<PausesChanged> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: PausesChanged, ctx: &mut Self::Context) {
        self.poll(ctx);
    }
}

impl Handler<TasksWaiting> for Scheduler {
    type Result = ();

    fn handle(&mut self, waiting: TasksWaiting, ctx: &mut Self::Context) {
        waiting
            .ready
            .into_iter()
            .for_each(|task: ReadyTask| self.lanes.push(task));
        if let Some(at) = waiting.due {
            self.due_at(at, ctx);
        }
        self.schedule(ctx);
    }
}

impl Handler<SeatOpened> for Scheduler {
    type Result = ();

    fn handle(&mut self, seat: SeatOpened, ctx: &mut Self::Context) {
        if self.roster.epoch(&seat.bot) != Some(seat.epoch) {
            self.bots.insert(seat.bot.clone(), seat.handle);
            self.roster
                .open(seat.bot, seat.epoch, seat.capabilities, seat.in_hand);
            self.schedule(ctx);
        }
    }
}

impl Handler<SeatClosed> for Scheduler {
    type Result = ();

    fn handle(&mut self, seat: SeatClosed, _: &mut Self::Context) {
        self.roster.close(&seat.bot, seat.epoch);
        if self.roster.epoch(&seat.bot).is_none() {
            self.bots.remove(&seat.bot);
        }
    }
}

impl Handler<SeatsFreed> for Scheduler {
    type Result = ();

    fn handle(&mut self, freed: SeatsFreed, ctx: &mut Self::Context) {
        self.roster.free(&freed.bot, freed.epoch, freed.places);
        self.schedule(ctx);
    }
}

impl Handler<Quiesce> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: Quiesce, _: &mut Self::Context) {
        self.quiescing = true;
    }
}

impl AttemptReport {
    /// That a task goes back unharmed.
    pub(crate) fn given_back(claimed: &ClaimedTask, reason: &str) -> Self {
        Self {
            task: claimed.task.id,
            attempt: claimed.task.attempt,
            lease: claimed.lease,
            end: AttemptEnd::GivenBack,
            output: None,
            output_bytes: None,
            error: Some(reason.to_owned()),
            exit_code: None,
            execution_time_ms: 0,
            tokens_used: None,
            cost_cents: None,
        }
    }
}
