//! Makes the running bots match the wanted ones: compares them after every change and periodically,
//! and starts or stops those that differ.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_ledger::{Apply, Cancelling, NoteDrained, RecordEvents, StoreError};
use deia_model::{AttemptEnd, BotName, BotRecord, Timestamp};
use deia_supervision::{ChildInfo, ChildState, Context, Event, EventKind, Lagged};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    bot::{AttemptKey, CancelAttempt, Drain},
    clerk::Settling,
    lifecycle::{LauncherDeps, start_bot, stop_bot},
    log_event::log_event_of,
    reconcile::{Running, Step, reconcile},
};

/// Interval of comparisons when no change is reported.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// Delay before a bot that failed to start is started again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The bots as the tree and the store know them, read one after the other.
struct Seen {
    /// Time at which the first read began: attempts that started later are missing.
    since: Timestamp,
    wanted: Vec<BotRecord>,
    with_tasks: Vec<BotName>,
    /// Incarnations of the bots with tasks. An incarnation that is found down later has ended.
    incarnations: HashMap<BotName, u64>,
    cancelling: Vec<Cancelling>,
    /// Read last, so that a bot with tasks is judged by its present state.
    children: Vec<ChildInfo>,
}

/// Starts and stops bots until the running ones match the wanted ones.
pub(crate) struct Launcher {
    deps: LauncherDeps,
    /// Bots that are being started or stopped.
    busy: HashSet<BotName>,
    /// Bots that were busy at any time since the current comparison began: its reads may be older.
    touched: HashSet<BotName>,
    /// Bots with events since the current comparison began: their gauges are newer than its reads.
    noted: HashSet<BotName>,
    /// Bots that did not start or could not be removed, with the time until which they are left
    /// alone.
    resting: HashMap<BotName, Instant>,
    comparing: bool,
    again: bool,
}

impl Launcher {
    pub(crate) fn new(deps: LauncherDeps) -> Self {
        Self {
            deps,
            busy: HashSet::new(),
            touched: HashSet::new(),
            noted: HashSet::new(),
            resting: HashMap::new(),
            comparing: false,
            again: false,
        }
    }

    /// Starts a comparison. Comparisons do not overlap; a call meanwhile starts another one
    /// afterwards.
    fn compare(&mut self, ctx: &mut Context<Self>) {
        if self.comparing || self.deps.managed.are_stopping() {
            self.again = self.comparing;
            return;
        }
        self.comparing = true;
        self.touched = self.busy.clone();
        self.noted.clear();
        let deps = self.deps.clone();
        let reading = async move {
            let since = Timestamp::now();
            let wanted = read_wanted(&deps).await?;
            let with_tasks = deps.ledger.bots_with_running_tasks().await?;
            let incarnation =
                |name: &BotName| (name.clone(), deps.registry.gauges(name).incarnation());
            Ok::<_, StoreError>(Seen {
                since,
                wanted,
                incarnations: with_tasks.iter().map(incarnation).collect(),
                with_tasks,
                cancelling: deps.ledger.cancelling().await?,
                children: deps.bots.which_children().await,
            })
        };
        ctx.spawn(reading.into_actor(self).map(|read, this, ctx| {
            this.comparing = false;
            match read {
                Ok(seen) => this.compared(&seen, ctx),
                Err(error) => tracing::warn!(%error, "the bots could not be read"),
            }
            if std::mem::take(&mut this.again) {
                this.compare(ctx);
            }
        }));
    }

    /// Carries out the steps of a comparison. Bots that were started or stopped during its reads
    /// are left to the next one.
    fn compared(&mut self, seen: &Seen, ctx: &mut Context<Self>) {
        let present: HashSet<&str> = seen.children.iter().map(|child| &*child.name).collect();
        let running: HashMap<BotName, Running> = {
            let mut managed = self.deps.managed.lock();
            managed
                .retain(|name, _| present.contains(name.as_str()) || self.touched.contains(name));
            managed
                .iter()
                .map(|(name, managed)| {
                    let running = Running {
                        generation: managed.generation,
                        draining: self.deps.registry.gauges(name).draining(),
                    };
                    (name.clone(), running)
                })
                .collect()
        };
        self.note_parked(&seen.children);
        self.take_back(&running, seen, ctx);
        for cancelling in &seen.cancelling {
            // Most were reported before; a bot that knows of a cancellation ignores the message.
            self.cancel(cancelling);
        }
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let hands_off: HashSet<BotName> = self
            .touched
            .iter()
            .chain(self.resting.keys())
            .cloned()
            .collect();
        for step in reconcile(&seen.wanted, &running, &seen.with_tasks, &hands_off) {
            match step {
                Step::Start(name) | Step::Replace(name) => {
                    let record = seen.wanted.iter().find(|bot| bot.name == name).cloned();
                    self.carry_out(name, record, ctx);
                }
                Step::Stop(name) => self.carry_out(name, None, ctx),
                Step::Drain(name) => self.drain(&name, ctx),
                Step::Drained(name) => self.drained(name, ctx),
                Step::Resume(name) => self.deps.registry.gauges(&name).set_draining(false),
            }
        }
    }

