//! Interface of the settings to callers and other subsystems.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use deia_ledger::{BoxFuture, Ledger};
use deia_model::{Principal, Timestamp};
use deia_supervision::Tree;
use serde_json::Value;
use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify, Semaphore, watch},
};

use super::{
    file::READS_MAX, metrics::SettingsMetrics, source::SettingsSource, start::Resolved, state::Book,
};
use crate::{
    HiveError,
    access::AccessApi,
    config::{InForce, Settings},
    lifecycle::Lifecycle,
    mode::CurrentLevel,
    subsystem::{Deps, Subsystem},
};

/// Interface to the settings: their values, versions and changes.
#[derive(Clone)]
pub struct SettingsApi(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) ledger: Ledger,
    pub(super) access: AccessApi,
    pub(super) level: CurrentLevel,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) tree: Arc<OnceLock<Tree>>,
    pub(super) source: Arc<dyn SettingsSource>,
    /// Places for reads of files.
    pub(super) reads: Arc<Semaphore>,
    /// Path of the settings file when it was read last.
    pub(super) path: std::sync::Mutex<Option<PathBuf>>,
    /// Held while settings are changed: one change at a time.
    pub(super) book: Mutex<Book>,
    pub(super) needs: OnceLock<SettingsNeeds>,
    /// Time since which the hive is known not to be ready.
    pub(super) unready_since: std::sync::Mutex<Option<Timestamp>>,
    /// Parts of tests.
    #[cfg(test)]
    pub(super) more: std::sync::Mutex<Vec<Arc<dyn Subsystem>>>,
    /// Failures of the store in tests.
    #[cfg(test)]
    pub(super) faults: super::tests::Faults,
    pub(super) metrics: Arc<SettingsMetrics>,
    /// Runtime of the hive, on which changes are carried out.
    runtime: Handle,
    /// The means by which changes of the file are noticed.
    pub(super) watched: watch::Sender<&'static str>,
    /// Wakes the keeper when deadlines have changed.
    pub(super) poke: Notify,
    /// Reason of the last time that settings were taken back, for alerts.
    pub(super) taken_back: watch::Sender<Option<String>>,
}

/// Subsystems that exist only after the settings are declared.
pub(crate) struct SettingsNeeds {
    /// All subsystems, in the order in which settings apply to them. Weak: these settings are one
    /// of them.
    pub(crate) subsystems: Vec<Weak<dyn Subsystem>>,
    /// Returns true if the hive accepts submissions and can commit them.
    pub(crate) can_commit: Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
}

/// A change of one setting.
#[derive(Clone, Debug)]
pub struct ChangeSetting {
    /// The key.
    pub key: String,
    /// The value; null: that of the layers below.
    pub value: Value,
    /// Version that must be in force; any when absent.
    pub version: Option<u64>,
    /// Time within which somebody must confirm the change.
    pub confirm_within: Option<Duration>,
}

/// A request to read the settings file again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReloadSettings {
    /// Changes nothing, and returns what would change.
    pub dry_run: bool,
    /// Applies the live keys although others differ as well.
    pub apply_rest: bool,
    /// Version that must be in force; any when absent.
    pub version: Option<u64>,
    /// Time within which somebody must confirm the change.
    pub confirm_within: Option<Duration>,
}

/// The party that asks for a change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// A caller.
    By(&'a Principal),
    /// The hive itself.
    ByHive,
}

impl Asked<'_> {
    /// Returns the name for records.
    pub(super) fn name(self) -> String {
        match self {
            Self::By(who) => who.user.to_string(),
            Self::ByHive => "deia".to_owned(),
        }
    }
}

impl SettingsApi {
    pub(super) fn new(
        deps: &Deps,
        access: &AccessApi,
        resolved: Resolved,
        metrics: Arc<SettingsMetrics>,
    ) -> Self {
        let taken_back = resolved.book.taken_back.clone();
        Self(Arc::new(Inner {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: access.clone(),
            level: deps.level.clone(),
            lifecycle: deps.lifecycle.clone(),
            tree: deps.tree.clone(),
            source: resolved.source,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            path: Default::default(),
            book: Mutex::new(resolved.book),
            needs: OnceLock::new(),
            unready_since: Default::default(),
            #[cfg(test)]
            more: Default::default(),
            #[cfg(test)]
            faults: Default::default(),
            metrics,
            runtime: Handle::current(),
            watched: watch::Sender::new("off"),
            poke: Notify::new(),
            taken_back: watch::Sender::new(taken_back),
        }))
    }

    /// Sets the subsystems to which changes apply. Must be called once, before the tree starts.
    pub(crate) fn serve(&self, needs: SettingsNeeds) {
        // Set once: these settings serve one hive.
        let _ = self.0.needs.set(needs);
    }

    /// Resolves once the hive has started.
    pub(super) async fn ready(&self) {
        self.0.lifecycle.started().await;
    }

    /// Returns the supervision tree once it is up.
    pub(super) async fn tree(&self) -> Option<Tree> {
        self.ready().await;
        self.0.tree.get().cloned()
    }

    /// Has settings apply to these as well, after all subsystems.
    #[cfg(test)]
    pub(super) fn apply_also_to(&self, parts: Vec<Arc<dyn Subsystem>>) {
        *self.0.more.lock().unwrap() = parts;
    }

    /// Returns a receiver that is notified whenever the settings in force change.
    pub fn changes(&self) -> watch::Receiver<InForce> {
        self.0.settings.changes()
    }

    /// Carries out work to its end on the runtime of the hive, even if the caller or the thread that
    /// serves it is gone meanwhile.
    pub(super) async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, HiveError> {
        let done = self.0.runtime.spawn(work).await;
        done.map_err(|error| HiveError::Internal(error.to_string()))
    }

    /// Returns the number of the version in force.
    pub fn version_in_force(&self) -> u64 {
        self.0.settings.in_force().version
    }

    /// Returns the reason of the last time that settings were taken back, until they are changed
    /// or confirmed.
    pub(crate) fn taken_back(&self) -> Option<String> {
        self.0.taken_back.borrow().clone()
    }
}
