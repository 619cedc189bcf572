//! The hive as operators see it: status, health, probes, metrics, the supervision tree and
//! the event log.

mod health;
mod metrics;
mod parts;
mod probes;

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use deia_ledger::{
    Ledger,
    metrics::{StoreMetrics, TurnWaits},
};
use deia_model::{Event, EventFilter, LastRestart, Page, PageRequest, Principal, Timestamp};
use deia_supervision::{ArbiterStatus, Tree, TreeStatus};
pub use parts::PartAction;

use self::probes::Probe;
use crate::{
    HiveError,
    access::AccessApi,
    alerts::{Alerts, AlertsApi},
    bots::{Bots, BotsApi, Outputs},
    config::Settings,
    data_dir::HiveFiles,
    degradation::DegradationApi,
    host::CpuMeter,
    lifecycle::Lifecycle,
    metrics::{FlowMetrics, SupervisionMetrics},
    subsystem::{Deps, Subsystem},
    tasks::Tasks,
};

/// The subsystem of operations. It has no actors and takes no notices, but queries the others.
pub(crate) struct Operations(OperationsApi);

impl Operations {
    pub(crate) fn new(deps: &Deps, needs: OperationNeeds<'_>) -> Self {
        Self(OperationsApi::new(deps, needs))
    }

    pub(crate) fn api(&self) -> &OperationsApi {
        &self.0
    }
}

/// The hive as a whole.
#[derive(Clone)]
pub struct OperationsApi {
    settings: Settings,
    ledger: Ledger,
    tree: Arc<OnceLock<Tree>>,
    lifecycle: Arc<Lifecycle>,
    access: AccessApi,
    bots: BotsApi,
    outputs: Outputs,
    alerts: AlertsApi,
    degradation: DegradationApi,
    files: Arc<HiveFiles>,
    cpu: Arc<CpuMeter>,
    probe: Arc<Probe>,
    store_metrics: Arc<StoreMetrics>,
    supervision: Arc<SupervisionMetrics>,
    subsystems: Arc<[Arc<dyn Subsystem>]>,
    flow: Arc<FlowMetrics>,
    last_restart: Arc<OnceLock<LastRestart>>,
    started_at: Timestamp,
    started: Instant,
}

/// Components of the API beyond those that every subsystem may use.
pub(crate) struct OperationNeeds<'a> {
    pub(crate) access: &'a AccessApi,
    pub(crate) alerts: &'a Alerts,
    pub(crate) degradation: &'a DegradationApi,
    pub(crate) bots: &'a Bots,
    pub(crate) tasks: &'a Tasks,
    /// Subsystems that count and measure.
    pub(crate) subsystems: Vec<Arc<dyn Subsystem>>,
    pub(crate) files: Arc<HiveFiles>,
    pub(crate) store_metrics: Arc<StoreMetrics>,
    pub(crate) started_at: Timestamp,
    pub(crate) started: Instant,
}

impl OperationsApi {
    /// Returns the waits of changes for the writer of the store since the start.
    pub fn waits_for_writer(&self) -> TurnWaits {
        self.store_metrics.turn_waits()
    }

    fn new(deps: &Deps, needs: OperationNeeds<'_>) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            tree: deps.tree.clone(),
            lifecycle: deps.lifecycle.clone(),
            access: needs.access.clone(),
            bots: needs.bots.api().clone(),
            outputs: needs.bots.outputs().clone(),
            alerts: needs.alerts.api().clone(),
            degradation: needs.degradation.clone(),
            files: needs.files,
            cpu: Arc::default(),
            probe: Arc::default(),
            store_metrics: needs.store_metrics,
            supervision: Arc::default(),
            subsystems: needs.subsystems.into(),
            flow: needs.tasks.flow().clone(),
            last_restart: Arc::default(),
            started_at: needs.started_at,
            started: needs.started,
        }
    }

    /// Counts the events in the tree from now on.
    pub(crate) fn follow(&self, tree: &Tree) {
        self.supervision.follow(tree.subscribe());
    }

    /// Records that this start follows a restart in place, and its result: an error is the reason
    /// why the new start failed. Only the first call has an effect.
    pub fn note_restart(&self, outcome: Result<(), String>) {
        let reason = outcome.err();
        let _ = self.last_restart.set(LastRestart {
            at: self.started_at,
            succeeded: reason.is_none(),
            reason,
        });
    }

    /// Returns the supervision tree, live. `None` before it is up.
    pub fn supervisors(&self) -> Option<TreeStatus> {
        self.tree.get().map(Tree::status)
    }

    /// Returns the time at which the crashes began of the part of the tree that crashed last.
    pub fn crashes_began(&self) -> Option<deia_model::Timestamp> {
        let tree = self.tree.get()?;
        crate::settings::trouble_began(&tree.status())
    }

    /// Returns one child of the tree and all below it; `path` as in `hive/core/scheduler`.
    pub fn supervisor(&self, path: &str) -> Option<TreeStatus> {
        self.tree.get().and_then(|tree| tree.status_of(path))
    }

    /// Returns the threads that the actors run on, that of the supervisors first; none
    /// before the tree is up.
    pub fn arbiters(&self) -> Vec<ArbiterStatus> {
        self.tree.get().map(Tree::arbiters).unwrap_or_default()
    }

    /// Returns events that the caller may see, the newest first: all of
    /// them, or, for a caller confined to their own tasks, those of each task in turn.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn events(
        &self,
        who: &Principal,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<Event>, HiveError> {
        Ok(self
            .ledger
            .events_page(who.visibility(), filter, page)
            .await?)
    }
}
