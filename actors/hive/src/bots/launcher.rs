//! Makes the running bots match the wanted ones: compares them after every change and periodically,
//! and starts or stops those that differ.

mod events;
mod fallbacks;
mod idle;
mod messages;

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, Cancelling, NoteDrained, StoreError};
use deia_model::{BotName, BotRecord, Timestamp};
use deia_supervision::{ChildInfo, Context};
use tokio::sync::oneshot;

pub(crate) use self::messages::{BotsChanged, Follow, StopEverything, TaskCancelled};
use super::{
    bot::{AttemptKey, CancelAttempt, Drain},
    fallback::Backed,
    lifecycle::{LauncherDeps, Managed, start_bot, stop_bot},
    reconcile::{Running, Step, reconcile},
};

/// The bots as the tree and the store know them, read one after the other.
struct Seen {
    /// Time at which the first read began: attempts that started later are missing.
    since: Timestamp,
    wanted: Vec<BotRecord>,
    /// Bots with tasks that end with them.
    with_tasks: Vec<BotName>,
    /// Bots with tasks of any kind: those of remote workers and services go on without the bot.
    at_work: Vec<BotName>,
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
    /// Bots that drain before they are replaced, with the time at which that began.
    replacing: HashMap<BotName, Instant>,
    /// Bots that did not start or could not be removed, with the time until which they are left
    /// alone.
    resting: HashMap<BotName, Instant>,
    /// The bots that have fallback bots.
    backed: Vec<Backed>,
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
            replacing: HashMap::new(),
            resting: HashMap::new(),
            backed: Vec::new(),
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
                at_work: deps.ledger.bots_with_attempts().await?,
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
                .map(|(name, managed)| (name.clone(), self.running(name, managed)))
                .collect()
        };
        self.note_parked(&seen.children);
        self.note_backed(&seen.wanted);
        self.look_for_fallbacks(ctx);
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
        for step in reconcile(&seen.wanted, &running, &seen.at_work, &hands_off) {
            match step {
                Step::Start(name) | Step::Replace(name) => {
                    let record = seen.wanted.iter().find(|bot| bot.name == name).cloned();
                    self.carry_out(name, record, ctx);
                }
                Step::Stop(name) => self.carry_out(name, None, ctx),
                Step::Drain(name) => self.drain(&name, ctx),
                Step::DrainToReplace(name) => self.drain_to_replace(&name, ctx),
                Step::Drained(name) => self.drained(name, ctx),
                Step::Resume(name) => self.deps.registry.gauges(&name).set_draining(false),
            }
        }
    }

    fn running(&self, name: &BotName, managed: &Managed) -> Running {
        let gauges = self.deps.registry.gauges(name);
        let waited = self.replacing.get(name).map(Instant::elapsed);
        let limit = self.deps.config().bots.replace_drain;
        Running {
            generation: managed.generation,
            draining: gauges.draining(),
            at_once: limit.is_zero()
                || gauges.is_replaced_at_once()
                || waited.is_some_and(|waited| waited >= limit),
        }
    }

    /// Asks a bot to drain that is to be replaced, and compares again at the limit.
    fn drain_to_replace(&mut self, name: &BotName, ctx: &mut Context<Self>) {
        if !self.replacing.contains_key(name) {
            tracing::info!(bot = %name, "the bot finishes its running tasks and is then replaced");
            self.replacing.insert(name.clone(), Instant::now());
            ctx.run_later(self.deps.config().bots.replace_drain, Self::compare);
        }
        self.drain(name, ctx);
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
        self.replacing.remove(&name);
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
            let started = match start {
                Some(record) => start_bot(&deps, record).await,
                None => true,
            };
            (name, started)
        };
        ctx.spawn(working.into_actor(self).map(|(name, started), this, ctx| {
            this.busy.remove(&name);
            if !started {
                let rest = this.deps.config().bots.start_again_after;
                this.resting.insert(name, Instant::now() + rest);
            }
            // The wanted state may have changed meanwhile.
            this.compare(ctx);
        }));
    }

    /// Compares after `bots.compare_every`, and again after the next.
    fn compare_later(&self, ctx: &mut Context<Self>) {
        ctx.run_later(self.deps.config().bots.compare_every, |this, ctx| {
            this.compare(ctx);
            this.compare_later(ctx);
        });
    }

    /// Looks for fallbacks after `bots.fallback_every`, and again after the next.
    fn look_for_fallbacks_later(&self, ctx: &mut Context<Self>) {
        ctx.run_later(self.deps.config().bots.fallback_every, |this, ctx| {
            this.look_for_fallbacks(ctx);
            this.look_for_fallbacks_later(ctx);
        });
    }
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
        self.compare_later(ctx);
        // A launcher that was restarted tells the scheduler again.
        let in_use = self.deps.fallbacks.get();
        let in_use = in_use.values().map(|out| out.fallback.clone());
        self.deps.bot_reads.fallbacks(in_use.collect());
        self.look_for_fallbacks_later(ctx);
    }
}
