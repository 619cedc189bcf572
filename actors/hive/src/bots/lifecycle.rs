//! Starting, building and stopping a bot.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use deia_ledger::Ledger;
use deia_model::{AttemptEnd, BotGeneration, BotName, BotRecord};
use deia_supervision::{
    Backoff, ChildError, ChildSpec, ExitReason, Handle, Intensity, OnExhausted, Shutdown,
    StartChildError, StartError, SupervisorHandle, Tree, child,
};
use tokio::sync::oneshot;

use super::{
    bot::{BotActor, BotParts, StopAll},
    circuit::CircuitPolicy,
    clerk::{Clerk, Settling},
    executor::{ExecutorFactory, IncarnationParts, factory_of},
    fallback::FallbacksInUse,
    intake::{FaultPolicy, PausePolicy},
    log::BotLog,
    output::Outputs,
    ports,
    probe::{ProbeProgram, Prober},
    reaper_handle::ReaperHandle,
    registry::BotRegistry,
    service::Services,
};
use crate::{
    config::{Config, Settings},
    dispatch::{BotReads, CapacityReports},
    secrets::SecretResolver,
};

/// The parts that the launcher and every bot work with.
#[derive(Clone)]
pub(crate) struct LauncherDeps {
    pub(crate) settings: Settings,
    pub(crate) ledger: Ledger,
    /// Recipients of the bots' capacity reports.
    pub(crate) capacity_reports: CapacityReports,
    /// Notified of every read of all bots.
    pub(crate) bot_reads: Arc<dyn BotReads>,
    pub(crate) bots: SupervisorHandle,
    pub(crate) registry: BotRegistry,
    pub(crate) reaper: ReaperHandle,
    pub(crate) outputs: Outputs,
    pub(crate) secrets: Arc<SecretResolver>,
    pub(crate) services: Services,
    pub(crate) tree: Arc<OnceLock<Tree>>,
    pub(crate) managed: ManagedBots,
    /// The bots whose fallback bots are in use.
    pub(super) fallbacks: FallbacksInUse,
    pub(crate) clerk: Clerk,
}

impl LauncherDeps {
    /// Returns the settings in force. A bot keeps those with which its incarnation began.
    pub(super) fn config(&self) -> Arc<Config> {
        self.settings.get()
    }
}

/// The started bots, kept where a new launcher finds them.
#[derive(Clone, Default)]
pub(crate) struct ManagedBots(Arc<Mutex<HashMap<BotName, Managed>>>, Arc<AtomicBool>);

impl ManagedBots {
    /// Notes that all bots are being ended: launchers start none any more.
    pub(super) fn begin_stop(&self) {
        self.1.store(true, Ordering::Release);
    }

    /// Returns the flag that is set once all bots are being ended.
    pub(super) fn stopping_flag(&self) -> Arc<AtomicBool> {
        self.1.clone()
    }

