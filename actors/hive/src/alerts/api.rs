//! Interface of alerts to callers and other subsystems.

use std::sync::Arc;

use deia_ledger::{AcknowledgeAlert, Apply, Ledger, SettleAlerts, StoreError};
use deia_model::{Alert, AlertId, Condition, Page, PageRequest, Principal, Timestamp};

use super::{
    AlertNeeds,
    conditions::{Limits, Observed, TrailHealth, conditions},
};
use crate::{
    HiveError,
    access::AccessApi,
    audit::AuditApi,
    bots::{BotRegistry, BotsApi},
    config::{Config, Settings},
    host::DiskSpace,
    mode::CurrentLevel,
    recovery::RecoveryApi,
    settings::SettingsApi,
    subsystem::Deps,
};

/// Interface to alerts, open and resolved.
#[derive(Clone)]
pub struct AlertsApi {
    settings: Settings,
    ledger: Ledger,
    access: AccessApi,
    bots: BotsApi,
    registry: BotRegistry,
    audit: AuditApi,
    level: CurrentLevel,
    live_settings: SettingsApi,
    recovery: RecoveryApi,
}

impl AlertsApi {
    pub(super) fn new(deps: &Deps, needs: &AlertNeeds<'_>) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: needs.access.clone(),
            bots: needs.bots.api().clone(),
            registry: needs.bots.registry().clone(),
            audit: needs.audit.clone(),
            recovery: needs.recovery.clone(),
            live_settings: needs.settings.clone(),
            level: deps.level.clone(),
        }
    }

    /// Returns alerts, the newest first: all of them, or the open ones.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn list(&self, only_open: bool, page: PageRequest) -> Result<Page<Alert>, HiveError> {
        Ok(self.ledger.alerts(only_open, page).await?)
    }

    /// Records that the caller takes care of an alert, and returns it. The first caller to do so
    /// stays named.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn acknowledge(&self, who: &Principal, alert: AlertId) -> Result<Alert, HiveError> {
        let actor = who.user.to_string();
        let command = AcknowledgeAlert { alert, actor };
        Ok(self.access.apply_for(who, command).await?)
    }

    /// Returns the conditions that hold now, even if their alerts are not raised yet.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn conditions(&self) -> Result<Vec<Condition>, HiveError> {
        let config = self.settings.get();
        let bots = self.bots.list().await?;
        let followers = self.ledger.followers().await?;
        let queue = self.ledger.queue().await?;
        let troubled_webhooks = self.ledger.troubled_webhooks().await?;
        let webhooks: Vec<_> = troubled_webhooks.into_iter().map(|it| it.webhook).collect();
        let disk = disk_of(config.clone()).await?;
        let troubled: Vec<_> = bots
            .iter()
            .filter_map(|bot| Some((bot.id.clone(), self.registry.snapshot(&bot.id).trouble?)))
            .collect();
        let observed = Observed {
            bots: &bots,
            troubled: &troubled,
            followers: &followers,
            webhooks: &webhooks,
            audit: health_of(&self.audit),
            settings_taken_back: self.live_settings.taken_back(),
            archive: self.recovery.health(),
            now: Timestamp::now(),
            mode: &self.level.get(),
            disk_percent: disk.map_or(0.0, |disk| disk.used_percent()),
            lanes: &queue.lanes,
            hive: &self.ledger.hive_id(),
        };
        Ok(conditions(&observed, limits(&config)))
    }

    /// Returns all open alerts, oldest first.
    pub(super) async fn open(&self) -> Result<Vec<Alert>, StoreError> {
        self.ledger.open_alerts().await
    }

    /// Records a difference. Returns how many alerts it raised or resolved.
    pub(super) async fn settle(&self, command: SettleAlerts) -> Result<u64, StoreError> {
        self.ledger.apply(command).await
    }
}

fn health_of(audit: &AuditApi) -> TrailHealth {
    let progress = audit.progress();
    TrailHealth {
        failing: progress.failing.map(|failing| failing.reason),
        lag: audit.lag(),
        missed: progress.missed,
    }
}

fn limits(config: &Config) -> Limits {
    let settings = &config.alerts;
    Limits {
        webhook_failing: config.webhooks.warn_after,
        disk_percent: settings.disk_percent,
        follower_lag: settings.follower_lag,
        oldest_queued: settings.oldest_queued,
        archive_lag: config.recovery.alert_after,
        point_every: config.recovery.point_every,
        drill_every: config.recovery.drill_every,
    }
}

/// Measures the disk with the data directory: outside of the actors, since the call may hang.
async fn disk_of(config: Arc<Config>) -> Result<Option<DiskSpace>, HiveError> {
    let looking = tokio::task::spawn_blocking(move || DiskSpace::of(&config.data_dir).ok());
    let looked = looking.await;
    looked.map_err(|error| HiveError::Internal(error.to_string()))
}
