//! How a hive comes up.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Instant,
};

use deia_ledger::{
    AddKey, Apply, CommandLog, Hint, Ledger, MarkRunning, PutBot, RecordEvents, RecoverAdmin,
    Refusal, SetDesired, StoreError,
    anchor::Anchor,
    store::{OpenError, SqliteStore},
};
use deia_model::{
    Action, AdminHold, ApiKey, BotDesired, KeyGrant, NewEvent, Role, Timestamp, admin_hold,
};
use deia_supervision::{Handle, StartError, Tree};
use tokio::sync::Notify;

use super::{
    DataDirError, FrontFactory, Hive, Inner, State,
    data_dir::{DataDir, write_secret},
    event_log_lines,
    health::CpuMeter,
    metrics::PartMetrics,
    probes::Probe,
    recover::ADMIN,
    restart::Restart,
    secrets,
    store_options::store_options,
    users::limits,
};
use crate::{
    HiveError,
    actors::{
        access::{AccessCaches, AccessClerk, KeysChanged, LoginsChanged},
        bots::{
            Board, BotsChanged, Follow, Outputs, TaskCancelled,
            guardian::{Guardian, GuardianProgram},
        },
        followers::Bell,
        ledger::write_or_leave_waiting,
        scheduler::{PausesChanged, TasksWaiting},
    },
    auth::{Denials, Issuers, Keyring, Logins},
    config::Config,
    guard,
    hive::{meter::FlowMeter, task_watch::TaskWatch},
    metrics::SupervisionMetrics,
    secrets::{SealingKeys, SecretResolver},
    statistics::Statistics,
    tree,
    tree::{Declared, Parts},
};

