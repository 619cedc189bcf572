//! The settings of the audit trail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, MINUTE, SECOND},
};

/// Shortest duration that a setting of the trail may have. Fixed: a bound of the settings
/// themselves.
const SHORTEST: Duration = Duration::from_millis(100);

/// The audit trail, and what is recorded for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct AuditSettings {
    pub origin: String,
    #[serde(with = "deia_model::duration")]
    pub retention: Duration,
    #[serde(with = "deia_model::duration")]
    pub fail_closed_after: Duration,
    #[serde(with = "deia_model::duration")]
    pub seal_every: Duration,
    pub not_indexed: Vec<String>,
    pub api_calls: ApiCallMode,
    pub api_sample: f64,
    pub verify_max_entries: u64,
}

/// The requests that are recorded as events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiCallMode {
    /// None.
    Off,
    /// A share of them, by their ids.
    Sampled,
    /// All.
    Full,
}

impl AuditSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if self.origin.len() > 200 || !self.origin.chars().all(fits) {
            check.refuse(
                "audit.origin",
                format!("{:?}", self.origin),
                "at most 200 characters without spaces and '+'",
            );
        }
        check.duration("audit.retention", self.retention, DAY..=3_650 * DAY);
        check.duration(
            "audit.fail_closed_after",
            self.fail_closed_after,
            SECOND..=10 * MINUTE,
        );
        check.duration("audit.seal_every", self.seal_every, SHORTEST..=MINUTE);
        if self.seal_every * 2 > self.fail_closed_after {
            check.refuse(
                "audit.seal_every",
                deia_model::duration::in_days(self.seal_every),
                "at most half of audit.fail_closed_after",
            );
        }
        check.fraction("audit.api_sample", self.api_sample, 0.0..=1.0);
        check.number(
            "audit.verify_max_entries",
            self.verify_max_entries,
            256..=1_048_576,
        );
    }
}
