//! Settings of the executor `worker`.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::config::{
    check::Checker,
    settings::{DAY, GIB, HOUR, KIB, MINUTE},
};

/// Least time that a setting of a worker may give its program. Fixed: a bound of the
/// settings themselves.
const LEAST: Duration = Duration::from_millis(10);

/// Programs that are started once and handed their tasks as lines of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct WorkerSettings {
    #[serde(with = "deia_model::duration")]
    pub start_timeout: Duration,
    pub max_line_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub ping_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub ping_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub write_timeout: Duration,
    pub max_garbage: u32,
    #[serde(with = "deia_model::duration")]
    pub garbage_window: Duration,
    pub max_waiting_inputs: u32,
}

impl WorkerSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.duration("bots.worker.start_timeout", self.start_timeout, LEAST..=DAY);
        check.size("bots.worker.max_line_bytes", self.max_line_bytes, KIB..=GIB);
        check.duration("bots.worker.ping_every", self.ping_every, LEAST..=HOUR);
        check.duration("bots.worker.ping_timeout", self.ping_timeout, LEAST..=HOUR);
        check.duration(
            "bots.worker.write_timeout",
            self.write_timeout,
            LEAST..=HOUR,
        );
        check.number("bots.worker.max_garbage", self.max_garbage, 0..=1_000_000);
        check.duration(
            "bots.worker.garbage_window",
            self.garbage_window,
            LEAST..=60 * MINUTE,
        );
        check.number(
            "bots.worker.max_waiting_inputs",
            self.max_waiting_inputs,
            1..=10_000,
        );
    }
}
