//! The settings of the live stream.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{GIB, KIB, MIB, MINUTE, SECOND},
};

/// Shortest duration that a setting of the stream may have. Fixed: a bound of the
/// settings themselves.
const SHORTEST: Duration = Duration::from_millis(100);

/// The live stream of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct StreamSettings {
    pub buffer_bytes: ByteSize,
    pub client_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub slow_client_after: Duration,
    #[serde(with = "deia_model::duration")]
    pub heartbeat: Duration,
    #[serde(with = "deia_model::duration")]
    pub retry: Duration,
}

impl StreamSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.size("stream.buffer_bytes", self.buffer_bytes, 64 * KIB..=4 * GIB);
        check.size(
            "stream.client_bytes",
            self.client_bytes,
            16 * KIB..=64 * MIB,
        );
        check.duration(
            "stream.slow_client_after",
            self.slow_client_after,
            SHORTEST..=10 * MINUTE,
        );
        check.duration("stream.heartbeat", self.heartbeat, SHORTEST..=30 * SECOND);
        check.duration("stream.retry", self.retry, SHORTEST..=MINUTE);
    }
}
