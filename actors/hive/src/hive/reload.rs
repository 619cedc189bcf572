//! Changes of the settings while the hive runs.

use deia_ledger::{Apply, RecordEvents};
use deia_model::{Action, NewEvent};
use serde_json::json;

use super::Hive;
use crate::config::{Config, ConfigError, Reloaded};

/// Maximum number of keys that an event names.
const KEYS_MAX: usize = 100;

impl Hive {
    /// Applies the live keys of loaded settings, and records which ones have changed; see
    /// [`Settings`](crate::config::Settings::reload). `actor` is the user who asked for it,
    /// or `deia` where the process was signalled.
    ///
    /// # Errors
    /// The keys are not valid together with the keys that stay.
    pub async fn reload(&self, mut loaded: Config, actor: &str) -> Result<Reloaded, ConfigError> {
        loaded.make_absolute();
        let reloaded = self.inner.deps.settings.reload(&loaded)?;
        if !reloaded.live.is_empty() {
            self.record_change(&reloaded, actor).await;
        }
        Ok(reloaded)
    }

    /// Records the keys, without their values: some are secret.
    async fn record_change(&self, reloaded: &Reloaded, actor: &str) {
        let ledger = &self.inner.deps.ledger;
        let keys: Vec<_> = reloaded.live.iter().take(KEYS_MAX).collect();
        let details = json!({
            "keys": keys, "changed": reloaded.live.len(), "at_restart": reloaded.at_restart.len(),
        });
        let event = NewEvent::new(Action::ConfigChanged, actor, ledger.hive_id()).details(details);
        // The settings are in force, even if this cannot be recorded.
        if let Err(error) = ledger.apply(RecordEvents(vec![event])).await {
            tracing::warn!(%error, "changed settings could not be recorded");
        }
    }
}
