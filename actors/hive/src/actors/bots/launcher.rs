//! Makes the bots that run those that are wanted: compares, and starts or stops
//! what differs, whenever something changed and from time to time.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_supervision::{ChildInfo, ChildState, Context, Event, EventKind, Received};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    bot::{CancelTask, Drain},
    lifecycle::{LauncherDeps, start_bot, stop_bot},
    news::news_of,
    reconcile::{Running, Step, reconcile},
};
use crate::{
    ledger::{Command, StoreError},
    model::{AttemptEnd, BotName, BotRecord, TaskId},
};

/// How often is compared even when nobody told of a change.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// What is there, as far as the tree and the store know.
struct Seen {
    children: Vec<ChildInfo>,
    with_tasks: Vec<BotName>,
    cancelling: Vec<(TaskId, BotName)>,
}

/// Makes the bots that run those that are wanted.
pub(crate) struct Launcher {
    deps: LauncherDeps,
    busy: HashSet<BotName>,
    comparing: bool,
    again: bool,
    stopping: bool,
}

impl Launcher {
    pub(crate) fn new(deps: LauncherDeps) -> Self {
        Self {
            deps,
            busy: HashSet::new(),
            comparing: false,
            again: false,
            stopping: false,
        }
    }

    /// Reads what is wanted and what runs. One at a time; a call meanwhile is made up for.
    fn compare(&mut self, ctx: &mut Context<Self>) {
        if self.comparing || self.stopping {
            self.again = self.comparing;
            return;
        }
        self.comparing = true;
        let deps = self.deps.clone();
        let reading = async move {
            let wanted = deps.ledger.bots().await?;
            let seen = Seen {
                children: deps.bots.which_children().await,
                with_tasks: deps.ledger.bots_with_running_tasks().await?,
                cancelling: deps.ledger.cancelling().await?,
            };
            Ok::<_, StoreError>((wanted, seen))
        };
        ctx.spawn(reading.into_actor(self).map(|read, this, ctx| {
            this.comparing = false;
            match read {
                Ok((wanted, seen)) => this.compared(&wanted, seen, ctx),
                Err(error) => tracing::warn!(%error, "the bots could not be read"),
            }
            if std::mem::take(&mut this.again) {
                this.compare(ctx);
            }
        }));
    }

    fn compared(&mut self, wanted: &[BotRecord], seen: Seen, ctx: &mut Context<Self>) {
        let present: HashSet<&str> = seen.children.iter().map(|child| &*child.name).collect();
        let running: HashMap<BotName, Running> = {
            let mut managed = self.deps.managed.lock();
            managed.retain(|name, _| present.contains(name.as_str()) || self.busy.contains(name));
            managed
                .iter()
                .map(|(name, managed)| {
                    let running = Running {
                        generation: managed.generation,
                        draining: self.deps.board.card(name).draining(),
                    };
                    (name.clone(), running)
                })
                .collect()
        };
        self.take_back(&running, &seen, ctx);
        for (task, bot) in &seen.cancelling {
            // Told before, most likely; a bot that knows does nothing.
            self.cancel(*task, bot);
        }
        for step in reconcile(wanted, &running, &seen.with_tasks, &self.busy) {
            match step {
                Step::Start(name) | Step::Replace(name) => {
                    let record = wanted.iter().find(|bot| bot.name == name).cloned();
                    self.carry_out(name, record, ctx);
                }
                Step::Stop(name) => self.carry_out(name, None, ctx),
                Step::Drain(name) => self.drain(&name, ctx),
                Step::Drained(name) => self.drained(name, ctx),
                Step::Resume(name) => self.deps.board.card(&name).set_draining(false),
            }
        }
    }

