//! The whole supervision tree, on one page.
//!
//! ```text
//! hive                 rest_for_one
//! ├─ ledger            the writer
//! ├─ core              one_for_one        never shed
//! │  ├─ scheduler
//! │  ├─ bots           dynamic: one actor a bot
//! │  ├─ launcher       makes the bots that run those that are wanted
//! │  ├─ retention      forgets what is past its time
//! │  ├─ access         writes when keys were used, and who was refused
//! │  └─ issuer-keys    fetches the keys of issuers of tokens; only if there are any
//! ├─ front             actix-web
//! └─ services          one_for_one        optional: quarantined rather than given up
//!    └─ statistics     counts and latencies by hour, from the event log
//! ```

use std::{
    num::NonZero,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use deia_ledger::Ledger;
use deia_supervision::{
    Backoff, ChildSpec, Criticality, Handle, Intensity, OnExhausted, Placement, Shutdown,
    StartError, Strategy, SupervisorHandle, SupervisorSpec, Tree, child,
};

use crate::{
    actors::{
        access::{AccessCaches, AccessClerk, AccessNotes},
        bots::{Board, Clerk, Launcher, LauncherDeps, ManagedBots, Outputs},
        dispatch::CapacityReports,
        followers::{Bell, FollowerActor, Rung},
        issuers::KeyFetcher,
        ledger::LedgerWriter,
        retention::{EventLimits, Retention},
        scheduler::{Dispatcher, Scheduler},
    },
    auth::{Denials, Issuers, Keyring, Logins},
    config::{Config, StopLimits},
    metrics::SchedulerMetrics,
    secrets::SecretResolver,
    statistics::Statistics,
};

/// State that the parts of the tree share.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) ledger: Ledger,
    pub(crate) caches: Arc<AccessCaches>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) denials: Arc<Denials>,
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) logins: Arc<Logins>,
    pub(crate) board: Board,
    pub(crate) guardian: crate::actors::bots::guardian::Guardian,
    pub(crate) outputs: Outputs,
    pub(crate) secrets: Arc<SecretResolver>,
    pub(crate) tree: Arc<OnceLock<Tree>>,
    pub(crate) scheduling: Arc<SchedulerMetrics>,
}

impl Parts {
    fn access_notes(&self) -> AccessNotes {
        AccessNotes {
            ledger: self.ledger.clone(),
            caches: self.caches.clone(),
            keyring: self.keyring.clone(),
            denials: self.denials.clone(),
            logins: self.logins.clone(),
            issuers: self.issuers.clone(),
        }
    }
}

/// The tree, and the addresses in it that others need.
pub(crate) struct Declared {
    pub(crate) spec: SupervisorSpec,
    pub(crate) access: Handle<AccessClerk>,
    pub(crate) scheduler: Handle<Scheduler>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) launcher: Handle<Launcher>,
    pub(crate) statistics: Bell<Statistics>,
    /// The subtree of optional children. Comes after the front.
    pub(crate) services: SupervisorSpec,
}

/// Messages that a busy part may have waiting.
const MAILBOX: usize = 65_536;

/// Time for which an actor may have messages waiting and handle none before the health
/// check names it. Each handler takes milliseconds; what takes longer runs beside it.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Time that a service has to stop. It can repeat the work that is cut short.
const SERVICE_STOP: Duration = StopLimits::SERVICE;

/// Name of the arbiters that bots run on.
const BOT_ARBITERS: &str = "bots";

/// Returns the number of CPUs that this process may use.
fn cpus() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Declares the tree. Nothing runs yet; the addresses work from now on.
pub(crate) fn declare(parts: &Parts) -> Declared {
    let dispatcher = Arc::new(Dispatcher::new(parts.scheduling.clone()));
    parts.ledger.dispatch_to(dispatcher.clone());
    let part = parts.config.stop_limits().part;
    let Core {
        spec: core,
        access,
        scheduler,
        launcher,
    } = core(parts, &dispatcher, part);
    let (services, statistics) = services(parts);
    let spec = SupervisorSpec::new("hive", Strategy::RestForOne)
        .intensity(Intensity::new(5, Duration::from_secs(60)))
        .stalled_after(STALLED_AFTER)
        .group(BOT_ARBITERS, parts.config.bots.arbiters_of(cpus()))
        .child(permanent(ledger(parts), part))
        .child(core);
    Declared {
        spec,
        statistics,
        services,
        access,
        scheduler,
        dispatcher,
        launcher,
    }
}

/// The subtree `core`, and the addresses in it.
struct Core {
    spec: SupervisorSpec,
    access: Handle<AccessClerk>,
    scheduler: Handle<Scheduler>,
    launcher: Handle<Launcher>,
}

