//! Makes the bots that run those that are wanted: compares, and starts or stops
//! what differs, whenever something changed and from time to time.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_supervision::{
    Backoff, Budget, ChildSpec, Context, DynamicSupervisor, Event, EventKind, Exhausted, Handle,
    Received, StartError, Tree, child,
};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    board::{Board, Card},
    bot::{BotActor, CancelTask, StopAll},
    command::CommandContext,
    guardian::Guardian,
    log::BotLog,
    reconcile::{Generation, Step, reconcile},
    work::Work,
};
use crate::{
    actors::scheduler::Scheduler,
    config::Config,
    ledger::{Command, Ledger, StoreError},
    model::{Action, AttemptEnd, BotName, BotRecord, CommandExecutor, Executor, NewEvent, TaskId},
};

/// How often is compared even when nobody told of a change.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// How long a bot may take to end its programs beyond their own grace.
const STOP_EXTRA: Duration = Duration::from_secs(5);

/// What the launcher, and every bot, works with.
#[derive(Clone)]
pub(crate) struct LauncherDeps {
    pub(crate) config: Arc<Config>,
    pub(crate) ledger: Ledger,
    pub(crate) scheduler: Handle<Scheduler>,
    pub(crate) bots: DynamicSupervisor,
    pub(crate) board: Board,
    pub(crate) guardian: Guardian,
    pub(crate) tree: Arc<OnceLock<Tree>>,
    pub(crate) managed: ManagedBots,
}

/// The bots that were started, kept where a new launcher finds them.
#[derive(Clone, Default)]
pub(crate) struct ManagedBots(Arc<Mutex<HashMap<BotName, Managed>>>);

