//! The capacity that a bot offers to the scheduler: none while it holds back after a fault.

use std::time::Instant;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_model::AttemptEnd;
use deia_supervision::Context;

use super::BotActor;
use crate::{
    bots::attempt::{ExecutionResult, FaultPhase},
    dispatch::{BotAvailable, BotUnavailable, Capacity, Presence, SlotsFreed},
};

/// Heartbeats for which a bot with a fault is idle before its program is checked.
const IDLE_BEATS_BEFORE_A_LOOK: u32 = 5;

impl BotActor {
    /// Reports to the scheduler how many tasks this bot takes, if any. If the scheduler's mailbox
    /// is full, the next heartbeat reports again.
    pub(super) fn report_capacity(&mut self, ctx: &Context<Self>) {
        let Some(slots) = self.intake.allowed().filter(|_| !self.takes_none()) else {
            return;
        };
        let presence = Presence {
            bot: self.name.clone(),
            incarnation: self.incarnation,
            generation: self.generation,
            capacity: Capacity::new(&self.capabilities, slots),
            received: self.received,
            ended: self.ended,
        };
        let deliver_to = ctx.handle().recipient();
        let _ = self.reports_to.available.tell(BotAvailable {
            presence,
            deliver_to,
        });
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
        let allowed = self.intake.allowed().unwrap_or(0) as usize;
        allowed.saturating_sub(self.in_hand())
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
            (AttemptEnd::Succeeded | AttemptEnd::Failed, _) => self.works(FaultPhase::End),
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
            "bot cannot carry out its tasks; they go back uncounted, and it takes none for a while"
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
    }
}
