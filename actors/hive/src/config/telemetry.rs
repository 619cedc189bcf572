//! The settings of logs, traces and metrics.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::{
    check::Checker,
    settings::{GIB, KIB, MINUTE},
};

/// Logs of deia itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct LoggingSettings {
    pub filter: String,
    pub format: LogFormat,
    pub access: bool,
    pub max_pending_bytes: ByteSize,
}

/// Traces and metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct TelemetrySettings {
    pub otlp_endpoint: String,
    pub service_name: String,
    pub trace_share: f64,
    pub queue_max: u32,
    #[serde(with = "deia_model::duration")]
    pub export_interval: Duration,
    #[serde(with = "deia_model::duration")]
    pub export_timeout: Duration,
    pub metrics_max_bots: u32,

    #[serde(with = "deia_model::duration")]
    pub metrics_timeout: Duration,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `Human` on a terminal, `Json` otherwise.
    Auto,
    /// Text for people.
    Human,
    /// JSON, one object per line.
    Json,
}

impl LoggingSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        let allowed = "a level such as info, or targets with levels such as info,deia_hive=debug";
        if self.filter.is_empty() {
            check.refuse("logging.filter", "an empty value", allowed);
        } else if let Err(error) = EnvFilter::try_new(&self.filter) {
            let value = format!("{:?}", self.filter);
            check.refuse("logging.filter", value, format!("{allowed} ({error})"));
        }
        let size = 64 * KIB..=GIB;
        check.size("logging.max_pending_bytes", self.max_pending_bytes, size);
    }
}

impl TelemetrySettings {
    pub(super) fn check(&self, check: &mut Checker) {
        let endpoint = self.otlp_endpoint.as_str();
        let is_url = ["http://", "https://"].iter().any(|scheme| {
            endpoint
                .strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty())
        });
        if !endpoint.is_empty() && (!is_url || endpoint.contains(['@', ' '])) {
            // The text before an @ is a password, so the value is not repeated.
            let allowed = "an http:// or https:// URL without a user, such as http://127.0.0.1:4318/v1/traces, or nothing";
            check.refuse("telemetry.otlp_endpoint", "the given value", allowed);
        }
        check.not_empty("telemetry.service_name", &self.service_name);
        check.fraction("telemetry.trace_share", self.trace_share, 0.0..=1.0);
        check.number("telemetry.queue_max", self.queue_max, 512..=1_000_000);
        check.duration(
            "telemetry.export_interval",
            self.export_interval,
            Duration::from_millis(10)..=MINUTE,
        );
        check.duration(
            "telemetry.export_timeout",
            self.export_timeout,
            Duration::from_millis(100)..=MINUTE,
        );
        check.number(
            "telemetry.metrics_max_bots",
            self.metrics_max_bots,
            1..=100_000,
        );
        check.duration(
            "telemetry.metrics_timeout",
            self.metrics_timeout,
            Duration::from_millis(100)..=MINUTE,
        );
    }
}
