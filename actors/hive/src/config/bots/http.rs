//! Settings of bots that are services.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::config::{
    check::Checker,
    settings::{GIB, HOUR, KIB, MINUTE, SECOND},
};

/// Bots of the kind `http`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct HttpBotSettings {
    #[serde(with = "deia_model::duration")]
    pub connect_timeout: Duration,
    pub max_answer_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub probe_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub probe_timeout: Duration,
    pub probe_failures: u32,
}

impl HttpBotSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        let millis = Duration::from_millis;
        check.duration(
            "bots.http.connect_timeout",
            self.connect_timeout,
            millis(100)..=5 * MINUTE,
        );
        check.size(
            "bots.http.max_answer_bytes",
            self.max_answer_bytes,
            KIB..=GIB,
        );
        check.duration(
            "bots.http.probe_every",
            self.probe_every,
            millis(100)..=HOUR,
        );
        check.duration(
            "bots.http.probe_timeout",
            self.probe_timeout,
            millis(100)..=60 * SECOND,
        );
        check.number("bots.http.probe_failures", self.probe_failures, 1..=1_000);
    }
}