impl ManagedBots {
    fn lock(&self) -> MutexGuard<'_, HashMap<BotName, Managed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the bots that run those that are wanted.
pub(crate) struct Launcher {
    deps: LauncherDeps,
    busy: HashSet<BotName>,
    comparing: bool,
    again: bool,
    stopping: bool,
}

/// A bot that was started.
#[derive(Clone)]
pub(crate) struct Managed {
    generation: Generation,
    handle: Handle<BotActor>,
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
                stop_bot(&deps, &name, &running.handle).await;
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

/// The event that tells of it, if any; what is seen goes onto the card.
fn news_of(kind: &EventKind, name: &BotName, card: &Card) -> Option<NewEvent> {
    let event = |action| NewEvent::new(action, "deia", name.as_str());
    match kind {
        EventKind::Started { .. } => Some(event(Action::BotStarted)),
        EventKind::Crashed { exit } => {
            card.crashed(exit.to_string());
            let details = serde_json::json!({"cause": exit.code(), "message": exit.message()});
            Some(event(Action::BotCrashed).failure().details(details))
        }
        EventKind::Restarted { incarnation } => {
            card.restarted();
            Some(event(Action::BotRestarted).details(serde_json::json!({"start": incarnation})))
        }
        EventKind::Quarantined { exit } => {
            card.quarantined();
            Some(
                event(Action::BotQuarantined)
                    .failure()
                    .details(serde_json::json!({"cause": exit.to_string()})),
            )
        }
        _ => None,
    }
}

async fn start_bot(deps: &LauncherDeps, record: &BotRecord) {
    deps.board.card(&record.name).launched();
    let (spec, handle) = bot_child(deps, record);
    let managed = Managed {
        generation: Generation::of(record),
        handle,
    };
    // Before it is up, so that a launcher that fails right here leaves it known.
    deps.managed.lock().insert(record.name.clone(), managed);
    if let Err(error) = deps.bots.start_child(spec).await {
        tracing::error!(bot = %record.name, %error, "the bot did not start; tried again");
        deps.board.card(&record.name).crashed(error.to_string());
        deps.managed.lock().remove(&record.name);
    }
}

/// Ends what the bot has in hand, then the bot.
async fn stop_bot(deps: &LauncherDeps, name: &BotName, handle: &Handle<BotActor>) {
    let (done, stopped) = oneshot::channel();
    // One that is down has nothing in hand and would not answer.
    if deps.board.observe(name).up && handle.tell(StopAll(done)).is_ok() {
        let limit = deps.config.bots.term_grace + STOP_EXTRA;
        if tokio::time::timeout(limit, stopped).await.is_err() {
            tracing::warn!(bot = %name, "the bot did not end its tasks in time and is killed");
        }
    }
    for ended in [
        deps.bots.terminate_child(name.as_str()).await,
        deps.bots.delete_child(name.as_str()).await,
    ] {
        if let Err(error) = ended {
            tracing::debug!(bot = %name, %error, "the bot was gone already");
        }
    }
    let reason = "its bot was stopped".to_owned();
    let command = Command::GiveBack {
        bots: vec![name.clone()],
        end: AttemptEnd::GivenBack,
        reason,
    };
    if let Err(error) = deps.ledger.apply(command).await {
        tracing::error!(bot = %name, %error, "tasks could not be given back");
    }
}

fn bot_child(deps: &LauncherDeps, record: &BotRecord) -> (ChildSpec, Handle<BotActor>) {
    let restart = deps.config.bots.restart;
    let (deps, record) = (deps.clone(), Arc::new(record.clone()));
    // One more than tasks and their messages can ever be under way.
    let mailbox = 16 + 4 * record.spec.capabilities.max_concurrent_tasks as usize;
    let name = record.name.clone();
    let (spec, handle) = child(name.as_str(), move || {
        build_bot(deps.clone(), record.clone())
    });
    let spec = spec
        .backoff(
            Backoff::new(restart.min, restart.max)
                .factor(2.0)
                .jitter(0.2)
                .reset_after(restart.period),
        )
        .budget(Budget::new(restart.restarts, restart.period))
        .on_exhausted(Exhausted::Quarantine)
        .mailbox(mailbox);
    (spec, handle)
}

/// Builds a bot. What an earlier start of it had in hand goes back to the queue first.
async fn build_bot(deps: LauncherDeps, record: Arc<BotRecord>) -> Result<BotActor, StartError> {
    let card = deps.board.card(&record.name);
    let epoch = card.begin_epoch();
    if epoch > 1 {
        let command = Command::GiveBack {
            bots: vec![record.name.clone()],
            end: AttemptEnd::BotDied,
            reason: format!("bot {} went down while working on it", record.name),
        };
        deps.ledger
            .apply(command)
            .await
            .map_err(StartError::failed)?;
    }
    let work = match &record.spec.executor {
        Executor::Command(spec) => Work::Command(Box::new(command_context(
            &deps,
            &record,
            spec.clone(),
            &card,
        ))),
        Executor::Simulated(simulated) => Work::simulated(simulated.profile()),
    };
    Ok(BotActor {
        name: record.name.clone(),
        epoch,
        capabilities: record.spec.capabilities.clone(),
        work,
        card,
        ledger: deps.ledger,
        scheduler: deps.scheduler,
        attempts: HashMap::new(),
        reports: Vec::new(),
        reporting: 0,
        stopped: None,
        crashed: false,
        at_end: AttemptEnd::BotDied,
    })
}

fn command_context(
    deps: &LauncherDeps,
    record: &BotRecord,
    spec: CommandExecutor,
    card: &Card,
) -> CommandContext {
    let config = &deps.config;
    CommandContext {
        spec,
        bot: record.name.clone(),
        port: record.port,
        hive_id: deps.ledger.hive_id(),
        work_dir: config.bot_work_dir(&record.name),
        max_output_bytes: config.tasks.max_output_bytes.as_u64(),
        term_grace: config.bots.term_grace,
        guardian: deps.guardian.clone(),
        log: BotLog::open(
            config.bot_log_path(&record.name),
            config.bots.log_max_bytes.as_u64(),
        ),
        pids: card.pids.clone(),
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
                    .map(|(name, managed)| stop_bot(&deps, name, &managed.handle)),
            )
            .await;
            // Nobody may wait for it any more.
            let _ = done.send(());
        };
        ctx.spawn(stopping.into_actor(self));
    }
}
