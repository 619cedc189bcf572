//! Makes the bots that run those that are wanted: compares, and starts or stops
//! what differs, whenever something changed and from time to time.

use std::{collections::HashSet, time::Duration};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_supervision::{Context, Event, EventKind, Received};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    bot::CancelTask,
    lifecycle::{LauncherDeps, start_bot, stop_bot},
    news::news_of,
    reconcile::{Step, reconcile},
};
use crate::{
    ledger::{Command, StoreError},
    model::{AttemptEnd, BotName, BotRecord, TaskId},
};

/// How often is compared even when nobody told of a change.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

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
            let present: HashSet<String> = deps
                .bots
                .which_children()
                .await
                .into_iter()
                .map(|child| child.name.to_string())
                .collect();
            Ok::<_, StoreError>((wanted, present))
        };
        ctx.spawn(reading.into_actor(self).map(|read, this, ctx| {
            this.comparing = false;
            match read {
                Ok((wanted, present)) => this.compared(&wanted, &present, ctx),
                Err(error) => tracing::warn!(%error, "the bots could not be read"),
            }
            if std::mem::take(&mut this.again) {
                this.compare(ctx);
            }
        }));
    }

    fn compared(
        &mut self,
        wanted: &[BotRecord],
        present: &HashSet<String>,
        ctx: &mut Context<Self>,
    ) {
        let running = {
            let mut managed = self.deps.managed.lock();
            managed.retain(|name, _| present.contains(name.as_str()) || self.busy.contains(name));
            managed
                .iter()
                .map(|(name, managed)| (name.clone(), managed.generation))
                .collect()
        };
        for step in reconcile(wanted, &running, &self.busy) {
            let (name, start) = match step {
                Step::Start(name) | Step::Replace(name) => (name, true),
                Step::Stop(name) => (name, false),
            };
            let record = wanted.iter().find(|bot| start && bot.name == name).cloned();
            self.carry_out(name, record, ctx);
        }
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
        let quarantined = matches!(event.kind, EventKind::Quarantined { .. });
        let Some(news) = news_of(&event.kind, &name, &card) else {
            return;
        };
        let ledger = self.deps.ledger.clone();
        ctx.spawn(
            async move {
                if quarantined {
                    // What waited in its mailbox; what it had in hand is back already.
                    let reason = "its bot went down for good".to_owned();
                    let (bots, end) = (vec![name], AttemptEnd::GivenBack);
                    ledger
                        .apply(Command::GiveBack { bots, end, reason })
                        .await?;
                }
                ledger.apply(Command::Record(vec![news])).await
            }
            .into_actor(self)
            .map(|outcome, _, _| {
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
        let managed = self.deps.managed.lock().get(&cancelled.bot).cloned();
        if let Some(managed) = managed
            && managed.handle.tell(CancelTask(cancelled.task)).is_err()
        {
            tracing::warn!(bot = %cancelled.bot, task = %cancelled.task, "the bot did not take a cancellation");
        }
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
