//! The settings in force, and which of them may change while the hive runs.

use std::sync::Arc;

use deia_model::SettingChange;
use tokio::sync::watch;

use super::{Config, ConfigError, differences::changes, provenance::is_within};

/// Keys that take effect as soon as they are in force, and groups of them: each is read at
/// every use, or its user follows the changes. A bot keeps the settings that it began with. Any
/// other key is read at a start of the hive, and takes effect at the next one.
const LIVE: &[&str] = &[
    "alerts",
    "audit.api_calls",
    "audit.api_sample",
    "audit.fail_closed_after",
    "audit.retention",
    "audit.seal_every",
    "audit.verify_max_entries",
    "auth.max_keys",
    "auth.max_rotation_overlap",
    "auth.max_users",
    "auth.rotation_overlap",
    "auth.sessions.lifetime",
    "auth.sessions.max",
    "auth.sessions.max_per_user",
    "auth.token_key_lifetime",
    "bots.allow_networks",
    "bots.allow_ports",
    "bots.circuit",
    "bots.compare_every",
    "bots.degraded_for",
    "bots.fallback_every",
    "bots.fault",
    "bots.first_port",
    "bots.http",
    "bots.last_port",
    "bots.llm",
    "bots.log_answer_max_bytes",
    "bots.log_max_bytes",
    "bots.measure_every",
    "bots.pause",
    "bots.remote",
    "bots.replace_drain",
    "bots.restart",
    "bots.start_again_after",
    "bots.term_grace",
    "bots.worker",
    "degradation",
    "events",
    "limits",
    "logging.access",
    "logging.filter",
    "messaging",
    "recovery.alert_after",
    "recovery.compression",
    "recovery.drill_every",
    "recovery.piece_max_bytes",
    "recovery.point_every",
    "recovery.retention",
    "recovery.ship_every",
    "recovery.snapshot_every",
    "recovery.snapshot_log_bytes",
    "scheduler",
    "secrets.max",
    "secrets.max_bytes",
    "server.admission",
    "server.drain_timeout",
    "server.max_wait",
    "server.probe_timeout",
    "server.public_url",
    "server.restart_check_timeout",
    "settings",
    "stream",
    "tasks",
    "telemetry.metrics_max_bots",
    "telemetry.metrics_timeout",
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
    "webhooks.secret_overlap_max",
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
    pub(crate) fn of(key: &str) -> Self {
        match LIVE.iter().any(|live| is_within(key, live)) {
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

/// The settings in force, and the number of their version.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Number of the version; 0 in a hive without a record of versions.
    pub version: u64,
    /// The settings, whole and valid.
    pub config: Arc<Config>,
}

/// The settings in force. Users of a live key read it here at each use, or wait for
/// [changes](Self::changes); a key that takes effect at a start is read once.
#[derive(Clone, Debug)]
pub struct Settings(Arc<watch::Sender<InForce>>);

impl Settings {
    /// Creates the holder of these settings.
    pub fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self(Arc::new(watch::Sender::new(InForce { version: 0, config })))
    }

    /// Returns the settings in force now.
    pub fn get(&self) -> Arc<Config> {
        self.0.borrow().config.clone()
    }

    /// Returns the settings in force now and their version.
    pub fn in_force(&self) -> InForce {
        self.0.borrow().clone()
    }

    /// Returns a receiver that is notified whenever the settings in force change.
    pub fn changes(&self) -> watch::Receiver<InForce> {
        self.0.subscribe()
    }

    /// Puts settings in force, whole.
    pub(crate) fn put(&self, version: u64, config: Arc<Config>) {
        self.0.send_replace(InForce { version, config });
    }
}

/// Settings that may be put in force without a restart.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// The settings in force, with the live keys of the others.
    pub(crate) config: Config,
    /// Differences in live keys.
    pub(crate) changes: Vec<SettingChange>,
    /// Other keys that differ.
    pub(crate) at_restart: Vec<String>,
}

/// Returns the settings in force with the live keys of others, and the differences.
///
/// # Errors
/// [`ConfigError`]: the live keys are not valid together with the other keys in force.
pub(crate) fn merge(before: &Config, loaded: &Config) -> Result<Merged, ConfigError> {
    let malformed = |error: serde_json::Error| ConfigError::Malformed(error.to_string());
    let value = |config: &Config| serde_json::to_value(config).map_err(malformed);
    let (mut merged, loaded) = (value(before)?, value(loaded)?);
    let found = changes(&merged, &loaded);
    let (live, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|change| TakesEffect::of(&change.key) == TakesEffect::Live);
    // Each group as a whole: a map in it may have more entries, or fewer.
    for key in LIVE {
        let pointer = format!("/{}", key.replace('.', "/"));
        let from = loaded.pointer(&pointer);
        if let (Some(to), Some(from)) = (merged.pointer_mut(&pointer), from) {
            *to = from.clone();
        }
    }
    let config: Config = serde_json::from_value(merged).map_err(malformed)?;
    match config.problems() {
        problems if problems.is_empty() => Ok(Merged {
            config,
            changes: live,
            at_restart: others.into_iter().map(|change| change.key).collect(),
        }),
        problems => Err(ConfigError::Invalid(problems)),
    }
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
    fn entries_of_a_map_come_and_go() {
        let with_a = config(&[("tasks.by_type", "{a: {max_attempts: 7}}")]);
        let with_b = config(&[("tasks.by_type", "{b: {max_attempts: 7}}")]);
        let merged = merge(&with_a, &with_b).unwrap();
        assert!(!merged.changes.is_empty());
        assert_eq!(merged.config.tasks.by_type, with_b.tasks.by_type);
        let merged = merge(&with_b, &config(&[])).unwrap();
        assert!(merged.config.tasks.by_type.is_empty());
    }

    #[test]
    fn live_keys_are_merged_and_the_others_named() {
        let before = config(&[]);
        let loaded = config(&[
            ("secrets.max", "7"),
            ("tasks.types", "[a, b]"),
            ("server.keep_alive", "1s"),
        ]);
        let merged = merge(&before, &loaded).unwrap();
        let keys: Vec<_> = merged.changes.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["secrets.max", "tasks.types"]);
        assert_eq!(merged.at_restart, ["server.keep_alive"]);
        let now = &merged.config;
        assert_eq!((now.secrets.max, now.tasks.types.len()), (7, 2));
        assert_eq!(now.server.keep_alive, before.server.keep_alive);
        let again = merge(now, &loaded).unwrap();
        assert!(again.changes.is_empty(), "{again:?}");
    }

    #[test]
    fn settings_in_force_are_whole_and_named() {
        let settings = Settings::new(config(&[]));
        let changes = settings.changes();
        settings.put(3, Arc::new(config(&[("secrets.max", "7")])));
        let now = settings.in_force();
        assert_eq!((now.version, now.config.secrets.max), (3, 7));
        assert!(changes.has_changed().unwrap());
    }
}
