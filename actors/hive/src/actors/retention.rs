//! Forgets what is past its time: tasks that ended long ago, with their
//! results, the answers to idempotency keys, and events.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, CommandLog, Ledger, Prune, PruneEvents, Pruned, StoreError};
use deia_model::{TaskId, Timestamp};
use deia_supervision::Context;

use super::bots::Outputs;

/// How often some thousands of tasks are looked at that are all to be kept.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to rest when all have been looked at.
const REST: Duration = Duration::from_secs(10);
/// Tasks forgotten in one command: it must not keep the others waiting.
const FORGET_MAX: usize = 500;
/// Events forgotten in one command.
const EVENTS_MAX: u32 = 2_000;
/// Tasks forgotten in one command while the disk is full: each takes room in the log
/// before it makes some.
const FORGET_ON_FULL_DISK: usize = 8;

/// How much of the event log is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventLimits {
    /// How long.
    pub(crate) retention: Duration,
    /// How many bytes, about.
    pub(crate) max_bytes: u64,
}

/// Forgets what is past its time, in small steps.
pub(crate) struct Retention {
    ledger: Ledger,
    outputs: Outputs,
    events: EventLimits,
    /// Where to look on.
    from: i64,
    /// Tasks forgotten in one command.
    at_once: usize,
}

impl Retention {
    pub(crate) fn new(ledger: Ledger, outputs: Outputs, events: EventLimits) -> Self {
        Self {
            ledger,
            outputs,
            events,
            from: i64::MIN,
            at_once: FORGET_MAX,
        }
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        let (ledger, outputs) = (self.ledger.clone(), self.outputs.clone());
        let (from, at_once, events) = (self.from, self.at_once, self.events);
        let looking = async move {
            let swept = sweep(&ledger, &outputs, from, at_once).await?;
            if swept.next.is_none() {
                forget_events(&ledger, events).await?;
            }
            Ok(swept)
        };
        ctx.spawn(looking.into_actor(self).map(|swept, this, ctx| {
            let wait = match swept {
                Ok(Swept {
                    next: Some(next),
                    some,
                }) => {
                    this.from = next;
                    // As long as there is something to forget it must not fall behind.
                    match some {
                        true => Duration::ZERO,
                        false => LOOK_EVERY,
                    }
                }
                Ok(Swept { next: None, .. }) => {
                    this.from = i64::MIN;
                    this.at_once = FORGET_MAX;
                    REST
                }
                Err(StoreError::Full(_)) => {
                    this.at_once = FORGET_ON_FULL_DISK;
                    LOOK_EVERY
                }
                Err(error) => {
                    tracing::debug!(%error, "nothing could be forgotten; tried again");
                    REST
                }
            };
            ctx.run_later(wait, Self::step);
        }));
    }
}

/// What came of a look.
struct Swept {
    /// Where to look on; `None`: all that is old enough was looked at.
    next: Option<i64>,
    /// True if there was something to forget.
    some: bool,
}

/// Forgets what is past its time among the next tasks, and at the end of a round
/// all idempotency keys past theirs.
async fn sweep(
    ledger: &Ledger,
    outputs: &Outputs,
    from: i64,
    at_once: usize,
) -> Result<Swept, StoreError> {
    let found = ledger.prunable(from).await?;
    let mut forgotten = 0;
    for tasks in found.tasks.chunks(at_once) {
        forgotten += forget(&**ledger, outputs, tasks.to_vec())
            .await?
            .tasks
            .len();
    }
    if found.next.is_none() {
        while forget(&**ledger, outputs, Vec::new()).await?.more_keys {}
    }
    if forgotten > 0 {
        tracing::info!(tasks = forgotten, "forgot tasks past their retention");
    }
    Ok(Swept {
        next: found.next,
        some: forgotten > 0,
    })
}

/// Forgets events that are past their retention, or beyond what the log may take.
async fn forget_events(ledger: &Ledger, limits: EventLimits) -> Result<(), StoreError> {
    let log = ledger.event_log().await?;
    let kept = u64::try_from(limits.retention.as_millis()).unwrap_or(u64::MAX);
    let old = ledger
        .last_event_before(Timestamp::now().minus_millis(kept))
        .await?;
    let over = log.over(limits.max_bytes);
    let upto = old.max(over);
    let mut forgotten = 0;
    loop {
        let step = PruneEvents {
            upto,
            max: EVENTS_MAX,
        };
        match ledger.apply(step).await? {
            0 => break,
            n => forgotten += n,
        }
    }
    if over > old {
        tracing::warn!(
            events = forgotten,
            "the event log is longer than it may be: events were forgotten before their time (events.max_bytes)"
        );
    } else if forgotten > 0 {
        tracing::info!(events = forgotten, "forgot events past their retention");
    }
    Ok(())
}

/// Forgets tasks, and removes what they had put out into files. A file that
/// stays behind goes with the next start. On a disk so full that not even that can
/// be committed the files go first: they are past their time.
async fn forget(
    ledger: &dyn CommandLog,
    outputs: &Outputs,
    tasks: Vec<TaskId>,
) -> Result<Pruned, StoreError> {
    let prune = Prune {
        tasks: tasks.clone(),
    };
    let pruned = match ledger.apply(prune).await {
        Ok(pruned) => pruned,
        Err(error) => {
            if matches!(error, StoreError::Full(_)) {
                remove_outputs(outputs, tasks).await;
            }
            return Err(error);
        }
    };
    remove_outputs(outputs, pruned.tasks.clone()).await;
    Ok(pruned)
}

async fn remove_outputs(outputs: &Outputs, tasks: Vec<TaskId>) {
    if tasks.is_empty() {
        return;
    }
    let outputs = outputs.clone();
    let removing = move || {
        for task in tasks {
            if let Err(error) = outputs.remove(task) {
                tracing::warn!(%task, %error, "an output file could not be removed");
            }
        }
    };
    if tokio::task::spawn_blocking(removing).await.is_err() {
        tracing::warn!("removing output files broke off");
    }
}

impl Actor for Retention {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(LOOK_EVERY, Self::step);
    }
}
