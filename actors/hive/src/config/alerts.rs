//! The settings of alerts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, HOUR, MINUTE, SECOND},
};

/// Alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct AlertSettings {
    #[serde(with = "deia_model::duration")]
    pub look_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub resolve_after: Duration,
    pub disk_percent: u32,
    #[serde(with = "deia_model::duration")]
    pub oldest_queued: Duration,
    #[serde(with = "deia_model::duration")]
    pub follower_lag: Duration,
    #[serde(with = "deia_model::duration")]
    pub retention: Duration,
}

impl AlertSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.duration("alerts.look_every", self.look_every, SECOND..=10 * MINUTE);
        check.duration(
            "alerts.resolve_after",
            self.resolve_after,
            Duration::ZERO..=DAY,
        );
        check.duration(
            "alerts.oldest_queued",
            self.oldest_queued,
            SECOND..=30 * DAY,
        );
        check.number("alerts.disk_percent", self.disk_percent, 1..=100);
        check.duration("alerts.follower_lag", self.follower_lag, SECOND..=DAY);
        check.duration("alerts.retention", self.retention, HOUR..=3_650 * DAY);
    }
}
