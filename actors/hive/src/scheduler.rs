//! Gives ready tasks to bots. [`assign`](assign::assign) decides which bot gets which task; this
//! module carries the decisions out.

mod assign;
mod capacity;
mod claims;
#[cfg(any(test, feature = "testing"))]
mod decisions;
mod dispatcher;
mod lanes;
mod messages;
mod roster;
mod subsystem;

use std::{collections::HashSet, sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, SpawnHandle, WrapFuture};
#[cfg(any(test, feature = "testing"))]
pub use decisions::Decisions;
use deia_ledger::{Apply, Ledger, ReadyLane, ReadyQuery, ReadyTask, RunDue, StoreError};
use deia_model::{TaskId, Timestamp};
use deia_supervision::Context;
pub(crate) use dispatcher::Dispatcher;
pub(crate) use messages::{ClaimsSettled, PausesChanged, TasksWaiting};
pub(crate) use subsystem::Scheduling;

use self::{assign::Ageing, lanes::Lanes};
use crate::{
    config::Settings,
    dispatch::{BotAvailable, BotUnavailable, SlotsFreed},
    metrics::SchedulerMetrics,
};

/// Maximum number of tasks made ready in one command. Fixed: bounds one step, so that
/// others get their turn; the whole has no limit here.
const PROMOTE_MAX: u32 = 1_000;
/// Pause before the store is asked again after a failure. Fixed: a fault is not tried in
/// a loop, and its end is noticed soon.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// Pause before tasks are claimed again on a full disk. Fixed: a fault is not tried in a
/// loop, and its end is noticed soon.
const RETRY_ON_FULL_DISK: Duration = Duration::from_secs(1);

/// Gives ready tasks to bots.
pub(crate) struct Scheduler {
    ledger: Ledger,
    settings: Settings,
    lanes: Lanes,
    dispatcher: Arc<Dispatcher>,
    /// Ids of tasks whose claim is being sent to the store.
    claiming: HashSet<TaskId>,
    /// True after a failed claim until its retry: nothing is assigned meanwhile.
    held: bool,
    next_due: Option<i64>,
    due_timer: Option<SpawnHandle>,
    /// True if due tasks are being made ready: one command at a time.
    promoting: bool,
    metrics: Arc<SchedulerMetrics>,
}

impl Scheduler {
    pub(crate) fn new(
        ledger: Ledger,
        settings: Settings,
        dispatcher: Arc<Dispatcher>,
        metrics: Arc<SchedulerMetrics>,
    ) -> Self {
        Self {
            lanes: Lanes::new(settings.get().scheduler.window as usize),
            ledger,
            settings,
            dispatcher,
            claiming: HashSet::new(),
            held: false,
            next_due: None,
            due_timer: None,
            promoting: false,
            metrics,
        }
    }

    /// Polls after `scheduler.poll_interval`, and again after the next.
    fn poll_later(&self, ctx: &mut Context<Self>) {
        let every = self.settings.get().scheduler.poll_interval;
        ctx.run_later(every, |this, ctx| {
            this.poll(ctx);
            this.poll_later(ctx);
        });
    }

    /// Assigns as many tasks as possible, and refills lanes that run low.
    fn schedule(&mut self, ctx: &mut Context<Self>) {
        if self.held {
            return;
        }
        let config = self.settings.get();
        let settings = &config.scheduler;
        self.lanes.set_window(settings.window as usize);
        let aged_ms = i64::try_from(settings.aged_after.as_millis()).unwrap_or(i64::MAX);
        let ageing = Ageing {
            before: Timestamp::now().as_millis().saturating_sub(aged_ms),
            every: settings.aged_every,
        };
        let max = settings.claim_max as usize;
        loop {
            let assigned = self.dispatcher.table().assign(&mut self.lanes, max, ageing);
            let full = assigned.len() >= max;
            if !assigned.is_empty() {
                self.claim(assigned);
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
        if self.promoting {
            self.promote_again(ctx);
            return;
        }
        self.promoting = true;
        let ledger = self.ledger.clone();
        let promoting = async move {
            ledger.apply(RunDue { limit: PROMOTE_MAX }).await?;
            ledger.next_due().await
        };
        ctx.spawn(promoting.into_actor(self).map(|next, this, ctx| {
            this.promoting = false;
            match next {
                Ok(Some(at)) => this.due_at(at, ctx),
                Ok(None) => {}
                Err(error) => {
                    if !matches!(error, StoreError::Full(_)) {
                        tracing::warn!(%error, "due tasks could not be made ready; retrying");
                    }
                    this.promote_again(ctx);
                }
            }
        }));
    }

    fn promote_again(&mut self, ctx: &mut Context<Self>) {
        let wait = u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX);
        self.due_at(Timestamp::now().plus_millis(wait).as_millis(), ctx);
    }

    /// Checks the store, in case messages were lost.
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
                this.dispatcher.table().set_paused(paused);
                this.read_outbox(ctx);
                this.polled(lanes, due, ctx);
            }
            Err(error) => tracing::warn!(%error, "the queue could not be read"),
        }));
    }

    fn polled(&mut self, lanes: Vec<ReadyLane>, due: Option<i64>, ctx: &mut Context<Self>) {
        // Tasks that are being claimed are still counted as ready.
        let claiming = self.claiming.len() as u64;
        self.lanes.forget_absent(&lanes);
        for lane in lanes {
            self.lanes.discover(lane, claiming);
        }
        match due {
            // The clock may have jumped past it while a timer was running.
            Some(at) if at <= Timestamp::now().as_millis() => self.promote(ctx),
            Some(at) => self.due_at(at, ctx),
            None => {}
        }
        self.schedule(ctx);
        self.dispatcher.table().polled();
    }
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.dispatcher.begin(ctx.handle().recipient());
        self.poll(ctx);
        self.poll_later(ctx);
    }
}

impl Handler<PausesChanged> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: PausesChanged, ctx: &mut Self::Context) {
        self.poll(ctx);
    }
}

impl Handler<ClaimsSettled> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: ClaimsSettled, ctx: &mut Self::Context) {
        if self.read_outbox(ctx) {
            self.schedule(ctx);
        }
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

impl Handler<BotAvailable> for Scheduler {
    type Result = ();

    fn handle(&mut self, available: BotAvailable, ctx: &mut Self::Context) {
        if self.dispatcher.table().available(available) {
            self.schedule(ctx);
        }
    }
}

impl Handler<BotUnavailable> for Scheduler {
    type Result = ();

    fn handle(&mut self, unavailable: BotUnavailable, _: &mut Self::Context) {
        self.dispatcher.table().unavailable(&unavailable);
    }
}

impl Handler<SlotsFreed> for Scheduler {
    type Result = ();

    fn handle(&mut self, freed: SlotsFreed, ctx: &mut Self::Context) {
        self.dispatcher.table().freed(&freed);
        self.schedule(ctx);
    }
}
