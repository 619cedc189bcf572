//! Settings of the settings: how changes are noticed, watched and kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, HOUR, MINUTE, SECOND},
};

/// Changes of settings while the hive runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct SettingsSettings {
    pub watch: bool,
    #[serde(with = "deia_model::duration")]
    pub watch_debounce: Duration,
    #[serde(with = "deia_model::duration")]
    pub poll_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub probation: Duration,
    #[serde(with = "deia_model::duration")]
    pub look_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_confirm: Duration,
    pub keep_versions: u32,
}

impl SettingsSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.duration(
            "settings.watch_debounce",
            self.watch_debounce,
            Duration::from_millis(10)..=MINUTE,
        );
        check.duration("settings.poll_every", self.poll_every, SECOND..=HOUR);
        check.duration("settings.probation", self.probation, Duration::ZERO..=HOUR);
        check.duration(
            "settings.look_every",
            self.look_every,
            Duration::from_millis(50)..=MINUTE,
        );
        check.duration("settings.max_confirm", self.max_confirm, SECOND..=30 * DAY);
        check.number("settings.keep_versions", self.keep_versions, 1..=10_000);
    }
}
