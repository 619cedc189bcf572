//! The composition of the subsystems: a hive that starts, runs and stops.

mod event_log_lines;
mod restart;
mod start;
mod stop;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use deia_model::{Principal, RecoveryJob};
use deia_supervision::ChildSpec;
pub use restart::RestartCheck;

use self::restart::Restart;
use crate::{
    HiveError,
    access::AccessApi,
    alerts::AlertsApi,
    api_calls::ApiCallsApi,
    audit::AuditApi,
    bots::BotsApi,
    config::Config,
    degradation::DegradationApi,
    lifecycle::State,
    messaging::{MessagesApi, SessionsApi},
    operations::OperationsApi,
    recovery::{RecoveryApi, RestoreRequest},
    secrets::SecretsApi,
    settings::SettingsApi,
    shedding::SheddingApi,
    stream::StreamApi,
    subsystem::Deps,
    tasks::{QueueApi, TasksApi},
    tree::Subsystems,
    webhooks::WebhooksApi,
};

/// Creates the last child of the tree, which serves the hive to the outside.
pub type FrontFactory = Box<dyn FnOnce(&Hive) -> ChildSpec>;

/// A running hive. Cheap to clone; all clones are the same hive.
///
/// Callers of its subsystems have checked the permission; the subsystems check
/// the visibility of what exists.
#[derive(Clone)]
pub struct Hive {
    inner: Arc<Inner>,
}

struct Inner {
    deps: Deps,
    subsystems: Arc<Subsystems>,
    restart: Restart,
}

impl Hive {
    /// Returns the settings in force now.
    pub fn config(&self) -> Arc<Config> {
        self.inner.deps.settings.get()
    }

    /// Returns true if the hive accepts work: it has started and is not stopping. A hive that
    /// restarts accepts work for the start that follows.
    pub fn is_ready(&self) -> bool {
        self.state().takes_work()
    }

    /// Returns users, keys, web sessions and tokens.
    pub fn access(&self) -> &AccessApi {
        self.inner.subsystems.access.api()
    }

    /// Returns the secret store.
    pub fn secrets(&self) -> &SecretsApi {
        self.inner.subsystems.secrets.api()
    }

    /// Returns the settings: their values, versions and changes.
    pub fn settings(&self) -> &SettingsApi {
        self.inner.subsystems.settings.api()
    }

    /// Returns the ledger.
    #[cfg(test)]
    pub(crate) fn ledger(&self) -> &deia_ledger::Ledger {
        &self.inner.deps.ledger
    }

    /// Returns the holder of the settings in force.
    #[cfg(test)]
    pub(crate) fn in_force(&self) -> &crate::config::Settings {
        &self.inner.deps.settings
    }

    /// Returns the level at which the hive sheds features.
    #[cfg(test)]
    pub(crate) fn level(&self) -> &crate::mode::CurrentLevel {
        &self.inner.deps.level
    }

    /// Returns the supervision tree, once it is up.
    #[cfg(test)]
    pub(crate) fn tree(&self) -> Option<&deia_supervision::Tree> {
        self.inner.deps.tree.get()
    }

    /// Returns the webhooks.
    pub fn webhooks(&self) -> &WebhooksApi {
        self.inner.subsystems.webhooks.api()
    }

    /// Returns the bots.
    pub fn bots(&self) -> &BotsApi {
        self.inner.subsystems.bots.api()
    }

    /// Returns the tasks.
    pub fn tasks(&self) -> &TasksApi {
        self.inner.subsystems.tasks.api()
    }

    /// Returns the queue as a whole.
    pub fn queue(&self) -> &QueueApi {
        self.inner.subsystems.tasks.queue()
    }

    /// Returns the audit trail.
    pub fn audit(&self) -> &AuditApi {
        self.inner.subsystems.audit.api()
    }

    /// Returns alerts, open and resolved.
    pub fn alerts(&self) -> &AlertsApi {
        self.inner.subsystems.alerts.api()
    }

    /// Returns the sessions of users with bots.
    pub fn sessions(&self) -> &SessionsApi {
        self.inner.subsystems.messaging.sessions()
    }

    /// Returns the messages between bots.
    pub fn messages(&self) -> &MessagesApi {
        self.inner.subsystems.messaging.messages()
    }

    /// Returns the record of answered requests.
    pub fn api_calls(&self) -> &ApiCallsApi {
        self.inner.subsystems.api_calls.api()
    }

    /// Returns the mode of the hive: the level at which it sheds features, and the features.
    pub fn degradation(&self) -> &DegradationApi {
        self.inner.subsystems.degradation.api()
    }

    /// Returns the operators' view of the hive: status, health, metrics, the tree, events.
    pub fn operations(&self) -> &OperationsApi {
        self.inner.subsystems.operations.api()
    }

    /// Returns the archive.
    pub fn recovery(&self) -> &RecoveryApi {
        self.inner.subsystems.recovery.api()
    }

    /// Begins a restore. One in place restarts the hive.
    ///
    /// # Errors
    /// As [`RecoveryApi::restore`].
    pub async fn restore(
        &self,
        who: &Principal,
        request: RestoreRequest,
    ) -> Result<RecoveryJob, HiveError> {
        let hive = self.clone();
        let restart = async move |who: &Principal| hive.ask_for_restart(who).await;
        self.recovery().restore(who, request, restart).await
    }

    /// Returns the live stream of events.
    pub fn stream(&self) -> &StreamApi {
        self.inner.subsystems.stream.api()
    }

    /// Returns the refusals that follow from the level in force.
    pub fn shedding(&self) -> SheddingApi {
        SheddingApi::new(self.inner.deps.level.clone())
    }

    fn state(&self) -> State {
        self.inner.deps.lifecycle.state()
    }
}
