//! The settings of webhooks.

use std::time::Duration;

use bytesize::ByteSize;
use deia_model::AddressRange;
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, HOUR, MIB, MINUTE, SECOND},
};

/// The delay before a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RetryDelay(#[serde(with = "deia_model::duration")] pub Duration);

/// Webhooks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct WebhookSettings {
    pub max: u32,
    pub max_per_owner: u32,
    pub allow_http: bool,
    pub allow_ports: Vec<u16>,
    pub allow_networks: Vec<AddressRange>,
    #[serde(with = "deia_model::duration")]
    pub deadline: Duration,
    pub response_max_bytes: ByteSize,
    pub concurrency: u32,
    pub max_in_flight: u32,
    pub retry: Vec<RetryDelay>,
    pub retry_jitter: f64,
    #[serde(with = "deia_model::duration")]
    pub retry_after_max: Duration,
    #[serde(with = "deia_model::duration")]
    pub warn_after: Duration,
    #[serde(with = "deia_model::duration")]
    pub disable_after: Duration,
    pub max_waiting: u32,
    #[serde(with = "deia_model::duration")]
    pub max_lag: Duration,
    pub history: u32,
    #[serde(with = "deia_model::duration")]
    pub secret_overlap: Duration,
    #[serde(with = "deia_model::duration")]
    pub secret_overlap_max: Duration,
    pub max_tests: u32,
    pub lookups: u16,
    pub pause_after_failures: u32,
    #[serde(with = "deia_model::duration")]
    pub pause_min: Duration,
    #[serde(with = "deia_model::duration")]
    pub pause_max: Duration,
}

impl WebhookSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.number("webhooks.max", self.max, 1..=1_000_000);
        check.number("webhooks.max_per_owner", self.max_per_owner, 1..=1_000_000);
        check.duration("webhooks.deadline", self.deadline, SECOND..=5 * MINUTE);
        check.size(
            "webhooks.response_max_bytes",
            self.response_max_bytes,
            0..=MIB,
        );
        check.number("webhooks.concurrency", self.concurrency, 1..=64);
        check.number("webhooks.max_in_flight", self.max_in_flight, 1..=10_000);
        self.check_retries(check);
        check.duration("webhooks.warn_after", self.warn_after, MINUTE..=30 * DAY);
        check.duration(
            "webhooks.disable_after",
            self.disable_after,
            HOUR..=30 * DAY,
        );
        check.number("webhooks.max_waiting", self.max_waiting, 1..=1_000_000);
        check.duration("webhooks.max_lag", self.max_lag, MINUTE..=90 * DAY);
        check.number("webhooks.history", self.history, 1..=10_000);
        check.duration(
            "webhooks.secret_overlap_max",
            self.secret_overlap_max,
            Duration::ZERO..=90 * DAY,
        );
        check.number("webhooks.max_tests", self.max_tests, 1..=1_000);
        check.number("webhooks.lookups", self.lookups, 1..=256);
        check.duration(
            "webhooks.secret_overlap",
            self.secret_overlap,
            Duration::ZERO..=self.secret_overlap_max,
        );
        check.number(
            "webhooks.pause_after_failures",
            self.pause_after_failures,
            1..=1_000,
        );
        check.duration("webhooks.pause_min", self.pause_min, SECOND..=HOUR);
        check.duration("webhooks.pause_max", self.pause_max, self.pause_min..=DAY);
    }

    fn check_retries(&self, check: &mut Checker) {
        if self.retry.len() > 50 {
            check.refuse(
                "webhooks.retry",
                "has more than 50 delays",
                "at most 50 delays",
            );
        }
        let is_allowed = |delay: &RetryDelay| (SECOND..=7 * DAY).contains(&delay.0);
        if !self.retry.iter().all(is_allowed) {
            let allowed = "delays of 1s to 7days";
            check.refuse("webhooks.retry", "has a delay out of range", allowed);
        }
        check.fraction("webhooks.retry_jitter", self.retry_jitter, 0.0..=1.0);
        check.duration(
            "webhooks.retry_after_max",
            self.retry_after_max,
            SECOND..=7 * DAY,
        );
    }
}
