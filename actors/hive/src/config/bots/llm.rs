//! Settings of bots that are language models.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::config::{
    check::Checker,
    settings::{HOUR, KIB, MIB, MINUTE},
};

/// Bots of the kind `llm`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct LlmBotSettings {
    #[serde(with = "deia_model::duration")]
    pub connect_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub idle_timeout: Duration,
    pub max_event_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub probe_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub probe_timeout: Duration,
    pub probe_failures: u32,
}

impl LlmBotSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.duration(
            "bots.llm.connect_timeout",
            self.connect_timeout,
            Duration::from_millis(100)..=5 * MINUTE,
        );
        check.duration(
            "bots.llm.idle_timeout",
            self.idle_timeout,
            Duration::from_millis(100)..=HOUR,
        );
        check.size(
            "bots.llm.max_event_bytes",
            self.max_event_bytes,
            KIB..=64 * MIB,
        );
        check.duration(
            "bots.llm.probe_every",
            self.probe_every,
            Duration::from_millis(100)..=HOUR,
        );
        check.duration(
            "bots.llm.probe_timeout",
            self.probe_timeout,
            Duration::from_millis(100)..=MINUTE,
        );
        check.number("bots.llm.probe_failures", self.probe_failures, 1..=1_000);
    }
}
