//! The capacity that a bot offers to the scheduler: none while it holds back after a fault.

use std::time::{Duration, Instant};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_model::{AttemptEnd, Timestamp};
use deia_supervision::Context;
use tokio::sync::watch;

use super::BotActor;
use crate::{
    bots::{
        attempt::{ExecutionResult, FaultPhase},
        executor::Offer,
    },
    dispatch::{BotAvailable, BotUnavailable, Capacity, Presence, SlotsFreed},
};

/// Heartbeats for which a bot with a fault is idle before its program is checked. Fixed:
/// the look costs some system calls, and a task shows as much.
const IDLE_BEATS_BEFORE_A_LOOK: u32 = 5;

impl BotActor {
    /// Reports to the scheduler how many tasks this bot takes, if any. If the scheduler's mailbox
    /// is full, the next heartbeat reports again.
    pub(super) fn report_capacity(&mut self, ctx: &Context<Self>) {
        let Some(slots) = self.open_slots().filter(|_| !self.takes_none()) else {
            return;
        };
        let presence = Presence {
            bot: self.name.clone(),
            incarnation: self.incarnation,
            generation: self.generation,
            capacity: Capacity {
                lease: self.executor.lease(),
                ..Capacity::new(&self.capabilities, slots)
            },
            received: self.received,
            ended: self.ended,
        };
        let deliver_to = ctx.handle().recipient();
        let _ = self.reports_to.available.tell(BotAvailable {
            presence,
            deliver_to,
        });
    }

    /// Returns how many tasks the bot may run now; `None` while it takes none.
    pub(super) fn open_slots(&self) -> Option<u32> {
        let allowed = self.intake.allowed().filter(|_| self.has_taken_over)?;
        if !self.gauges.passes_probes() {
            return None;
        }
        let offered = self.offer.as_ref().map(|offer| offer.borrow().slots);
        let allowed = offered.map_or(allowed, |slots| slots.min(allowed));
        let in_hand = u32::try_from(self.in_hand()).unwrap_or(u32::MAX);
        let let_pass = self.gauges.circuit.limit(allowed, in_hand);
        let_pass.filter(|slots| *slots > 0)
    }

    /// Follows the executor: its changing offer, and its own death.
    pub(super) fn follow_executor(&mut self, ctx: &mut Context<Self>) {
        if let Some(down) = self.executor.down() {
            ctx.spawn(down.into_actor(self).map(|down, this, ctx| {
                this.downfall.executor_died();
                ctx.fail(down.reason);
            }));
        }
        if let Some(offer) = self.offer.clone() {
            self.gauges.set_readiness(offer.borrow().readiness);
            self.await_offer(offer, ctx);
        }
    }

    /// Waits for the next change of the executor's offer, and reports it.
    fn await_offer(&self, mut offer: watch::Receiver<Offer>, ctx: &mut Context<Self>) {
        let changed = async move { offer.changed().await.map(|()| offer) };
        ctx.spawn(changed.into_actor(self).map(|offer, this, ctx| {
            // Without a sender the offer stays as it is.
            let Ok(mut offer) = offer else { return };
            let now = *offer.borrow_and_update();
            this.gauges.set_readiness(now.readiness);
            match now.slots {
                0 => this.withdraw(),
                _ => this.report_capacity(ctx),
            }
            this.await_offer(offer, ctx);
        }));
    }

    /// Withdraws this bot's capacity from the scheduler. If the scheduler's mailbox is full, tasks
    /// that still arrive are given back.
    pub(super) fn withdraw(&mut self) {
        let withdrawn = BotUnavailable {
            bot: self.name.clone(),
            incarnation: self.incarnation,
        };
        if self.reports_to.unavailable.tell(withdrawn).is_err() {
            tracing::debug!(bot = %self.name, "the scheduler's mailbox is full; the bot's capacity was not withdrawn");
        }
    }

    /// Returns how many more tasks the bot may begin now.
    pub(super) fn slots_left(&self) -> usize {
        // Attempts that somebody fetches may wait although nobody asks for them just now.
        let allowed = match self.executor.is_pulled() {
            true => self.intake.allowed(),
            false => self.open_slots(),
        };
        (allowed.unwrap_or(0) as usize).saturating_sub(self.in_hand())
    }