/// Declares the subtree that gives tasks to bots.
fn core(parts: &Parts, dispatcher: &Arc<Dispatcher>, part: Duration) -> Core {
    let (scheduler_spec, scheduler) = scheduler(parts, dispatcher);
    let max_bots = parts.config.bots.max_bots as usize;
    // An actor of a bot that blocks delays other bots, never what schedules them.
    let bots = SupervisorSpec::dynamic("bots")
        .max_children(max_bots)
        .placement(Placement::group(BOT_ARBITERS));
    let deps = launcher_deps(parts, dispatcher, &scheduler, bots.handle());
    let (launcher_spec, launcher) = child("launcher", move || {
        let built = Launcher::new(deps.clone());
        async move { Ok::<_, StartError>(built) }
    });
    let (access_spec, access) = {
        let (notes, every) = (parts.access_notes(), parts.config.auth.last_used_every);
        child("access", move || AccessClerk::start(notes.clone(), every))
    };
    let mut spec = SupervisorSpec::new("core", Strategy::OneForOne)
        .intensity(Intensity::new(10, Duration::from_secs(60)))
        .criticality(Criticality::Critical)
        .child(permanent(scheduler_spec, part))
        .child(bots)
        .child(permanent(launcher_spec, part))
        .child(permanent(retention(parts), part))
        .child(permanent(access_spec, part));
    if !parts.config.auth.issuers.is_empty() {
        spec = spec.child(permanent(issuer_keys(parts), part));
    }
    Core {
        spec,
        access,
        scheduler,
        launcher,
    }
}

/// Declares the subtree that the hive can do without for a while. A child that fails over
/// and over stays down alone: it never takes the front or the core with it.
fn services(parts: &Parts) -> (SupervisorSpec, Bell<Statistics>) {
    let (statistics_spec, statistics) = statistics(parts);
    let spec = SupervisorSpec::new("services", Strategy::OneForOne)
        .intensity(Intensity::new(5, Duration::from_secs(60)))
        .on_exhausted(OnExhausted::Quarantine)
        .child(service(statistics_spec));
    (spec, statistics)
}

fn ledger(parts: &Parts) -> ChildSpec {
    let store = parts.ledger.clone();
    let starts = Arc::new(AtomicU64::new(0));
    let (spec, _) = child("ledger", move || {
        let first = starts.fetch_add(1, Ordering::Relaxed) == 0;
        LedgerWriter::start(store.clone(), first)
    });
    spec
}

fn scheduler(parts: &Parts, dispatcher: &Arc<Dispatcher>) -> (ChildSpec, Handle<Scheduler>) {
    let (store, settings) = (parts.ledger.clone(), parts.config.scheduler.clone());
    let (metrics, dispatcher) = (parts.scheduling.clone(), dispatcher.clone());
    child("scheduler", move || {
        let built = Scheduler::new(
            store.clone(),
            settings.clone(),
            dispatcher.clone(),
            metrics.clone(),
        );
        async move { Ok::<_, StartError>(built) }
    })
}

fn launcher_deps(
    parts: &Parts,
    dispatcher: &Arc<Dispatcher>,
    scheduler: &Handle<Scheduler>,
    bots: SupervisorHandle,
) -> LauncherDeps {
    LauncherDeps {
        config: parts.config.clone(),
        ledger: parts.ledger.clone(),
        capacity_reports: CapacityReports::to(scheduler),
        bot_reads: dispatcher.clone(),
        bots,
        board: parts.board.clone(),
        guardian: parts.guardian.clone(),
        outputs: parts.outputs.clone(),
        secrets: parts.secrets.clone(),
        tree: parts.tree.clone(),
        managed: ManagedBots::default(),
        clerk: Clerk {
            runtime: tokio::runtime::Handle::current(),
            ledger: parts.ledger.clone(),
            guardian: parts.guardian.clone(),
        },
    }
}

fn retention(parts: &Parts) -> ChildSpec {
    let (store, outputs) = (parts.ledger.clone(), parts.outputs.clone());
    let events = EventLimits {
        retention: parts.config.events.retention,
        max_bytes: parts.config.events.max_bytes.as_u64(),
    };
    let (spec, _) = child("retention", move || {
        let built = Retention::new(store.clone(), outputs.clone(), events);
        async move { Ok::<_, StartError>(built) }
    });
    spec
}

fn issuer_keys(parts: &Parts) -> ChildSpec {
    let (notes, jwt) = (parts.access_notes(), parts.config.auth.jwt.clone());
    let (spec, _) = child("issuer-keys", move || {
        KeyFetcher::start(notes.clone(), jwt.clone())
    });
    spec
}

fn statistics(parts: &Parts) -> (ChildSpec, Bell<Statistics>) {
    let store = parts.ledger.clone();
    let kept = parts.config.events.statistics_retention;
    let rung = Rung::default();
    let bell = rung.clone();
    let (spec, follower) = child("statistics", move || {
        let built = FollowerActor::new(Statistics::new(kept), store.clone(), bell.clone());
        async move { Ok::<_, StartError>(built) }
    });
    (spec.feature("analytics"), Bell::new(rung, follower))
}

/// Declares a child that the hive can do without.
fn service(spec: ChildSpec) -> ChildSpec {
    permanent(spec, SERVICE_STOP).criticality(Criticality::Optional)
}

/// Declares a child that is always needed; its first restart comes at once.
fn permanent(spec: ChildSpec, stops_within: Duration) -> ChildSpec {
    spec.criticality(Criticality::Critical)
        .shutdown(Shutdown::Within(stops_within))
        .backoff(
            Backoff::new(Duration::from_millis(10), Duration::from_secs(5))
                .factor(2.0)
                .jitter(0.2),
        )
        .mailbox(MAILBOX)
}