/// What keeps a hive from starting.
#[derive(Debug, thiserror::Error)]
pub enum HiveStartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store cannot be opened.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] OpenError),
    /// The store does not take what a start has to write.
    #[error("the store cannot be written: {0}")]
    Write(#[from] StoreError),
    /// A part did not start.
    #[error("{0}")]
    Part(#[from] StartError),
    /// The keys of the secret store cannot be read or made.
    #[error("{path}: the keys of the secret store cannot be used: {reason}")]
    SecretsKey {
        /// Path of the file with the keys.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Programs cannot be guarded.
    #[error("the guard of the bots' programs cannot be started: {0}")]
    Guard(std::io::Error),
    /// The first admin key cannot be made.
    #[error("{path}: the admin key cannot be written: {reason}")]
    AdminKey {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Hive {
    /// Starts a hive on the current actix system. Ready when this returns.
    ///
    /// # Errors
    /// What keeps it from starting: the data directory is in use or cannot be
    /// written, the store cannot be opened, a child of the tree fails to start.
    pub async fn start(mut config: Config, front: FrontFactory) -> Result<Self, HiveStartError> {
        let (started_at, started) = (Timestamp::now(), Instant::now());
        // Programs are started by runners, whose working directory is another.
        if let Ok(absolute) = std::path::absolute(&config.data_dir) {
            config.data_dir = absolute;
        }
        let data_dir = DataDir::open(&config.data_dir)?;
        let sealing = Arc::new(secrets::load_or_make(&config)?);
        let options = store_options(&config);
        let metrics = PartMetrics {
            store: options.metrics.clone(),
            scheduler: Arc::default(),
            supervision: SupervisionMetrics::default(),
            flow: Arc::default(),
        };
        let store = SqliteStore::open_unmigrated(options)?;
        let database = config.database_path();
        let database = Anchor::at(&database).map_err(|source| DataDirError::Io {
            path: database,
            source,
        })?;
        let (new, clean) = (store.is_new(), store.previous_shutdown_clean());
        let guardian = start_guardian(&config, data_dir.instance())
            .await
            .map_err(HiveStartError::Guard)?;
        // Last: should anything before it fail, the binary before this one can go on.
        store.migrate()?;
        let parts = parts_of(config, Arc::new(store), &sealing, guardian, &metrics);
        let Declared {
            spec,
            access,
            scheduler,
            dispatcher,
            launcher,
            statistics,
            services,
        } = tree::declare(&parts);
        let hive = Self {
            inner: Arc::new(Inner {
                config: parts.config,
                ledger: parts.ledger,
                caches: parts.caches,
                keyring: parts.keyring,
                issuers: parts.issuers,
                logins: parts.logins,
                denials: parts.denials,
                board: parts.board,
                outputs: parts.outputs,
                containment: parts.guardian.means(),
                sealing,
                resolver: parts.secrets,
                watch: TaskWatch::default(),
                meter: FlowMeter::default(),
                tree: parts.tree,
                scheduler,
                dispatcher,
                launcher,
                state: (State::Starting as u8).into(),
                state_changed: Notify::new(),
                cpu: CpuMeter::default(),
                metrics,
                restart: Restart::default(),
                started_at,
                started,
                probe: Probe::default(),
                data_dir,
                database,
            }),
        };
        hive.listen_to_commits(&access, statistics);
        let tree = Tree::start(spec.child(front(&hive)).child(services)).await?;
        hive.inner.metrics.supervision.follow(tree.subscribe());
        // Set once: this hive has no other tree.
        let _ = hive.inner.tree.set(tree);
        hive.settle(new, clean).await?;
        hive.set_state(State::Ready);
        hive.sweep_outputs();
        Ok(hive)
    }

    /// What is written before the first request is taken.
    async fn settle(&self, new: bool, clean: bool) -> Result<(), HiveStartError> {
        let ledger = &self.inner.ledger;
        if new {
            seed_bots(&**ledger, self.config()).await?;
        }
        self.ensure_admin_key(new).await?;
        self.look_for_lost_secrets().await?;
        let unclean = NewEvent::new(Action::ShutdownUnclean, "deia", ledger.hive_id()).failure();
        let mut commands = vec![MarkRunning(true).into()];
        if !clean {
            commands.insert(0, RecordEvents(vec![unclean]).into());
        }
        // Last: a start that was cut short before is still one of a new hive.
        write_or_leave_waiting(&**ledger, commands).await?;
        self.inner.caches.reload_keys().await?;
        self.inner.caches.reload_logins().await?;
        if self.inner.launcher.tell(Follow).is_err() {
            return Err(StartError::failed("the launcher takes no messages").into());
        }
        Ok(())
    }

    /// Says which stored secrets cannot be opened: the hive works without them, and
    /// only somebody can bring the key or the secrets back.
    async fn look_for_lost_secrets(&self) -> Result<(), HiveStartError> {
        let lost = secrets::unopened(&*self.inner.ledger, &self.inner.sealing).await?;
        if let Some(first) = lost.first() {
            tracing::error!(
                secrets = lost.len(),
                first = %first,
                "stored secrets cannot be opened: add the lines of their keys to secrets.key, or put the secrets anew"
            );
        }
        Ok(())
    }

    /// Makes an admin key when there is none in force.
    async fn ensure_admin_key(&self, new: bool) -> Result<(), HiveStartError> {
        let ledger = &self.inner.ledger;
        let now = Timestamp::now();
        if admin_hold(&ledger.keys().await?, now) > AdminHold::Lost {
            return Ok(());
        }
        let path = self.config().admin_key_path();
        let failed = |reason: String| HiveStartError::AdminKey {
            path: path.clone(),
            reason,
        };
        let key = ApiKey::generate().map_err(|error| failed(error.to_string()))?;
        // The file first: a key that nobody can read would lock everyone out.
        write_secret(&path, &key.reveal()).map_err(|error| failed(error.to_string()))?;
        let record = key.record(KeyGrant::new(ADMIN, Role::Admin));
        if new {
            let first = AddKey {
                key: record,
                new_user: true,
                dedup: None,
                actor: "deia".into(),
                limits: limits(self.config()),
            };
            ledger.apply(first).await?;
        } else {
            let recovered = RecoverAdmin {
                key: record,
                reason: "no admin key was in force when the server started",
            };
            ledger.apply(recovered).await?;
        }
        Ok(())
    }

    /// Has every commit tell those whom it concerns. Runs on the store's own
    /// thread, so it only passes on.
    fn listen_to_commits(&self, access: &Handle<AccessClerk>, statistics: Bell<Statistics>) {
        let inner = &self.inner;
        inner.ledger.subscribe(Arc::new(event_log_lines::log));
        let watch = inner.watch.clone();
        inner
            .ledger
            .subscribe(Arc::new(move |hints| watch.committed(hints)));
        let flow = inner.metrics.flow.clone();
        inner
            .ledger
            .subscribe(Arc::new(move |hints| flow.committed(hints)));
        let meter = inner.meter.clone();
        inner
            .ledger
            .subscribe(Arc::new(move |hints| meter.committed(hints)));
        let (scheduler, launcher) = (inner.scheduler.clone(), inner.launcher.clone());
        let (access, caches) = (access.clone(), inner.caches.clone());
        let dispatcher = inner.dispatcher.clone();
        inner.ledger.subscribe(Arc::new(move |hints| {
            let (waiting, rest) = sort(hints);
            // A message that finds no room is made up for: both look at the store from time to time.
            if !waiting.ready.is_empty() || waiting.due.is_some() {
                let _ = scheduler.tell(waiting);
            }
            for hint in rest {
                match hint {
                    Hint::BotChanged { bot, eligible } => {
                        // Before the next commit: it must not give the bot a task.
                        dispatcher.bot_changed(bot, *eligible);
                        drop(launcher.tell(BotsChanged));
                    }
                    Hint::EventsAppended(_) => statistics.ring(),
                    Hint::PausesChanged => drop(scheduler.tell(PausesChanged)),
                    Hint::LoginsChanged => {
                        caches.logins_changed();
                        drop(access.tell(LoginsChanged));
                    }
                    Hint::KeysChanged => drop(access.tell(KeysChanged)),
                    Hint::CancelRequested(cancelling) => {
                        drop(launcher.tell(TaskCancelled(cancelling.clone())));
                    }
                    _ => {}
                }
            }
        }));
    }
}

/// The scheduler's hints, and those of others.
fn sort(hints: &[Hint]) -> (TasksWaiting, Vec<&Hint>) {
    let mut waiting = TasksWaiting {
        ready: Vec::new(),
        due: None,
    };
    let mut rest = Vec::new();
    for hint in hints {
        match hint {
            Hint::Ready(task) => waiting.ready.push(task.clone()),
            Hint::Due(at) => waiting.due = Some(waiting.due.map_or(*at, |due| due.min(*at))),
            Hint::Finished(_) | Hint::Flow(_) => {}
            other => rest.push(other),
        }
    }
    (waiting, rest)
}

#[cfg(not(test))]
fn guardian_program(instance: &str) -> std::io::Result<GuardianProgram> {
    GuardianProgram::this_program(instance)
}

/// The test binary is no deia: it has an entry of its own.
#[cfg(test)]
fn guardian_program(instance: &str) -> std::io::Result<GuardianProgram> {
    Ok(crate::actors::bots::guardian::tests::guard_program(
        instance,
    ))
}

/// Starts the guard of the programs, once those of an earlier run have ended.
async fn start_guardian(config: &Config, instance: &str) -> std::io::Result<Guardian> {
    end_leftovers(instance.to_owned()).await?;
    let mut program = guardian_program(instance)?;
    program.runner.max_idle = config.bots.idle_runners as usize;
    Guardian::start(program)
}

/// Makes the state that the parts of the tree share.
fn parts_of(
    config: Config,
    ledger: Ledger,
    sealing: &Arc<SealingKeys>,
    guardian: Guardian,
    metrics: &PartMetrics,
) -> Parts {
    let secrets = SecretResolver::new(
        config.bots.secret_places(),
        config.data_dir.clone(),
        ledger.clone(),
        sealing.clone(),
    );
    let keyring = Arc::new(Keyring::default());
    let logins = Arc::new(Logins::new(config.auth.sessions.idle_timeout));
    let caches = AccessCaches::new(ledger.clone(), keyring.clone(), logins.clone());
    Parts {
        secrets: Arc::new(secrets),
        caches: Arc::new(caches),
        keyring,
        logins,
        issuers: Arc::new(Issuers::new(&config.auth.issuers, &config.auth.jwt)),
        denials: Arc::new(Denials::new(&config.auth)),
        board: Board::default(),
        guardian,
        outputs: Outputs::of(&config.data_dir),
        config: Arc::new(config),
        tree: Arc::new(OnceLock::new()),
        scheduling: metrics.scheduler.clone(),
        ledger,
    }
}

/// Ends programs that an earlier run left, should even its guard have been killed.
async fn end_leftovers(instance: String) -> std::io::Result<()> {
    let swept = tokio::task::spawn_blocking(move || guard::sweep(&instance)).await;
    swept.map_err(std::io::Error::other)??;
    Ok(())
}

/// The store of a hive that does not run.
pub(super) fn open_store(config: &Config) -> Result<Ledger, HiveStartError> {
    let store = SqliteStore::open(store_options(config))?;
    Ok(Arc::new(store))
}

async fn seed_bots(ledger: &dyn CommandLog, config: &Config) -> Result<(), HiveStartError> {
    for bot in &config.bots.seed {
        let put = PutBot {
            name: bot.name.clone(),
            spec: bot.spec.clone(),
            actor: "deia".into(),
            if_version: None,
            ports: (config.bots.first_port, config.bots.last_port),
            max_bots: config.bots.max_bots,
        };
        ledger.apply(put).await?;
        let name = bot.name.clone();
        let launch = SetDesired {
            name,
            desired: BotDesired::Launched,
            actor: "deia".into(),
        };
        ledger.apply(launch).await?;
    }
    Ok(())
}

impl From<Refusal> for HiveStartError {
    fn from(refusal: Refusal) -> Self {
        Self::Write(refusal.into())
    }
}

impl From<HiveStartError> for HiveError {
    fn from(error: HiveStartError) -> Self {
        Self::Internal(error.to_string())
    }
}