    /// Notes which bots are suspended, by themselves or with their supervisor, which reports only
    /// itself.
    fn note_parked(&self, children: &[ChildInfo]) {
        for child in children {
            let Ok(name) = child.name.parse::<BotName>() else {
                continue;
            };
            if !self.touched.contains(&name) && !self.noted.contains(&name) {
                let gauges = self.deps.registry.gauges(&name);
                gauges.set_suspended(is_parked(child.state));
            }
        }
    }

    /// Gives back the tasks of bots that do not work: those of a suspended supervisor, and those
    /// for which an earlier attempt to do so failed.
    fn take_back(&self, running: &HashMap<BotName, Running>, seen: &Seen, ctx: &mut Context<Self>) {
        let down = |name: &BotName| {
            let child = seen
                .children
                .iter()
                .find(|child| *child.name == *name.as_str());
            let state = child.map(|child| child.state);
            if state == Some(ChildState::Quarantined) {
                self.deps.registry.gauges(name).quarantined();
            }
            let idle = |state| state == ChildState::Quarantined || is_parked(state);
            !running.contains_key(name) || state.is_some_and(idle)
        };
        let bots: Vec<BotName> = seen
            .with_tasks
            .iter()
            .filter(|name| !self.touched.contains(*name) && down(name))
            .cloned()
            .collect();
        for bot in bots {
            let (deps, since) = (self.deps.clone(), seen.since);
            let up_to = seen.incarnations.get(&bot).copied().unwrap_or_default();
            let giving = async move {
                let gauges = deps.registry.gauges(&bot);
                deps.clerk
                    .settle(Settling {
                        bot,
                        up_to,
                        gauges,
                        started_before: Some(since),
                        end: AttemptEnd::GivenBack,
                    })
                    .await
            };
            ctx.spawn(giving.into_actor(self).map(|given, _, _| {
                if let Err(error) = given {
                    tracing::warn!(%error, "tasks could not be given back; retrying within seconds");
                }
            }));
        }
    }

    fn cancel(&self, cancelling: &Cancelling) {
        let managed = self.deps.managed.lock().get(&cancelling.bot).cloned();
        let key = AttemptKey {
            task: cancelling.task,
            number: cancelling.attempt,
        };
        let words = cancelling.words.as_str().into();
        if let Some(managed) = managed
            && managed.handle.tell(CancelAttempt { key, words }).is_err()
        {
            let Cancelling { task, bot, .. } = cancelling;
            tracing::warn!(%bot, %task, "the bot's mailbox is full; resending the cancellation within seconds");
        }
    }

    /// Asks a bot to drain, and compares again once it has no tasks.
    fn drain(&self, name: &BotName, ctx: &mut Context<Self>) {
        self.deps.registry.gauges(name).set_draining(true);
        let Some(managed) = self.deps.managed.lock().get(name).cloned() else {
            return;
        };
        let (done, drained) = oneshot::channel();
        // If the mailbox is full, the next comparison asks again.
        if managed.handle.tell(Drain(done)).is_ok() {
            ctx.spawn(drained.into_actor(self).map(|drained, this, ctx| {
                if drained.is_ok() {
                    this.compare(ctx);
                }
            }));
        }
    }