    /// Gives back what is with bots that do not work, should an earlier try have failed.
    fn take_back(&self, running: &HashMap<BotName, Running>, seen: &Seen, ctx: &mut Context<Self>) {
        let down = |name: &BotName| {
            let child = seen
                .children
                .iter()
                .find(|child| *child.name == *name.as_str());
            let state = child.map(|child| child.state);
            if state == Some(ChildState::Quarantined) {
                self.deps.board.card(name).quarantined();
            }
            let idle = [ChildState::Quarantined, ChildState::Suspended].map(Some);
            !running.contains_key(name) || idle.contains(&state)
        };
        let bots: Vec<BotName> = seen
            .with_tasks
            .iter()
            .filter(|name| !self.busy.contains(*name) && down(name))
            .cloned()
            .collect();
        if !bots.is_empty() {
            let ledger = self.deps.ledger.clone();
            let reason = "its bot does not work".to_owned();
            let end = AttemptEnd::GivenBack;
            let giving = async move { ledger.apply(Command::GiveBack { bots, end, reason }).await };
            ctx.spawn(giving.into_actor(self).map(|outcome, _, _| {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "tasks could not be given back; tried again");
                }
            }));
        }
    }

    fn cancel(&self, task: TaskId, bot: &BotName) {
        let managed = self.deps.managed.lock().get(bot).cloned();
        if let Some(managed) = managed
            && managed.handle.tell(CancelTask(task)).is_err()
        {
            tracing::warn!(%bot, %task, "the bot did not take a cancellation; told again");
        }
    }

    /// Tells a bot to take nothing new, and compares when it has nothing in hand.
    fn drain(&self, name: &BotName, ctx: &mut Context<Self>) {
        self.deps.board.card(name).set_draining(true);
        let Some(managed) = self.deps.managed.lock().get(name).cloned() else {
            return;
        };
        let (done, drained) = oneshot::channel();
        // It will be told again should it have no room.
        if managed.handle.tell(Drain(done)).is_ok() {
            ctx.spawn(drained.into_actor(self).map(|drained, this, ctx| {
                if drained.is_ok() {
                    this.compare(ctx);
                }
            }));
        }
    }

    /// Has it recorded that a bot is stopped now; the store tells when it is.
    fn drained(&self, name: BotName, ctx: &mut Context<Self>) {
        let ledger = self.deps.ledger.clone();
        let recording = async move { ledger.apply(Command::Drained(name)).await };
        ctx.spawn(recording.into_actor(self).map(|outcome, _, _| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "a drained bot could not be stopped; tried again");
            }
        }));
    }

    /// Stops what runs of a bot, then starts what is wanted of it.
    fn carry_out(&mut self, name: BotName, start: Option<BotRecord>, ctx: &mut Context<Self>) {
        self.busy.insert(name.clone());
        let deps = self.deps.clone();
        let working = async move {
            let running = deps.managed.lock().get(&name).cloned();
            if let Some(running) = running {
                stop_bot(&deps, &name, &running).await;
                deps.managed.lock().remove(&name);
            }
            if let Some(record) = &start {
                start_bot(&deps, record).await;
            }
            name
        };
        ctx.spawn(working.into_actor(self).map(|name, this, ctx| {
            this.busy.remove(&name);
            // What was wanted may have changed meanwhile.
            this.compare(ctx);
        }));
    }

    fn follow(&mut self, ctx: &mut Context<Self>) {
        let Some(tree) = self.deps.tree.get() else {
            return;
        };
        let events = tree.subscribe();
        let stream = futures_util::stream::unfold(events, |mut events| async move {
            Some((events.recv().await?, events))
        });
        ctx.add_stream(stream);
        self.compare(ctx);
    }

    /// Puts what happened to a bot into the event log and on its card.
    fn note(&mut self, event: &Event, ctx: &mut Context<Self>) {
        let bots = format!("{}/", self.deps.bots.path());
        let Some(name) = event
            .path
            .strip_prefix(&bots)
            .and_then(|name| name.parse::<BotName>().ok())
        else {
            return;
        };
        let card = self.deps.board.card(&name);
        let out_of_work = matches!(
            event.kind,
            EventKind::Quarantined { .. } | EventKind::Suspended
        );
        let news = news_of(&event.kind, &name, &card);
        let ledger = self.deps.ledger.clone();
        ctx.spawn(
            async move {
                if out_of_work {
                    // What waited in its mailbox; what it had in hand is back already.
                    let reason = "its bot does not work".to_owned();
                    let (bots, end) = (vec![name], AttemptEnd::GivenBack);
                    ledger
                        .apply_when_there_is_room(Command::GiveBack { bots, end, reason })
                        .await?;
                }
                match news {
                    Some(news) => {
                        let command = Command::Record(vec![news]);
                        ledger.apply_when_there_is_room(command).await.map(drop)
                    }
                    None => Ok(()),
                }
            }
            .into_actor(self)
            .map(|outcome: Result<(), StoreError>, _, _| {
                if let Err(error) = outcome {
                    tracing::error!(%error, "what happened to a bot could not be recorded");
                }
            }),
        );
    }
}

impl Actor for Launcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.follow(ctx);
        ctx.run_interval(COMPARE_EVERY, Self::compare);
    }
}

impl actix::StreamHandler<Received> for Launcher {
    fn handle(&mut self, received: Received, ctx: &mut Self::Context) {
        match received {
            Received::Event(event) => self.note(&event, ctx),
            Received::Lagged(missed) => tracing::warn!(missed, "events of bots were missed"),
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

/// The tree is up: follow what happens in it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Follow;

impl Handler<Follow> for Launcher {
    type Result = ();

    fn handle(&mut self, _: Follow, ctx: &mut Self::Context) {
        self.follow(ctx);
    }
}

/// What is wanted has changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BotsChanged;

impl Handler<BotsChanged> for Launcher {
    type Result = ();

    fn handle(&mut self, _: BotsChanged, ctx: &mut Self::Context) {
        self.compare(ctx);
    }
}

/// A running task was called off.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TaskCancelled {
    pub(crate) task: TaskId,
    pub(crate) bot: BotName,
}

impl Handler<TaskCancelled> for Launcher {
    type Result = ();

    fn handle(&mut self, cancelled: TaskCancelled, _: &mut Self::Context) {
        self.cancel(cancelled.task, &cancelled.bot);
    }
}

/// The hive is stopping: end all bots.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopEverything(pub(crate) oneshot::Sender<()>);

impl Handler<StopEverything> for Launcher {
    type Result = ();

    fn handle(&mut self, StopEverything(done): StopEverything, ctx: &mut Self::Context) {
        self.stopping = true;
        let deps = self.deps.clone();
        let managed: Vec<_> = self.deps.managed.lock().drain().collect();
        let stopping = async move {
            join_all(
                managed
                    .iter()
                    .map(|(name, managed)| stop_bot(&deps, name, managed)),
            )
            .await;
            // Nobody may wait for it any more.
            let _ = done.send(());
        };
        ctx.spawn(stopping.into_actor(self));
    }
}
