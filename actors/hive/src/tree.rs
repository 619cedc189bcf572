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
//! └─ front             actix-web
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
    StartError, Strategy, SupervisorSpec, Tree, child,
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

/// What the parts of the tree have in common.
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
    /// What the hive can do without for a while. Comes after the front.
    pub(crate) services: SupervisorSpec,
}

/// Messages that a busy part may have waiting.
const MAILBOX: usize = 65_536;

/// Time for which an actor may have messages waiting and handle none before the health
/// check names it. Each handler takes milliseconds; what takes longer runs beside it.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Time that a service has to stop. What it has in hand it can do again.
const SERVICE_STOP: Duration = StopLimits::SERVICE;

/// Name of the arbiters that bots run on.
const BOT_ARBITERS: &str = "bots";

/// Returns the number of CPUs that this process may use.
fn cpus() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Declares the tree. Nothing runs yet; the addresses work from now on.
pub(crate) fn declare(parts: &Parts) -> Declared {
    let (ledger_spec, _) = {
        let store = parts.ledger.clone();
        let starts = Arc::new(AtomicU64::new(0));
        child("ledger", move || {
            let first = starts.fetch_add(1, Ordering::Relaxed) == 0;
            LedgerWriter::start(store.clone(), first)
        })
    };
    let dispatcher = Arc::new(Dispatcher::new(parts.scheduling.clone()));
    parts.ledger.dispatch_to(dispatcher.clone());
    let (scheduler_spec, scheduler) = {
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
    };
    let max_bots = parts.config.bots.max_bots as usize;
    // An actor of a bot that blocks delays other bots, never what schedules them.
    let bots_spec = SupervisorSpec::dynamic("bots")
        .max_children(max_bots)
        .placement(Placement::group(BOT_ARBITERS));
    let bots = bots_spec.handle();
    let deps = LauncherDeps {
        config: parts.config.clone(),
        ledger: parts.ledger.clone(),
        capacity_reports: CapacityReports::to(&scheduler),
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
    };
    let (launcher_spec, launcher) = child("launcher", move || {
        let built = Launcher::new(deps.clone());
        async move { Ok::<_, StartError>(built) }
    });
    let (retention_spec, _) = {
        let (store, outputs) = (parts.ledger.clone(), parts.outputs.clone());
        let events = EventLimits {
            retention: parts.config.events.retention,
            max_bytes: parts.config.events.max_bytes.as_u64(),
        };
        child("retention", move || {
            let built = Retention::new(store.clone(), outputs.clone(), events);
            async move { Ok::<_, StartError>(built) }
        })
    };
    let (access_spec, access) = {
        let (notes, every) = (parts.access_notes(), parts.config.auth.last_used_every);
        child("access", move || AccessClerk::start(notes.clone(), every))
    };
    let part = parts.config.stop_limits().part;
    let mut core = SupervisorSpec::new("core", Strategy::OneForOne)
        .intensity(Intensity::new(10, Duration::from_secs(60)))
        .criticality(Criticality::Critical)
        .child(permanent(scheduler_spec, part))
        .child(bots_spec)
        .child(permanent(launcher_spec, part))
        .child(permanent(retention_spec, part))
        .child(permanent(access_spec, part));
    if !parts.config.auth.issuers.is_empty() {
        let notes = parts.access_notes();
        let jwt = parts.config.auth.jwt.clone();
        let (spec, _) = child("issuer-keys", move || {
            KeyFetcher::start(notes.clone(), jwt.clone())
        });
        core = core.child(permanent(spec, part));
    }
    let spec = SupervisorSpec::new("hive", Strategy::RestForOne)
        .intensity(Intensity::new(5, Duration::from_secs(60)))
        .stalled_after(STALLED_AFTER)
        .group(BOT_ARBITERS, parts.config.bots.arbiters_of(cpus()))
        .child(permanent(ledger_spec, part))
        .child(core);
    let rung = Rung::default();
    let (statistics_spec, statistics) = {
        let (store, kept) = (
            parts.ledger.clone(),
            parts.config.events.statistics_retention,
        );
        let bell = rung.clone();
        child("statistics", move || {
            let built = FollowerActor::new(Statistics::new(kept), store.clone(), bell.clone());
            async move { Ok::<_, StartError>(built) }
        })
    };
    // One that fails over and over stays down alone: it never takes the front or the
    // core with it.
    let services = SupervisorSpec::new("services", Strategy::OneForOne)
        .intensity(Intensity::new(5, Duration::from_secs(60)))
        .on_exhausted(OnExhausted::Quarantine)
        .child(service(statistics_spec).feature("analytics"));
    let statistics = Bell::new(rung, statistics);
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

/// One that may be shed.
fn service(spec: ChildSpec) -> ChildSpec {
    permanent(spec, SERVICE_STOP).criticality(Criticality::Optional)
}

/// One that is always needed, and comes back at once at first.
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
