//! Assigned tasks are claimed, handed to their bots, or given back.

use std::collections::{HashMap, HashSet};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_supervision::Context;

use super::{Poll, RETRY_AFTER, Scheduler, assign::Assignment};
use crate::{
    failpoint,
    ledger::{AttemptReport, Claim, ClaimedTask, Command, Outcome, StoreError},
    model::{AttemptEnd, BotName, LeaseToken, TaskId},
};

impl Scheduler {
    pub(super) fn claim(&mut self, assigned: Vec<Assignment>, ctx: &mut Context<Self>) {
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
                    self.free(&bot, epoch, 1);
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
                self.free(&lost.bot, lost.epoch, 1);
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
        let mut book = self.book.lock();
        for ((bot, epoch), tasks) in by_bot {
            book.deliver(&bot, epoch, tasks);
        }
        drop(book);
        self.take_back(ctx);
    }

    /// Gives back what could not be handed over.
    pub(super) fn take_back(&mut self, ctx: &mut Context<Self>) {
        let undelivered = std::mem::take(&mut self.book.lock().undelivered);
        if !undelivered.is_empty() {
            self.give_back(&undelivered, ctx);
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