    /// Reports free slots to the scheduler. If its mailbox is full, the next heartbeat reports
    /// again.
    pub(super) fn free_slots(&mut self, slots: usize) {
        if slots > 0 {
            self.ended += slots as u64;
            let _ = self.reports_to.freed.tell(SlotsFreed {
                bot: self.name.clone(),
                incarnation: self.incarnation,
                ended: self.ended,
            });
        }
    }

    /// Updates the intake after an attempt: a fault of the bot withdraws its capacity for a while,
    /// any other end proves that the bot works.
    pub(super) fn judge(&mut self, result: &ExecutionResult, ctx: &mut Context<Self>) {
        match (result.end, result.fault) {
            (AttemptEnd::BotFault, phase) => {
                self.faulted(phase.unwrap_or(FaultPhase::Start), result, ctx);
            }
            (AttemptEnd::Refused, _) => self.paused(result, ctx),
            (AttemptEnd::Succeeded | AttemptEnd::Failed | AttemptEnd::FailedForGood, _) => {
                self.works(FaultPhase::End);
            }
            _ => {}
        }
    }

    fn faulted(&mut self, phase: FaultPhase, result: &ExecutionResult, ctx: &mut Context<Self>) {
        // The ended attempt is still in `attempts`.
        let others = self.attempts.len().saturating_sub(1);
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let Some(hold) = self.intake.fault(phase, others, Instant::now()) else {
            return;
        };
        self.withdraw();
        let reason = result.error.as_deref().unwrap_or("unknown");
        let in_a_row = self.intake.faults();
        self.gauges.fault(reason, in_a_row, hold);
        tracing::warn!(
            bot = %self.name,
            reason,
            in_a_row,
            hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
            "bot cannot carry out its tasks; they go back to the queue uncounted, and the bot pauses"
        );
        ctx.run_later(hold, |this, ctx| {
            this.widen_intake();
            this.report_capacity(ctx);
        });
    }

    /// Takes no tasks for a while, at the wish of the bot or its provider.
    fn paused(&mut self, result: &ExecutionResult, ctx: &mut Context<Self>) {
        let now = Timestamp::now();
        let asked = result
            .paused_until
            .map(|until| Duration::from_millis(until.millis_since(now)));
        let hold = self.pause_policy.hold(asked);
        if !self.intake.pause(hold, Instant::now()) {
            return;
        }
        self.withdraw();
        let reason = result.error.as_deref().unwrap_or("unknown");
        self.gauges.pause(reason, result.class, hold);
        tracing::warn!(
            bot = %self.name,
            reason,
            hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
            "bot takes no tasks for a while; refused ones go back uncounted"
        );
        ctx.run_later(hold, |this, ctx| {
            this.widen_intake();
            this.report_capacity(ctx);
        });
    }

    /// Notes that an attempt passed this phase without a fault.
    fn works(&mut self, phase: FaultPhase) {
        if self.intake.works(phase) {
            self.gauges.recovered();
            tracing::info!(bot = %self.name, "bot runs its tasks again");
        }
    }

    /// Checks the program of an idle bot that had a fault. Without tasks nothing else would show
    /// that the cause is gone, and the bot would stay unhealthy.
    pub(super) fn look_whether_it_works(&mut self, ctx: &mut Context<Self>) {
        self.idle_beats = match self.in_hand() {
            0 => self.idle_beats.saturating_add(1),
            _ => 0,
        };
        let may_look = self.intake.faults() > 0
            && self.intake.allowed().is_some()
            && self.idle_beats % IDLE_BEATS_BEFORE_A_LOOK == IDLE_BEATS_BEFORE_A_LOOK - 1;
        if !may_look {
            return;
        }
        let Some(preflight) = self.executors.preflight() else {
            return;
        };
        let looking = tokio::task::spawn_blocking(move || preflight().is_none());
        ctx.spawn(looking.into_actor(self).map(|fine, this, _| {
            if matches!(fine, Ok(true)) && this.in_hand() == 0 {
                this.works(FaultPhase::Start);
            }
        }));
    }

    /// Opens or widens the intake when it is due.
    pub(super) fn widen_intake(&mut self) {
        if self.gauges.take_started() {
            self.works(FaultPhase::Start);
        }
        let in_hand = u32::try_from(self.in_hand()).unwrap_or(u32::MAX);
        self.intake.beat(in_hand, Instant::now());
        self.gauges.circuit.beat();
    }
}
