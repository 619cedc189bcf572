//! The whole hive, on one page: its subsystems and the supervision tree of their actors.
//!
//! ```text
//! hive                 rest_for_one
//! ├─ ledger            the writer of the store
//! ├─ core              one_for_one        never shed
//! │  ├─ access         writes when keys were used, and refusals
//! │  ├─ issuer-keys    fetches the keys of token issuers; only if there are any
//! │  ├─ scheduler      matches ready tasks with free places of bots
//! │  ├─ bots           dynamic: one actor a bot, on threads of their own
//! │  ├─ launcher       makes the running bots match the wanted ones
//! │  ├─ measurer       measures the programs of bots, and compares them with limits
//! │  ├─ messaging      ends messages that nobody reads and idle sessions
//! │  ├─ audit          enters each event in the audit trail
//! │  ├─ alerts         compares the conditions that need a person with the open alerts
//! │  └─ retention      forgets tasks, answers and events that are past their time
//! ├─ front             actix-web
//! └─ services          one_for_one        optional: quarantined, never escalated
//!    ├─ webhooks       one_for_one, on a thread of their own
//!    │  ├─ endpoints   dynamic: one actor an endpoint that has work
//!    │  └─ dispatcher  matches events with endpoints
//!    ├─ settings       applies a changed settings file, and takes back changes that do harm
//!    ├─ recovery       ships commits to the archive, makes restore points
//!    ├─ statistics     counts and latencies by hour, from the event log
//!    ├─ degradation    sheds features when resources are short
//!    ├─ audit-index    makes the audit trail searchable, and erases what was erased
//!    ├─ audit-verifier verifies the audit trail when asked to
//!    ├─ api-calls      writes which requests were answered, if audit.api_calls says so
//!    └─ stream         reads new events for those who follow them
//! ```

use std::{sync::Arc, time::Instant};

use deia_ledger::{LogFeed, metrics::StoreMetrics};
use deia_model::{PreviousShutdown, Timestamp};

use crate::{
    access::Access,
    alerts::{AlertNeeds, Alerts},
    api_calls::ApiCalls,
    audit::Audit,
    bots::{BotNeeds, Bots, reaper_handle::ReaperHandle},
    data_dir::HiveFiles,
    degradation::{Degradation, DegradationNeeds},
    ledger_writer,
    messaging::Messaging,
    operations::{OperationNeeds, Operations},
    recovery::{Recovery, RecoveryNeeds},
    retention,
    scheduler::Scheduling,
    secrets::{SealingKeys, Secrets},
    settings::{LiveSettings, Resolved, SettingsNeeds},
    statistics::Statistics,
    stream::LiveStream,
    subsystem::{Declared, Deps, Subsystem, TreeBuilder},
    tasks::{TaskNeeds, Tasks},
    webhooks::Webhooks,
};

/// The subsystems of a hive.
pub(crate) struct Subsystems {
    pub(crate) access: Arc<Access>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) settings: Arc<LiveSettings>,
    pub(crate) scheduling: Arc<Scheduling>,
    pub(crate) bots: Arc<Bots>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) messaging: Arc<Messaging>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) alerts: Arc<Alerts>,
    pub(crate) api_calls: Arc<ApiCalls>,
    pub(crate) degradation: Arc<Degradation>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) operations: Arc<Operations>,
    pub(crate) recovery: Arc<Recovery>,
    pub(crate) stream: Arc<LiveStream>,
    /// All subsystems, for operations on each.
    pub(crate) all: Vec<Arc<dyn Subsystem>>,
}

/// Resources that a start has opened before its subsystems are declared.
pub(crate) struct Opened {
    /// Settings of the start.
    pub(crate) resolved: Resolved,
    pub(crate) files: Arc<HiveFiles>,
    pub(crate) sealing: Arc<SealingKeys>,
    pub(crate) reaper: ReaperHandle,
    pub(crate) store_metrics: Arc<StoreMetrics>,
    pub(crate) feed: Arc<LogFeed>,
    pub(crate) previous: PreviousShutdown,
    pub(crate) started_at: Timestamp,
    pub(crate) started: Instant,
}