    /// Records that a drained bot is stopped; the store reports the change.
    fn drained(&self, name: BotName, ctx: &mut Context<Self>) {
        let ledger = self.deps.ledger.clone();
        let recording = async move { ledger.apply(NoteDrained(name)).await };
        ctx.spawn(recording.into_actor(self).map(|outcome, _, _| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "a drained bot could not be stopped; retrying within seconds");
            }
        }));
    }

    /// Stops a bot, then starts it as it is wanted.
    fn carry_out(&mut self, name: BotName, start: Option<BotRecord>, ctx: &mut Context<Self>) {
        self.busy.insert(name.clone());
        self.touched.insert(name.clone());
        let deps = self.deps.clone();
        let working = async move {
            let running = deps.managed.lock().get(&name).cloned();
            if let Some(running) = running {
                if !stop_bot(&deps, &name, &running).await {
                    // Still in the tree: if forgotten, it would come back unseen.
                    return (name, false);
                }
                deps.managed.lock().remove(&name);
            }
            let started = match &start {
                Some(record) => start_bot(&deps, record).await,
                None => true,
            };
            (name, started)
        };
        ctx.spawn(working.into_actor(self).map(|(name, started), this, ctx| {
            this.busy.remove(&name);
            if !started {
                this.resting
                    .insert(name, Instant::now() + START_AGAIN_AFTER);
            }
            // The wanted state may have changed meanwhile.
            this.compare(ctx);
        }));
    }

    fn follow(&mut self, ctx: &mut Context<Self>) {
        let Some(tree) = self.deps.tree.get() else {
            return;
        };
        ctx.add_stream(tree.subscribe());
        self.compare(ctx);
    }

    /// Records an event of a bot in the event log and on its gauges.
    fn note(&mut self, event: &Event, ctx: &mut Context<Self>) {
        if *event.path == *self.deps.bots.path() {
            // The supervisor reports only itself, but all bots are concerned.
            self.resting.clear();
            return self.compare(ctx);
        }
        let bots = format!("{}/", self.deps.bots.path());
        let Some(name) = event
            .path
            .strip_prefix(&bots)
            .and_then(|name| name.parse::<BotName>().ok())
        else {
            return;
        };
        self.noted.insert(name.clone());
        let gauges = self.deps.registry.gauges(&name);
        let out_of_work = matches!(
            event.kind,
            EventKind::Quarantined { .. } | EventKind::Suspended { .. }
        );
        let log_event = log_event_of(&event.kind, &name, &gauges);
        let (ledger, clerk) = (self.deps.ledger.clone(), self.deps.clerk.clone());
        let settling = out_of_work.then(|| Settling {
            bot: name,
            up_to: gauges.incarnation(),
            gauges,
            started_before: Some(Timestamp::now()),
            end: AttemptEnd::GivenBack,
        });
        ctx.spawn(
            async move {
                if let Some(settling) = settling {
                    clerk.settle(settling).await?;
                }
                match log_event {
                    Some(log_event) => {
                        let command = RecordEvents(vec![log_event]);
                        ledger.apply_deferred(command).await.map(drop)
                    }
                    None => Ok(()),
                }
            }
            .into_actor(self)
            .map(|outcome: Result<(), StoreError>, _, _| {
                if let Err(error) = outcome {
                    tracing::error!(%error, "an event of a bot could not be recorded");
                }
            }),
        );
    }
}

/// Returns whether a child in that state stays down until it or its supervisor is resumed or
/// started again.
fn is_parked(state: ChildState) -> bool {
    matches!(state, ChildState::Suspended | ChildState::Declared)
}

/// Reads the wanted bots and reports them to the scheduler, before any of them is started.
async fn read_wanted(deps: &LauncherDeps) -> Result<Vec<BotRecord>, StoreError> {
    deps.bot_reads.begin_reading();
    let wanted = deps.ledger.bots().await?;
    deps.bot_reads.bots_read(&wanted);
    Ok(wanted)
}

impl Actor for Launcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.follow(ctx);
        ctx.run_interval(COMPARE_EVERY, Self::compare);
    }
}

impl actix::StreamHandler<Result<Event, Lagged>> for Launcher {
    fn handle(&mut self, received: Result<Event, Lagged>, ctx: &mut Self::Context) {
        match received {
            Ok(event) => self.note(&event, ctx),
            Err(Lagged { missed }) => {
                tracing::warn!(missed, "events of bots were missed by the launcher")
            }
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

/// Starts following the events of the tree, which is up.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Follow;

impl Handler<Follow> for Launcher {
    type Result = ();

    fn handle(&mut self, _: Follow, ctx: &mut Self::Context) {
        self.follow(ctx);
    }
}

/// Reports that the wanted bots have changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BotsChanged;

impl Handler<BotsChanged> for Launcher {
    type Result = ();

    fn handle(&mut self, _: BotsChanged, ctx: &mut Self::Context) {
        self.compare(ctx);
    }
}

/// Reports that a running task was cancelled.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TaskCancelled(pub(crate) Cancelling);

impl Handler<TaskCancelled> for Launcher {
    type Result = ();

    fn handle(&mut self, cancelled: TaskCancelled, _: &mut Self::Context) {
        self.cancel(&cancelled.0);
    }
}

/// Ends all bots, as the hive is stopping.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopEverything(pub(crate) oneshot::Sender<()>);

impl Handler<StopEverything> for Launcher {
    type Result = ();

    fn handle(&mut self, StopEverything(done): StopEverything, ctx: &mut Self::Context) {
        self.deps.managed.begin_stop();
        let deps = self.deps.clone();
        let managed: Vec<_> = self.deps.managed.lock().drain().collect();
        let stopping = async move {
            join_all(
                managed
                    .iter()
                    .map(|(name, managed)| stop_bot(&deps, name, managed)),
            )
            .await;
            // The caller may have been dropped.
            let _ = done.send(());
        };
        ctx.spawn(stopping.into_actor(self));
    }
}
