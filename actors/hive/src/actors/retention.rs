//! Forgets what is past its time: tasks that ended long ago, with their
//! results, and the answers to idempotency keys.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_supervision::Context;

use super::bots::Outputs;
use crate::{
    ledger::{Command, Ledger, Outcome, StoreError},
    model::TaskId,
};

/// How often some thousands of tasks are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to rest when all have been looked at.
const REST: Duration = Duration::from_secs(10);
/// Tasks forgotten in one command: it must not keep the others waiting.
const FORGET_MAX: usize = 500;

/// Forgets what is past its time, in small steps.
pub(crate) struct Retention {
    ledger: Ledger,
    outputs: Outputs,
    /// Where to look on.
    from: i64,
}

impl Retention {
    pub(crate) fn new(ledger: Ledger, outputs: Outputs) -> Self {
        Self {
            ledger,
            outputs,
            from: i64::MIN,
        }
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        let (ledger, outputs, from) = (self.ledger.clone(), self.outputs.clone(), self.from);
        let looking = async move { sweep(&ledger, &outputs, from).await };
        ctx.spawn(looking.into_actor(self).map(|swept, this, ctx| {
            let wait = match swept {
                Ok(Some(next)) => {
                    this.from = next;
                    LOOK_EVERY
                }
                Ok(None) => {
                    this.from = i64::MIN;
                    REST
                }
                Err(error) => {
                    // On a full disk nothing can be forgotten either; the caller of a write is told.
                    tracing::debug!(%error, "nothing could be forgotten; tried again");
                    REST
                }
            };
            ctx.run_later(wait, Self::step);
        }));
    }
}

/// Forgets what is past its time among the next tasks; where to look on.
async fn sweep(ledger: &Ledger, outputs: &Outputs, from: i64) -> Result<Option<i64>, StoreError> {
    let found = ledger.prunable(from).await?;
    let mut forgotten = 0;
    for tasks in found.tasks.chunks(FORGET_MAX) {
        forgotten += forget(ledger, outputs, tasks.to_vec()).await?;
    }
    if found.next.is_none() {
        // Idempotency keys are forgotten with every command; once a round at least.
        forget(ledger, outputs, Vec::new()).await?;
    }
    if forgotten > 0 {
        tracing::info!(tasks = forgotten, "forgot tasks past their retention");
    }
    Ok(found.next)
}

/// Forgets tasks, and removes what they had put out into files. A file that
/// stays behind goes with the next start.
async fn forget(
    ledger: &Ledger,
    outputs: &Outputs,
    tasks: Vec<TaskId>,
) -> Result<usize, StoreError> {
    let gone = match ledger.apply(Command::Prune { tasks }).await? {
        Outcome::Pruned(gone) => gone,
        other => return Err(StoreError::Failed(format!("answered with {other:?}"))),
    };
    let (n, outputs) = (gone.len(), outputs.clone());
    let removing = move || {
        for task in gone {
            if let Err(error) = outputs.remove(task) {
                tracing::warn!(%task, %error, "an output file could not be removed");
            }
        }
    };
    if n > 0 && tokio::task::spawn_blocking(removing).await.is_err() {
        tracing::warn!("removing output files broke off");
    }
    Ok(n)
}

impl Actor for Retention {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(LOOK_EVERY, Self::step);
    }
}
