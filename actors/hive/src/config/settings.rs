//! The settings. `config/deia.yaml` describes the meaning, unit and range of each.

use std::{path::PathBuf, time::Duration};

use deia_model::BotName;
use serde::{Deserialize, Serialize};

use super::{
    AlertSettings, AuditSettings, AuthSettings, ConfigError, DegradationSettings, EventSettings,
    LimitSettings, LoggingSettings, MessagingSettings, Problem, RecoverySettings,
    SchedulerSettings, SecretSettings, ServerSettings, SettingsSettings, StopSettings,
    StoreSettings, StreamSettings, TaskSettings, TelemetrySettings, WebhookSettings,
    bots::BotSettings,
    check::{Checker, Rule},
};

/// Every setting of deia. Large groups are boxed, so that tasks which hold settings stay small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of all data that deia keeps.
    pub data_dir: PathBuf,
    /// The HTTP front.
    pub server: Box<ServerSettings>,
    /// The store.
    pub store: StoreSettings,
    /// Limits and defaults of tasks.
    pub tasks: TaskSettings,
    /// The event log.
    pub events: EventSettings,
    /// The audit trail.
    pub audit: AuditSettings,
    /// Alerts.
    pub alerts: AlertSettings,
    /// Degradation.
    pub degradation: Box<DegradationSettings>,
    /// The archive, and restores.
    pub recovery: Box<RecoverySettings>,
    /// Messages between bots.
    pub messaging: MessagingSettings,
    /// Webhooks.
    pub webhooks: Box<WebhookSettings>,
    /// The live stream of events.
    pub stream: StreamSettings,
    /// The scheduler.
    pub scheduler: SchedulerSettings,
    /// The bots.
    pub bots: Box<BotSettings>,
    /// The steps of a stop.
    pub stop: StopSettings,
    /// The secret store.
    pub secrets: SecretSettings,
    /// Settings themselves.
    pub settings: SettingsSettings,
    /// Users and keys.
    pub auth: AuthSettings,
    /// Rate limits.
    pub limits: LimitSettings,
    /// Logs.
    pub logging: LoggingSettings,
    /// Traces and metrics.
    pub telemetry: TelemetrySettings,
}

/// A second. Fact: the definition of the unit.
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// A minute. Fact: the definition of the unit.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// An hour. Fact: the definition of the unit.
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
/// A day. Fact: the definition of the unit.
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// Bytes of a KiB. Fact: the definition of the unit.
pub(super) const KIB: u64 = 1 << 10;
/// Bytes of a MiB. Fact: the definition of the unit.
pub(super) const MIB: u64 = 1 << 20;
/// Bytes of a GiB. Fact: the definition of the unit.
pub(super) const GIB: u64 = 1 << 30;

impl Config {
    /// Returns the defaults in `config/deia.yaml`.
    ///
    /// # Errors
    /// The compiled-in file is invalid, which a test rules out.
    pub fn defaults() -> Result<Self, ConfigError> {
        super::Layers::default().load()
    }

    /// Makes the path of the data directory absolute, because programs are started by runners,
    /// which have another working directory.
    pub(crate) fn make_absolute(&mut self) {
        if let Ok(absolute) = std::path::absolute(&self.data_dir) {
            self.data_dir = absolute;
        }
    }

    /// Returns the path of the SQLite store.
    pub fn database_path(&self) -> PathBuf {
        self.data_dir.join("deia.db")
    }

    /// Returns the path of the first admin key.
    pub fn admin_key_path(&self) -> PathBuf {
        self.data_dir.join("admin.key")
    }

    /// Returns the path of the keys that seal the stored secrets.
    pub fn secrets_key_path(&self) -> PathBuf {
        self.data_dir.join("secrets.key")
    }

    /// Returns the directory of the audit trail.
    pub fn audit_dir(&self) -> PathBuf {
        self.data_dir.join("audit")
    }

    /// Returns the path of the keys that sign the audit trail.
    pub fn audit_key_path(&self) -> PathBuf {
        self.data_dir.join("audit.key")
    }

    /// Returns the path of the index of the audit trail.
    pub fn audit_index_path(&self) -> PathBuf {
        self.data_dir.join("audit-index.db")
    }

    /// Returns the path of a bot's log.
    pub fn bot_log_path(&self, bot: &BotName) -> PathBuf {
        self.data_dir.join("logs/bots").join(format!("{bot}.log"))
    }

    /// Returns the directory in which a bot's programs run unless its specification sets another.
    pub fn bot_work_dir(&self, bot: &BotName) -> PathBuf {
        self.data_dir.join("work").join(bot.as_str())
    }

    /// Returns true if every value is allowed.
    #[cfg(test)]
    pub(crate) fn is_valid(&self) -> bool {
        self.problems().is_empty()
    }

    /// Returns every problem with the values.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.checked().done()
    }

    /// Returns the rules for each key.
    pub(super) fn rules(&self) -> Vec<Rule> {
        self.checked().rules()
    }

    fn checked(&self) -> Checker {
        let mut check = Checker::default();
        self.server.check(&mut check);
        self.store.check(&mut check);
        self.tasks.check(&mut check);
        self.events.check(&mut check);
        self.audit.check(&mut check);
        self.alerts.check(&mut check);
        self.degradation.check(&mut check);
        self.recovery.check(&mut check);
        self.messaging.check(&mut check);
        self.webhooks.check(&mut check);
        self.stream.check(&mut check);
        self.scheduler.check(&mut check);
        self.bots.check(&mut check);
        self.stop.check(&mut check);
        self.secrets.check(&mut check);
        self.settings.check(&mut check);
        self.auth.check(&mut check);
        self.limits.check(&mut check);
        check.not_empty("data_dir", &self.data_dir.to_string_lossy());
        self.logging.check(&mut check);
        self.telemetry.check(&mut check);
        check
    }
}
