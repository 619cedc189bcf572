//! The settings in force, and which of them may change while the hive runs.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::{Config, ConfigError, document::leaves};

/// Keys that take effect as soon as they are in force, and groups of them: each is read at
/// every use. Any other key is read at a start, and takes effect at the next one.
const LIVE: &[&str] = &[
    "alerts",
    "audit.fail_closed_after",
    "audit.retention",
    "audit.seal_every",
    "audit.api_calls",
    "audit.api_sample",
    "auth.max_keys",
    "auth.max_users",
    "auth.sessions.lifetime",
    "auth.sessions.max",
    "auth.sessions.max_per_user",
    "auth.token_key_lifetime",
    "bots.allow_networks",
    "bots.allow_ports",
    "bots.first_port",
    "bots.last_port",
    "degradation",
    "messaging",
    "secrets.max",
    "secrets.max_bytes",
    "server.probe_timeout",
    "stream",
    "tasks.max_batch",
    "tasks.max_content_bytes",
    "tasks.max_dependencies",
    "tasks.max_metadata_bytes",
    "tasks.max_outputs_bytes",
    "tasks.max_timeout",
    "tasks.retry_after",
    "tasks.types",
    "webhooks.allow_http",
    "webhooks.allow_networks",
    "webhooks.allow_ports",
    "webhooks.concurrency",
    "webhooks.deadline",
    "webhooks.disable_after",
    "webhooks.history",
    "webhooks.max",
    "webhooks.max_lag",
    "webhooks.max_per_owner",
    "webhooks.max_waiting",
    "webhooks.pause_after_failures",
    "webhooks.pause_max",
    "webhooks.pause_min",
    "webhooks.response_max_bytes",
    "webhooks.retry",
    "webhooks.retry_after_max",
    "webhooks.retry_jitter",
    "webhooks.secret_overlap",
    "webhooks.warn_after",
];

/// Time at which a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// The change takes effect at once.
    Live,
    /// The change takes effect at the next start.
    AtRestart,
}

impl TakesEffect {
    /// Returns the time at which a key takes effect.
    pub(super) fn of(key: &str) -> Self {
        let covers = |live: &&str| {
            let rest = key.strip_prefix(*live);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match LIVE.iter().any(covers) {
            true => Self::Live,
            false => Self::AtRestart,
        }
    }

    /// Returns the name used in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::AtRestart => "restart",
        }
    }
}

/// The keys that a reload found changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that are in force now.
    pub live: Vec<String>,
    /// Keys that take effect at the next start.
    pub at_restart: Vec<String>,
}

/// The settings in force. Users of a live key read it here at each use, or wait for
/// [changes](Self::changes); a key that takes effect at a start is read once.
#[derive(Clone, Debug)]
pub struct Settings(Arc<watch::Sender<Arc<Config>>>);

impl Settings {
    /// Creates the holder of these settings.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(config))))
    }

    /// Returns the settings in force now.
    pub fn get(&self) -> Arc<Config> {
        self.0.borrow().clone()
    }

    /// Returns a receiver that is notified whenever the settings in force change.
    pub fn changes(&self) -> watch::Receiver<Arc<Config>> {
        self.0.subscribe()
    }

    /// Applies the live keys of loaded settings, all or none.
    ///
    /// # Errors
    /// [`ConfigError`]: the live keys are not valid together with the other keys in force.
    /// Nothing has changed then.
    pub fn reload(&self, loaded: &Config) -> Result<Reloaded, ConfigError> {
        let before = self.get();
        let (after, reloaded) = merge(&before, loaded)?;
        if !reloaded.live.is_empty() {
            self.0.send_replace(Arc::new(after));
        }
        Ok(reloaded)
    }
}

/// Returns the settings in force with the live keys of others, and the keys that differ.
fn merge(before: &Config, loaded: &Config) -> Result<(Config, Reloaded), ConfigError> {
    let malformed = |error: serde_json::Error| ConfigError::Malformed(error.to_string());
    let value = |config: &Config| serde_json::to_value(config).map_err(malformed);
    let (mut merged, loaded) = (value(before)?, value(loaded)?);
    let mut reloaded = Reloaded::default();
    for key in differing(&merged, &loaded) {
        match TakesEffect::of(&key) {
            TakesEffect::Live => {
                let pointer = format!("/{}", key.replace('.', "/"));
                if let (Some(to), Some(from)) =
                    (merged.pointer_mut(&pointer), loaded.pointer(&pointer))
                {
                    *to = from.clone();
                }
                reloaded.live.push(key);
            }
            TakesEffect::AtRestart => reloaded.at_restart.push(key),
        }
    }
    let merged: Config = serde_json::from_value(merged).map_err(malformed)?;
    match merged.problems() {
        problems if problems.is_empty() => Ok((merged, reloaded)),
        problems => Err(ConfigError::Invalid(problems)),
    }
}

/// Returns the keys that have another value in the second, or are in one of them only.
fn differing(before: &Value, after: &Value) -> Vec<String> {
    let (before, after) = (leaves(before), leaves(after));
    let has = |leaves: &[(String, Value)], leaf: &(String, Value)| leaves.contains(leaf);
    let changed = after.iter().filter(|leaf| !has(&before, leaf));
    let gone = before
        .iter()
        .filter(|(key, _)| !after.iter().any(|(other, _)| other == key));
    changed.chain(gone).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, settings};

    fn config(set: &[(&str, &str)]) -> Config {
        let layers = Layers::default();
        let set = set.iter().fold(layers, |layers, (k, v)| layers.set(*k, *v));
        set.load().unwrap()
    }

    #[test]
    fn live_keys_exist() {
        let keys: Vec<_> = settings().unwrap().into_iter().map(|s| s.key).collect();
        for live in LIVE {
            let of = |key: &String| key == live || key.starts_with(&format!("{live}."));
            assert!(keys.iter().any(of), "{live} is no key and no group");
        }
        assert_eq!(TakesEffect::of("secrets.max_bytes"), TakesEffect::Live);
        assert_eq!(TakesEffect::of("alerts.look_every"), TakesEffect::Live);
        assert_eq!(TakesEffect::of("secrets.maximum"), TakesEffect::AtRestart);
    }

    #[test]
    fn reload_puts_live_keys_in_force_and_names_the_others() {
        let settings = Settings::new(config(&[]));
        let changes = settings.changes();
        let loaded = config(&[
            ("secrets.max", "7"),
            ("tasks.types", "[a, b]"),
            ("server.max_wait", "1s"),
        ]);
        let reloaded = settings.reload(&loaded).unwrap();
        assert_eq!(reloaded.live, ["secrets.max", "tasks.types"]);
        assert_eq!(reloaded.at_restart, ["server.max_wait"]);
        let now = settings.get();
        assert_eq!((now.secrets.max, now.tasks.types.len()), (7, 2));
        assert_eq!(now.server.max_wait, config(&[]).server.max_wait);
        assert!(changes.has_changed().unwrap());
        let again = settings.reload(&loaded).unwrap();
        assert!(again.live.is_empty(), "{again:?}");
    }
}
