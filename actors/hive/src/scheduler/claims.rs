//! Claims of assigned tasks: they are claimed, handed to their bots, or given back.
//!
//! A claim that was sent to the store is completed even if the scheduler has stopped: a task that
//! is running according to the store must be at its bot, or be given back.

use std::{collections::HashSet, sync::Arc, time::Duration};

use actix::AsyncContext;
use deia_ledger::{
    Apply, AttemptReport, Claim, ClaimTasks, ClaimedTask, FinishAttempts, Ledger, ReportAck,
    StoreError, failpoint,
};
use deia_model::{LeaseToken, TaskId};
use deia_supervision::Context;

use super::{
    RETRY_AFTER, RETRY_ON_FULL_DISK, Scheduler, assign::Assignment, dispatcher::Dispatcher,
};

/// Limit of attempts to give back claims of unknown outcome. Fixed: a minute of a store
/// that does not answer; the next start gives back the rest.
const GIVE_BACK_TRIES: u32 = 300;

/// Completed claims, reported to the scheduler.
pub(super) struct Settled {
    /// Assignments that were to be claimed.
    assigned: Vec<Assignment>,
    /// Ids of the tasks that can be claimed later, or the error of a failed claim.
    outcome: Result<Vec<TaskId>, StoreError>,
    /// Number of claimed tasks.
    count: usize,
}

impl Scheduler {
    pub(super) fn claim(&mut self, assigned: Vec<Assignment>) {
        self.claiming.extend(assigned.iter().map(|a| a.task.id));
        let (ledger, dispatcher) = (self.ledger.clone(), Arc::clone(&self.dispatcher));
        tokio::spawn(carry_out(assigned, ledger, dispatcher));
    }

    /// Takes the completed claims and the undeliverable tasks from the dispatcher. Returns `true`
    /// if more can be assigned at once.
    pub(super) fn read_outbox(&mut self, ctx: &mut Context<Self>) -> bool {
        let outbox = self.dispatcher.take_outbox();
        if !outbox.undelivered.is_empty() {
            let (ledger, dispatcher) = (self.ledger.clone(), Arc::clone(&self.dispatcher));
            tokio::spawn(give_back(outbox.undelivered, ledger, dispatcher));
        }
        let mut goes_on = true;
        for settled in outbox.settled {
            goes_on &= self.settled(settled, ctx);
        }
        goes_on
    }

    fn settled(&mut self, settled: Settled, ctx: &mut Context<Self>) -> bool {
        for assignment in &settled.assigned {
            self.claiming.remove(&assignment.task.id);
        }
        match settled.outcome {
            Ok(deferred) => {
                self.metrics.claims.add(1);
                self.metrics.assigned.add(settled.count as u64);
                let lost = settled.assigned.len() - settled.count;
                self.metrics.lost.add(lost as u64);
                // The cause is a pause that this scheduler does not know of yet.
                let nothing = settled.count == 0 && !deferred.is_empty();
                self.keep(settled.assigned, deferred);
                if nothing {
                    ctx.run_later(RETRY_AFTER, Self::poll);
                }
                !nothing
            }
            Err(error) => {
                self.metrics.claims_failed.add(1);
                // The store itself logs a full disk, once.
                let full = matches!(error, StoreError::Full(_));
                if !full {
                    tracing::warn!(%error, "a claim failed; retrying");
                }
                for assignment in settled.assigned {
                    self.lanes.push(assignment.task);
                }
                self.hold(
                    if full {
                        RETRY_ON_FULL_DISK
                    } else {
                        RETRY_AFTER
                    },
                    ctx,
                );
                false
            }
        }
    }

    /// Assigns nothing for a while, with one retry for all claims that fail meanwhile.
    fn hold(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        if !self.held {
            self.held = true;
            ctx.run_later(pause, |this, ctx| {
                this.held = false;
                this.schedule(ctx);
            });
        }
    }

    /// Keeps ready tasks that could not be claimed now.
    fn keep(&mut self, assigned: Vec<Assignment>, deferred: Vec<TaskId>) {
        if !deferred.is_empty() {
            let deferred: HashSet<TaskId> = deferred.into_iter().collect();
            let kept = assigned.into_iter().map(|assignment| assignment.task);
            kept.filter(|task| deferred.contains(&task.id))
                .for_each(|task| self.lanes.push(task));
        }
    }
}

