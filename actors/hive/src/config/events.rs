//! Settings of the event log and of its followers.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, GIB, MIB},
};

/// An hour. Fact: the definition of the unit.
const HOUR: Duration = Duration::from_secs(3_600);

/// The event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct EventSettings {
    #[serde(with = "deia_model::duration")]
    pub retention: Duration,
    pub max_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub statistics_retention: Duration,
}

impl EventSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.duration("events.retention", self.retention, HOUR..=3_650 * DAY);
        check.size("events.max_bytes", self.max_bytes, 16 * MIB..=1_024 * GIB);
        check.duration(
            "events.statistics_retention",
            self.statistics_retention,
            24 * HOUR..=90 * DAY,
        );
    }
}
