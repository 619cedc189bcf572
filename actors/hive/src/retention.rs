//! Forgets records that are past their time: tasks that ended long ago, with their results, the
//! answers to idempotency keys, and events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, CommandLog, Ledger, Prune, PruneEvents, Pruned, StoreError};
use deia_model::{TaskId, Timestamp};
use deia_supervision::{Context, StartError, child};

use crate::{
    bots::Outputs,
    config::Settings,
    lifecycle::Lifecycle,
    subsystem::{Deps, TreeBuilder},
};

/// Interval between scans of some thousands of tasks if all are kept. Fixed: short enough
/// that nobody waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after all tasks have been scanned. Fixed: bounds one step, so that others get
/// their turn; the whole has no limit here.
const REST: Duration = Duration::from_secs(10);
/// Maximum number of tasks forgotten in one command, which must not delay the others.
/// Fixed: bounds one step, so that others get their turn; the whole has no limit here.
const FORGET_MAX: usize = 500;
/// Maximum number of events forgotten in one command. Fixed: bounds one step, so that
/// others get their turn; the whole has no limit here.
const EVENTS_MAX: u32 = 2_000;
/// Maximum number of events forgotten in one command while the disk is full. Fixed:
/// bounds one step, so that others get their turn; the whole has no limit here.
const EVENTS_ON_FULL_DISK: u32 = 64;
/// Minimum pause after each such command. Fixed: bounds one step, so that others get
/// their turn; the whole has no limit here.
const EVENTS_PAUSE: Duration = Duration::from_millis(10);
/// Maximum number of tasks forgotten in one command while the disk is full: each takes room in the
/// log before it frees some. Fixed: bounds one step, so that others get their turn; the whole has
/// no limit here.
const FORGET_ON_FULL_DISK: usize = 8;

/// Adds the actor to the tree.
pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder, outputs: &Outputs) {
    let (ledger, outputs) = (deps.ledger.clone(), outputs.clone());
    let lifecycle = deps.lifecycle.clone();
    let settings = deps.settings.clone();
    let (spec, _) = child("retention", move || {
        let settings = settings.clone();
        let built = Retention::new(ledger.clone(), outputs.clone(), lifecycle.clone(), settings);
        async move { Ok::<_, StartError>(built) }
    });
    tree.core(spec);
}

/// Limits of the event log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventLimits {
    /// Time for which events are kept.
    pub(crate) retention: Duration,
    /// Approximate size in bytes up to which events are kept.
    pub(crate) max_bytes: u64,
}

/// Forgets records that are past their time, in small steps.
pub(crate) struct Retention {
    ledger: Ledger,
    outputs: Outputs,
    lifecycle: Arc<Lifecycle>,
    settings: Settings,
    /// Position at which the next scan of the tasks continues.
    from: i64,
    /// Number of tasks forgotten in one command.
    at_once: usize,
    /// Number of events forgotten in one command.
    events_at_once: u32,
    /// True if it was logged that events are forgotten before their time.
    short_of_room: bool,
}

impl Retention {
    pub(crate) fn new(
        ledger: Ledger,
        outputs: Outputs,
        lifecycle: Arc<Lifecycle>,
        settings: Settings,
    ) -> Self {
        Self {
            ledger,
            outputs,
            lifecycle,
            settings,
            from: i64::MIN,
            at_once: FORGET_MAX,
            events_at_once: EVENTS_MAX,
            short_of_room: false,
        }
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        let (ledger, outputs) = (self.ledger.clone(), self.outputs.clone());
        let (from, at_once) = (self.from, self.at_once);
        let looking = async move { sweep(&ledger, &outputs, from, at_once).await };
        ctx.spawn(looking.into_actor(self).map(|swept, this, ctx| {
            let wait = match swept {
                Ok(Swept {
                    next: Some(next),
                    some,
                }) => {
                    this.from = next;
                    // While there are tasks to forget, this must not fall behind.
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

impl Retention {
    /// Forgets some events: at its own pace, independent of the tasks.
    fn step_of_events(&mut self, ctx: &mut Context<Self>) {
        let events = self.settings.get().events.clone();
        let limits = EventLimits {
            retention: events.retention,
            max_bytes: events.max_bytes.as_u64(),
        };
        let (ledger, max) = (self.ledger.clone(), self.events_at_once);
        let began = Instant::now();
        let forgetting = async move { forget_events(&ledger, limits, max).await };
        ctx.spawn(forgetting.into_actor(self).map(move |done, this, ctx| {
            let wait = match done {
                Ok(Forgotten { events: 0, held, .. }) => {
                    this.events_at_once = EVENTS_MAX;
                    this.short_of_room = false;
                    this.lifecycle.note_log(held);
                    if held {
                        tracing::error!(
                            "the event log is longer than it may be and waits for the audit trail: no tasks are accepted (events.max_bytes)"
                        );
                    }
                    REST
                }
                Ok(Forgotten { events, early, .. }) => {
                    if early && !this.short_of_room {
                        tracing::warn!(
                            "the event log is longer than it may be: events are forgotten before their time (events.max_bytes)"
                        );
                    }
                    this.lifecycle.note_log(false);
                    tracing::debug!(events, early, "forgot events");
                    this.short_of_room |= early;
                    // The pause lets callers through.
                    began.elapsed().max(EVENTS_PAUSE)
                }
                Err(StoreError::Full(_)) => {
                    this.events_at_once = EVENTS_ON_FULL_DISK;
                    LOOK_EVERY
                }
                Err(error) => {
                    tracing::debug!(%error, "no events could be forgotten; retrying");
                    REST
                }
            };
            ctx.run_later(wait, Self::step_of_events);
        }));
    }
}

/// Result of a scan.
struct Swept {
    /// Position at which to continue; `None`: all old tasks were scanned.
    next: Option<i64>,
    /// True if there were tasks to forget.
    some: bool,
}

/// Forgets the next tasks that are past their time, and at the end of a round all idempotency
/// keys past theirs.
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
        tracing::info!(tasks = forgotten, "deleted tasks past their retention");
    }
    Ok(Swept {
        next: found.next,
        some: forgotten > 0,
    })
}

/// Result of one step in forgetting events.
struct Forgotten {
    events: u64,
    /// True if events were forgotten for the size of the log, before their time.
    early: bool,
    /// True if the log is over its size and none could be forgotten.
    held: bool,
}

/// Forgets some events that are past their retention, or beyond the size of the log.
async fn forget_events(
    ledger: &Ledger,
    limits: EventLimits,
    max: u32,
) -> Result<Forgotten, StoreError> {
    let log = ledger.event_log().await?;
    let kept = u64::try_from(limits.retention.as_millis()).unwrap_or(u64::MAX);
    let old = ledger
        .last_event_before(Timestamp::now().minus_millis(kept))
        .await?;
    let over = log.over(limits.max_bytes);
    let upto = old.max(over);
    let events = match upto >= log.floor && log.floor > 0 {
        true => ledger.apply(PruneEvents { upto, max }).await?,
        false => 0,
    };
    Ok(Forgotten {
        events,
        early: over > old && events > 0,
        held: over >= log.floor && log.floor > 0 && over > 0 && events == 0,
    })
}

/// Forgets tasks, and removes the files of their outputs. A file that remains is removed by the
/// next start. On a disk so full that not even this can be committed the files are removed first:
/// they are past their time.
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
        tracing::warn!("removing output files was interrupted");
    }
}

impl Actor for Retention {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(LOOK_EVERY, Self::step);
        ctx.run_later(LOOK_EVERY, Self::step_of_events);
    }
}