/// Declares the subsystems and their actors, in the order in which they start. Nothing
/// runs yet; the addresses work from now on.
pub(crate) fn declare(deps: &Deps, opened: Opened) -> (Subsystems, Declared) {
    let mut tree = TreeBuilder::new(&deps.settings.get().stop_limits());
    ledger_writer::declare(deps, &mut tree);
    let access = Arc::new(Access::declare(deps, &mut tree));
    let audit = Arc::new(Audit::declare(deps, &mut tree, access.api()));
    let sealing = opened.sealing.clone();
    let secrets = Arc::new(Secrets::new(deps, access.api(), opened.sealing.clone()));
    let scheduling = Arc::new(Scheduling::declare(deps, &mut tree));
    let needs = BotNeeds {
        access: access.api(),
        capacity_reports: scheduling.capacity_reports(),
        bot_reads: scheduling.bot_reads(),
        secrets: &secrets,
        reaper: opened.reaper,
    };
    let bots = Arc::new(Bots::declare(deps, &mut tree, needs));
    let messaging = Arc::new(Messaging::declare(deps, &mut tree, access.api(), &bots));
    let source = opened.resolved.source();
    let settings = LiveSettings::declare(deps, &mut tree, access.api(), opened.resolved);
    let settings = Arc::new(settings);
    let needs = RecoveryNeeds {
        access: access.api(),
        feed: opened.feed,
        instance: opened.files.instance().to_owned(),
        source,
        previous: opened.previous,
    };
    let recovery = Arc::new(Recovery::declare(deps, &mut tree, needs));
    let needs = AlertNeeds {
        access: access.api(),
        bots: &bots,
        audit: audit.api(),
        settings: settings.api(),
        recovery: recovery.api(),
    };
    let alerts = Arc::new(Alerts::declare(deps, &mut tree, &needs));
    retention::declare(deps, &mut tree, bots.outputs());
    let needs = TaskNeeds {
        access: access.api(),
        bots: &bots,
    };
    let tasks = Arc::new(Tasks::new(deps, &needs));
    let webhooks = Arc::new(Webhooks::declare(
        deps,
        &mut tree,
        access.api(),
        opened.sealing.clone(),
    ));
    let needs = DegradationNeeds {
        access: access.api(),
        bots: &bots,
        audit: audit.api(),
        store_metrics: opened.store_metrics.clone(),
    };
    let degradation = Arc::new(Degradation::declare(deps, &mut tree, needs));
    let statistics = Arc::new(Statistics::declare(deps, &mut tree));
    let api_calls = Arc::new(ApiCalls::declare(deps, &mut tree));
    let stream = Arc::new(LiveStream::declare(deps, &mut tree, &sealing));
    let all: Vec<Arc<dyn Subsystem>> = vec![
        access.clone(),
        secrets.clone(),
        scheduling.clone(),
        bots.clone(),
        messaging.clone(),
        alerts.clone(),
        tasks.clone(),
        webhooks.clone(),
        degradation.clone(),
        settings.clone(),
        statistics,
        api_calls.clone(),
        stream.clone(),
        recovery.clone(),
        // Last: a stop enters the events that the others record.
        audit.clone(),
    ];
    let needs = OperationNeeds {
        access: access.api(),
        alerts: &alerts,
        degradation: degradation.api(),
        bots: &bots,
        tasks: &tasks,
        subsystems: all.clone(),
        files: opened.files,
        store_metrics: opened.store_metrics,
        started_at: opened.started_at,
        started: opened.started,
    };
    let operations = Arc::new(Operations::new(deps, needs));
    let probed = Arc::downgrade(&operations);
    settings.api().serve(SettingsNeeds {
        subsystems: all.iter().map(Arc::downgrade).collect(),
        can_commit: Box::new(move || {
            let probed = probed.upgrade();
            Box::pin(async move {
                match probed {
                    Some(operations) => operations.api().can_commit().await,
                    // The hive has stopped.
                    None => true,
                }
            })
        }),
    });
    let subsystems = Subsystems {
        access,
        secrets,
        settings,
        scheduling,
        bots,
        messaging,
        audit,
        alerts,
        api_calls,
        degradation,
        webhooks,
        tasks,
        operations,
        recovery,
        stream,
        all,
    };
    (subsystems, tree.done())
}
