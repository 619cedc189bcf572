//! Limits of requests: the rate of each caller, and the number in progress at a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{HOUR, MINUTE, SECOND},
};

/// Rate limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct LimitSettings {
    pub enabled: bool,
    pub submit: Rate,
    pub read: Rate,
    pub write: Rate,
    pub stream: Rate,
    pub admin: Rate,
    pub max_principals: u32,
    pub address: Rate,
    pub probe: Rate,
}

/// Rate limit of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Number of operations per second.
    pub per_second: u32,
    /// Number of operations that may happen at once after a pause.
    pub burst: u32,
}

/// Maximum number of requests of each class that are in progress at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct AdmissionSettings {
    pub enabled: bool,
    pub submit: u32,
    pub read: u32,
    pub write: u32,
    pub stream: u32,
    pub admin: u32,
    pub max_waiting: u32,
    #[serde(with = "deia_model::duration")]
    pub max_wait: Duration,
    #[serde(with = "deia_model::duration")]
    pub shed_retry_after: Duration,
    pub overload: OverloadSettings,
}

/// Refusals of requests while they wait too long for their turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct OverloadSettings {
    pub enabled: bool,
    #[serde(with = "deia_model::duration")]
    pub max_mean_wait: Duration,
    #[serde(with = "deia_model::duration")]
    pub window: Duration,
    pub window_requests: u32,
    pub min_requests: u32,
    pub step_down: f64,
    pub step_up: f64,
    pub share_slack: f64,
    #[serde(with = "deia_model::duration")]
    pub reshuffle_every: Duration,
    pub sample_every: u32,
    #[serde(with = "deia_model::duration")]
    pub refusal_delay: Duration,
}

impl LimitSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        for (class, rate) in [
            ("submit", self.submit),
            ("read", self.read),
            ("write", self.write),
            ("stream", self.stream),
            ("admin", self.admin),
            ("address", self.address),
            ("probe", self.probe),
        ] {
            for (name, value) in [("per_second", rate.per_second), ("burst", rate.burst)] {
                check.number(&format!("limits.{class}.{name}"), value, 1..=1_000_000);
            }
        }
        check.number("limits.max_principals", self.max_principals, 1..=10_000_000);
    }
}

impl AdmissionSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        for (class, places) in [
            ("submit", self.submit),
            ("read", self.read),
            ("write", self.write),
            ("stream", self.stream),
            ("admin", self.admin),
        ] {
            check.number(&format!("server.admission.{class}"), places, 1..=1_000_000);
        }
        check.number(
            "server.admission.max_waiting",
            self.max_waiting,
            0..=1_000_000,
        );
        check.duration(
            "server.admission.max_wait",
            self.max_wait,
            Duration::ZERO..=MINUTE,
        );
        check.duration(
            "server.admission.shed_retry_after",
            self.shed_retry_after,
            SECOND..=HOUR,
        );
        self.overload.check(check);
    }
}

impl OverloadSettings {
    fn check(&self, check: &mut Checker) {
        let key = |name: &str| format!("server.admission.overload.{name}");
        for (name, value, allowed) in [
            ("max_mean_wait", self.max_mean_wait, SECOND / 1_000..=MINUTE),
            ("window", self.window, SECOND / 100..=MINUTE),
            ("reshuffle_every", self.reshuffle_every, SECOND..=24 * HOUR),
            (
                "refusal_delay",
                self.refusal_delay,
                Duration::ZERO..=10 * SECOND,
            ),
        ] {
            check.duration(&key(name), value, allowed);
        }
        for (name, value) in [
            ("window_requests", self.window_requests),
            ("min_requests", self.min_requests),
            ("sample_every", self.sample_every),
        ] {
            check.number(&key(name), value, 1..=1_000_000);
        }
        for (name, value, allowed) in [
            ("step_down", self.step_down, 0.001..=0.5),
            ("step_up", self.step_up, 0.001..=0.5),
            ("share_slack", self.share_slack, 1.0..=100.0),
        ] {
            check.fraction(&key(name), value, allowed);
        }
    }
}
