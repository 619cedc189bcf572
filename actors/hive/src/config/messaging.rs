//! The settings of messages between bots, and of sessions.

use std::time::Duration;

use bytesize::ByteSize;
use deia_model::MessageLimits;
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, HOUR, KIB, MIB, MINUTE, SECOND},
};

/// Messages between bots, and sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct MessagingSettings {
    pub max_inbox: u32,
    pub max_content_bytes: ByteSize,
    pub max_delivery_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub default_ttl: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_ttl: Duration,
    #[serde(with = "deia_model::duration")]
    pub redeliver_after: Duration,
    pub max_deliveries: u32,
    #[serde(with = "deia_model::duration")]
    pub retry_after: Duration,
    #[serde(with = "deia_model::duration")]
    pub retention: Duration,
    #[serde(with = "deia_model::duration")]
    pub look_every: Duration,
    pub sessions: BotSessionSettings,
}

/// Sessions of users with bots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct BotSessionSettings {
    pub max_per_user: u32,
    #[serde(with = "deia_model::duration")]
    pub idle_ttl: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_idle_ttl: Duration,
    #[serde(with = "deia_model::duration")]
    pub failing_grace: Duration,
    #[serde(with = "deia_model::duration")]
    pub retention: Duration,
}

impl BotSessionSettings {
    fn check(&self, check: &mut Checker) {
        check.number(
            "messaging.sessions.max_per_user",
            self.max_per_user,
            1..=10_000,
        );
        check.duration(
            "messaging.sessions.max_idle_ttl",
            self.max_idle_ttl,
            SECOND..=365 * DAY,
        );
        check.duration(
            "messaging.sessions.idle_ttl",
            self.idle_ttl,
            SECOND..=self.max_idle_ttl.max(SECOND),
        );
        check.duration(
            "messaging.sessions.failing_grace",
            self.failing_grace,
            Duration::ZERO..=DAY,
        );
        check.duration(
            "messaging.sessions.retention",
            self.retention,
            MINUTE..=3_650 * DAY,
        );
    }
}

impl MessagingSettings {
    /// Returns the limits of one message.
    pub fn limits(&self) -> MessageLimits {
        MessageLimits {
            max_content_bytes: self.max_content_bytes.as_u64(),
            max_ttl_seconds: self.max_ttl.as_secs(),
        }
    }

    pub(super) fn check(&self, check: &mut Checker) {
        check.number("messaging.max_inbox", self.max_inbox, 1..=10_000);
        check.size(
            "messaging.max_content_bytes",
            self.max_content_bytes,
            1..=MIB,
        );
        check.size(
            "messaging.max_delivery_bytes",
            self.max_delivery_bytes,
            KIB..=64 * MIB,
        );
        check.duration("messaging.max_ttl", self.max_ttl, SECOND..=365 * DAY);
        check.duration(
            "messaging.default_ttl",
            self.default_ttl,
            SECOND..=self.max_ttl.max(SECOND),
        );
        check.duration(
            "messaging.redeliver_after",
            self.redeliver_after,
            SECOND..=DAY,
        );
        check.number("messaging.max_deliveries", self.max_deliveries, 1..=1_000);
        check.duration("messaging.retry_after", self.retry_after, SECOND..=HOUR);
        check.duration("messaging.retention", self.retention, MINUTE..=3_650 * DAY);
        check.duration(
            "messaging.look_every",
            self.look_every,
            SECOND / 10..=10 * MINUTE,
        );
        self.sessions.check(check);
    }
}