/// Claims tasks, and delivers them to their bots.
async fn carry_out(assigned: Vec<Assignment>, ledger: Ledger, dispatcher: Arc<Dispatcher>) {
    let claim = |assignment: &Assignment| Claim {
        task: assignment.task.id,
        bot: assignment.bot.clone(),
        lease: LeaseToken::new(),
        incarnation: assignment.incarnation,
        expires_after: dispatcher.table().lease_of(&assignment.bot),
        stands_in_for: dispatcher
            .table()
            .stands_in_for(&assignment.bot, &assignment.task.demand),
    };
    let claims: Vec<Claim> = assigned.iter().map(claim).collect();
    let (tasks, outcome) = match ledger.apply(ClaimTasks(claims.clone())).await {
        Ok(claimed) => (claimed.tasks, Ok(claimed.deferred)),
        Err(error) => {
            if matches!(error, StoreError::Unknown) {
                tokio::spawn(give_back_unknown(claims, ledger));
            }
            (Vec::new(), Err(error))
        }
    };
    failpoint::hit("after_claim_before_run");
    let count = tasks.len();
    let mut tasks = tasks.into_iter().peekable();
    let (mut claimed, mut lost) = (Vec::with_capacity(count), Vec::new());
    for assignment in &assigned {
        // The answer keeps the order of the claims.
        match tasks.next_if(|claimed| claimed.task.id == assignment.task.id) {
            Some(task) => claimed.push(task),
            // The task could no longer be claimed.
            None => lost.push((assignment.bot.clone(), assignment.incarnation)),
        }
    }
    dispatcher.table().release(lost);
    dispatcher.deliver(claimed);
    dispatcher.settle(Settled {
        assigned,
        outcome,
        count,
    });
}

/// Gives tasks back. While the store does not accept this, they wait at the dispatcher.
async fn give_back(tasks: Vec<ClaimedTask>, ledger: Ledger, dispatcher: Arc<Dispatcher>) {
    let reports = tasks
        .iter()
        .map(|claimed| AttemptReport::given_back(claimed, "its bot could not take it"))
        .collect();
    let command = FinishAttempts(reports);
    if let Err(error) = ledger.apply_deferred(command).await {
        tracing::warn!(%error, "tasks could not be given back; retrying");
        dispatcher.keep(tasks);
    }
}

/// Gives back the tasks of claims that may have been committed: no bot has them. Retries until
/// the store accepts; after [`GIVE_BACK_TRIES`] the next start of its writer does it.
async fn give_back_unknown(claims: Vec<Claim>, ledger: Ledger) {
    for _ in 0..GIVE_BACK_TRIES {
        match try_give_back(&claims, &ledger).await {
            Ok(given_back) => {
                tracing::warn!(
                    claims = claims.len(),
                    given_back,
                    "claims of unknown outcome settled"
                );
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "claims of unknown outcome could not be settled; retrying");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
    tracing::warn!(
        claims = claims.len(),
        "claims of unknown outcome could not be settled; the next start of the store's writer gives them back"
    );
}

/// Ends the attempts that began with these leases, and no others. Returns the number of ended
/// attempts.
async fn try_give_back(claims: &[Claim], ledger: &Ledger) -> Result<usize, StoreError> {
    let mut reports = Vec::new();
    for claim in claims {
        let Some(task) = ledger.task(claim.task).await? else {
            continue;
        };
        let claimed = ClaimedTask {
            task,
            bot: claim.bot.clone(),
            incarnation: claim.incarnation,
            lease: claim.lease,
        };
        let reason = "the store's writer ended while the task was claimed";
        reports.push(AttemptReport::given_back(&claimed, reason));
    }
    let outcomes = ledger.apply_deferred(FinishAttempts(reports)).await?;
    let ended = outcomes.iter().filter(|end| **end != ReportAck::Stale);
    Ok(ended.count())
}

#[cfg(test)]
mod tests {
    use deia_ledger::{
        Submit,
        store::{SqliteOptions, SqliteStore},
    };
    use deia_model::{NewTask, Role, TaskStatus};

    use super::*;

    #[tokio::test]
    async fn claims_of_unknown_outcome_give_back_their_own_leases_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteOptions::for_tests(dir.path())).unwrap();
        let ledger: Ledger = Arc::new(store);
        let _serving = ledger.serve().unwrap();
        let submit = Submit {
            tasks: vec![NewTask::new("general".parse().unwrap(), "x"); 3],
            submitter: "ada".into(),
            role: Role::Operator,
            idempotency: None,
        };
        let submission = ledger.apply(submit).await.unwrap();
        let [committed, lost, anothers] = [0, 1, 2].map(|n| Claim {
            task: submission.tasks[n].id,
            bot: "b".parse().unwrap(),
            lease: LeaseToken::new(),
            incarnation: 1,
            expires_after: None,
            stands_in_for: None,
        });
        let other = Claim {
            lease: LeaseToken::new(),
            ..anothers.clone()
        };
        let claim = ClaimTasks(vec![committed.clone(), other]);
        assert_eq!(ledger.apply(claim).await.unwrap().tasks.len(), 2);
        let unknown = [committed.clone(), lost.clone(), anothers.clone()];
        assert_eq!(try_give_back(&unknown, &ledger).await.unwrap(), 1);
        for (claim, status) in [
            (committed, TaskStatus::Queued),
            (lost, TaskStatus::Queued),
            (anothers, TaskStatus::Running),
        ] {
            let task = ledger.task(claim.task).await.unwrap().unwrap();
            assert_eq!((task.status, task.failures), (status, 0));
        }
        ledger.close().await;
    }
}