    /// Returns whether all bots are being ended.
    pub(super) fn are_stopping(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<BotName, Managed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A started bot.
#[derive(Clone)]
pub(crate) struct Managed {
    pub(super) generation: BotGeneration,
    pub(super) handle: Handle<BotActor>,
    log: BotLog,
}

/// Starts a bot. Returns `true` if it started.
pub(super) async fn start_bot(deps: &LauncherDeps, mut record: BotRecord) -> bool {
    settle_port(deps, &mut record).await;
    let record = &record;
    let gauges = deps.registry.gauges(&record.name);
    let was_suspended = gauges.is_suspended();
    gauges.launched();
    let config = deps.config();
    let log = BotLog::open(
        config.bot_log_path(&record.name),
        config.bots.log_max_bytes.as_u64(),
    );
    let (spec, handle) = bot_child(deps, record, &log);
    let managed = Managed {
        generation: record.generation(),
        handle,
        log,
    };
    // Before the bot is up, so that a launcher that fails at this point leaves it known.
    deps.managed.lock().insert(record.name.clone(), managed);
    // A child without an entry could be neither stopped nor cancelled.
    remove_child(deps, &record.name).await;
    let started = deps.bots.start_child(spec).await;
    if let Err(error) = &started {
        match error {
            // A stop or a restart of the hive has overtaken this start.
            _ if deps.managed.are_stopping() => {
                tracing::info!(bot = %record.name, %error, "bot did not start: all bots are being stopped");
                gauges.crashed(error.to_string());
            }
            StartChildError::Suspended | StartChildError::Down => {
                if !was_suspended {
                    tracing::warn!(bot = %record.name, supervisor = deps.bots.path(), "bot waits for the supervisor of all bots to be resumed");
                }
                gauges.set_suspended(true);
            }
            _ => {
                tracing::error!(bot = %record.name, %error, "bot did not start; retrying within seconds");
                gauges.crashed(error.to_string());
            }
        }
        deps.managed.lock().remove(&record.name);
    }
    started.is_ok()
}

/// Gives the bot another port if something else listens at its own. A store that cannot take the
/// change keeps no bot from starting.
async fn settle_port(deps: &LauncherDeps, record: &mut BotRecord) {
    match ports::settle(&deps.ledger, &deps.config(), record).await {
        Ok(port) => {
            if let Some(warning) = port.warning() {
                tracing::warn!(bot = %record.name, warning, "the port of a bot is in use");
            }
        }
        Err(error) => {
            tracing::warn!(bot = %record.name, %error, "the bot could not be given another port");
        }
    }
}

/// Removes a bot from the tree. Returns `false` if the bot is still there because its supervisor is
/// suspended or down.
async fn remove_child(deps: &LauncherDeps, name: &BotName) -> bool {
    let mut is_gone = true;
    for ended in [
        deps.bots.terminate_child(name.as_str()).await,
        deps.bots.delete_child(name.as_str()).await,
    ] {
        if let Err(error) = ended {
            is_gone = matches!(error, ChildError::NotFound | ChildError::Gone);
            tracing::debug!(bot = %name, %error, "bot was not removed");
        }
    }
    is_gone
}

/// Ends the bot's attempts, then the bot. Returns `false` if the bot is down but still in the tree:
/// it comes back with its supervisor.
pub(super) async fn stop_bot(deps: &LauncherDeps, name: &BotName, managed: &Managed) -> bool {
    let limits = deps.config().stop_limits();
    let (done, stopped) = oneshot::channel();
    // A bot that is down has no attempts and would not answer.
    let is_told = deps.registry.snapshot(name).up && managed.handle.tell(StopAll(done)).is_ok();
    let ending = tokio::time::timeout(limits.programs, stopped);
    if is_told && ending.await.is_err() {
        tracing::warn!(bot = %name, "the bot did not end its tasks in time and is killed");
    }
    let is_gone = remove_child(deps, name).await;
    let gauges = deps.registry.gauges(name);
    let settling = Settling {
        bot: name.clone(),
        up_to: gauges.incarnation(),
        gauges,
        started_before: None,
        end: AttemptEnd::GivenBack,
    };
    if let Err(error) = deps.clerk.settle(settling).await {
        tracing::error!(bot = %name, %error, "tasks of a stopped bot could not be given back; retrying within seconds");
    }
    let log = managed.log.clone();
    let flushed = tokio::task::spawn_blocking(move || log.flush(limits.log_flush)).await;
    if !flushed.unwrap_or(false) {
        tracing::warn!(bot = %name, "the last lines of the bot's log may be missing");
    }
    is_gone
}

fn bot_child(
    deps: &LauncherDeps,
    record: &BotRecord,
    log: &BotLog,
) -> (ChildSpec, Handle<BotActor>) {
    let config = deps.config();
    let (restart, stops_within) = (config.bots.restart, config.stop_limits().bot);
    let seed = Seed {
        record: Arc::new(record.clone()),
        log: log.clone(),
        executors: factory_of(&record.spec.executor),
    };
    let deps = deps.clone();
    // More slots than tasks and their messages can ever use.
    let mailbox = 16 + 4 * record.spec.capabilities.max_concurrent_tasks as usize;
    let name = record.name.clone();
    let (spec, handle) = child(name.as_str(), move || build_bot(deps.clone(), seed.clone()));
    let spec = spec
        .backoff(
            Backoff::new(restart.min, restart.max)
                .factor(2.0)
                .jitter(0.2)
                .reset_after(restart.period),
        )
        .budget(Intensity::new(restart.restarts, restart.period))
        .on_exhausted(OnExhausted::Quarantine)
        .shutdown(Shutdown::Within(stops_within))
        .mailbox(mailbox);
    (spec, handle)
}

/// The parts shared by the incarnations of a bot.
#[derive(Clone)]
struct Seed {
    record: Arc<BotRecord>,
    log: BotLog,
    executors: Arc<dyn ExecutorFactory>,
}

/// Builds a bot. Records the results that an earlier incarnation left first, and gives the tasks
/// that it had not begun back to the queue.
async fn build_bot(deps: LauncherDeps, seed: Seed) -> Result<BotActor, StartError> {
    let Seed {
        record,
        log,
        executors,
    } = seed;
    let gauges = deps.registry.gauges(&record.name);
    let incarnation = deps.registry.begin_incarnation();
    if gauges.begin(incarnation, record.generation()) {
        // On a full disk the start waits here, and uses up no restart.
        let settling = Settling {
            bot: record.name.clone(),
            gauges: gauges.clone(),
            up_to: incarnation - 1,
            started_before: None,
            end: end_of_last_run(&deps, &record.name),
        };
        let settled = deps.clerk.settle(settling).await;
        settled.map_err(StartError::failed)?;
    }
    let prober = prober(&deps, &record);
    let config = deps.config();
    let executor = executors.make(IncarnationParts {
        config: config.clone(),
        hive_id: deps.ledger.hive_id(),
        ledger: deps.ledger.clone(),
        secrets: deps.secrets.clone(),
        outputs: deps.outputs.clone(),
        reaper: deps.reaper.clone(),
        record: record.clone(),
        gauges: gauges.clone(),
        log,
        services: deps.services.clone(),
        incarnation,
        hive_stops: deps.managed.stopping_flag(),
    });
    let bots = &config.bots;
    let (fault, pause) = (bots.fault, bots.pause);
    Ok(BotActor::new(BotParts {
        name: record.name.clone(),
        incarnation,
        generation: record.generation(),
        capabilities: record.spec.capabilities.clone(),
        executor,
        executors,
        gauges,
        ledger: deps.ledger,
        reports_to: deps.capacity_reports,
        clerk: deps.clerk,
        idle_limit: record.spec.idle_timeout_seconds,
        prober,
        pause_policy: PausePolicy {
            default: pause.default,
            max: pause.max,
        },
        circuit_policy: CircuitPolicy::of(&bots.circuit),
        fault_policy: FaultPolicy {
            min: fault.min,
            max: fault.max,
        },
    }))
}

/// Returns the prober of a bot that has a probe.
fn prober(deps: &LauncherDeps, record: &BotRecord) -> Option<Prober> {
    Some(Prober {
        spec: record.spec.probe.clone()?,
        port: record.port,
        program: ProbeProgram {
            bot: record.name.clone(),
            port: record.port,
            hive_id: deps.ledger.hive_id(),
            work_dir: deps.config().bot_work_dir(&record.name),
            reaper: deps.reaper.clone(),
        },
    })
}

/// Returns the end of the unreported tasks of the bot's last incarnation. Any of them may have
/// blocked the thread, so each is a suspect.
fn end_of_last_run(deps: &LauncherDeps, bot: &BotName) -> AttemptEnd {
    let path = format!("{}/{bot}", deps.bots.path());
    let status = deps.tree.get().and_then(|tree| tree.status_of(&path));
    match status.and_then(|status| status.last_exit) {
        Some(exit) if matches!(exit.reason, ExitReason::Stuck { .. }) => AttemptEnd::Suspected,
        _ => AttemptEnd::GivenBack,
    }
}
