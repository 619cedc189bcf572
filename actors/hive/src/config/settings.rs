//! The settings. `config/deia.yaml` describes the meaning, unit and range of each.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use deia_model::BotName;
use serde::{Deserialize, Serialize, de::Error as _};
use tracing_subscriber::EnvFilter;

use super::{
    AdmissionSettings, AlertSettings, AuditSettings, AuthSettings, ConfigError,
    DegradationSettings, EventSettings, LimitSettings, MessagingSettings, Problem,
    SchedulerSettings, SecretSettings, SettingsSettings, StreamSettings, TaskSettings, TlsSettings,
    WebhookSettings,
    bots::BotSettings,
    check::{Checker, Rule},
};

/// Every setting of deia.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of all data that deia keeps.
    pub data_dir: PathBuf,
    /// The HTTP front.
    pub server: ServerSettings,
    /// The store.
    pub store: StoreSettings,
    /// Limits and defaults of tasks.
    pub tasks: TaskSettings,
    /// The event log.
    pub events: EventSettings,
    /// The audit trail.
    pub audit: AuditSettings,
    /// Alerts.
    pub alerts: AlertSettings,
    /// Degradation.
    pub degradation: DegradationSettings,
    /// Messages between bots.
    pub messaging: MessagingSettings,
    /// Webhooks.
    pub webhooks: WebhookSettings,
    /// The live stream of events.
    pub stream: StreamSettings,
    /// The scheduler.
    pub scheduler: SchedulerSettings,
    /// The bots.
    pub bots: BotSettings,
    /// The secret store.
    pub secrets: SecretSettings,
    /// Settings themselves.
    pub settings: SettingsSettings,
    /// Users and keys.
    pub auth: AuthSettings,
    /// Rate limits.
    pub limits: LimitSettings,
    /// Logs.
    pub logging: LoggingSettings,
    /// Traces.
    pub telemetry: TelemetrySettings,
}

/// Reads an IP address with a port.
///
/// # Errors
/// The text is not an address with a port; the message describes the expected form.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an IP address and a port, such as 127.0.0.1:8000";
    text.parse()
        .map_err(|_| format!("{text:?} is not allowed; {expected}"))
}

fn socket_address_of<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    socket_address(&text).map_err(D::Error::custom)
}

/// The HTTP front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct ServerSettings {
    #[serde(deserialize_with = "socket_address_of")]
    pub bind: SocketAddr,
    pub allow_plain_http: bool,
    pub tls: TlsSettings,
    pub workers: u16,
    pub max_body_bytes: ByteSize,
    pub max_bytes_in_flight: ByteSize,
    pub max_unread_bytes: ByteSize,
    pub max_connections: u32,
    pub max_connections_per_address: u32,
    pub max_streams: u32,
    pub admission: AdmissionSettings,
    #[serde(with = "deia_model::duration")]
    pub request_head_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub request_body_timeout: Duration,
    pub min_bytes_per_second: u64,
    #[serde(with = "deia_model::duration")]
    pub write_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub keep_alive: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_wait: Duration,
    #[serde(with = "deia_model::duration")]
    pub drain_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub close_notice: Duration,
    #[serde(with = "deia_model::duration")]
    pub restart_check_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub close_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub probe_timeout: Duration,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct StoreSettings {
    pub url: String,
    pub group_commit_max: u32,
    pub queue_max: u32,
    pub readers: u16,
    #[serde(with = "deia_model::duration")]
    pub read_timeout: Duration,
    pub checkpoint_pages: u32,
    pub wal_max_bytes: ByteSize,
    pub reserve_bytes: ByteSize,
    pub cache_bytes: ByteSize,
}

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

/// Traces and their destination.
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

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

impl Config {
    /// Returns the defaults in `config/deia.yaml`.
    ///
    /// # Errors
    /// The compiled-in file is invalid, which a test rules out.
    pub fn defaults() -> Result<Self, ConfigError> {
        super::Layers::default().load()
    }

    /// Makes the path of the data directory absolute, because programs are started by runners,
    /// which have another working directory.
    pub(crate) fn make_absolute(&mut self) {
        if let Ok(absolute) = std::path::absolute(&self.data_dir) {
            self.data_dir = absolute;
        }
    }

    /// Returns the path of the SQLite store.
    pub fn database_path(&self) -> PathBuf {
        self.data_dir.join("deia.db")
    }

    /// Returns the path of the first admin key.
    pub fn admin_key_path(&self) -> PathBuf {
        self.data_dir.join("admin.key")
    }

    /// Returns the path of the keys that seal the stored secrets.
    pub fn secrets_key_path(&self) -> PathBuf {
        self.data_dir.join("secrets.key")
    }

    /// Returns the directory of the audit trail.
    pub fn audit_dir(&self) -> PathBuf {
        self.data_dir.join("audit")
    }

    /// Returns the path of the keys that sign the audit trail.
    pub fn audit_key_path(&self) -> PathBuf {
        self.data_dir.join("audit.key")
    }

    /// Returns the path of the index of the audit trail.
    pub fn audit_index_path(&self) -> PathBuf {
        self.data_dir.join("audit-index.db")
    }

    /// Returns the path of a bot's log.
    pub fn bot_log_path(&self, bot: &BotName) -> PathBuf {
        self.data_dir.join("logs/bots").join(format!("{bot}.log"))
    }

    /// Returns the directory in which a bot's programs run unless its specification sets another.
    pub fn bot_work_dir(&self, bot: &BotName) -> PathBuf {
        self.data_dir.join("work").join(bot.as_str())
    }

    /// Returns true if every value is allowed.
    #[cfg(test)]
    pub(crate) fn is_valid(&self) -> bool {
        self.problems().is_empty()
    }

    /// Returns every problem with the values.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.checked().done()
    }

    /// Returns the rules for each key.
    pub(super) fn rules(&self) -> Vec<Rule> {
        self.checked().rules()
    }

    fn checked(&self) -> Checker {
        let mut check = Checker::default();
        self.server.check(&mut check);
        self.store.check(&mut check);
        self.tasks.check(&mut check);
        self.events.check(&mut check);
        self.audit.check(&mut check);
        self.alerts.check(&mut check);
        self.degradation.check(&mut check);
        self.messaging.check(&mut check);
        self.webhooks.check(&mut check);
        self.stream.check(&mut check);
        self.scheduler.check(&mut check);
        self.bots.check(&mut check);
        self.secrets.check(&mut check);
        self.settings.check(&mut check);
        self.auth.check(&mut check);
        self.limits.check(&mut check);
        check.not_empty("data_dir", &self.data_dir.to_string_lossy());
        self.logging.check(&mut check);
        self.telemetry.check(&mut check);
        check
    }
}

impl ServerSettings {
    /// Returns true if keys travel unencrypted over a network.
    pub fn is_readable_outside(&self) -> bool {
        !self.bind.ip().is_loopback() && !self.tls.is_on()
    }

    fn check(&self, check: &mut Checker) {
        if self.is_readable_outside() && !self.allow_plain_http {
            check.refuse(
                "server.bind",
                self.bind,
                "a loopback address such as 127.0.0.1:8000, unless server.tls.cert_file is set \
                 (or server.allow_plain_http: keys would be readable)",
            );
        }
        self.tls.check(check);
        check.number("server.workers", self.workers, 0..=256);
        check.size("server.max_body_bytes", self.max_body_bytes, KIB..=GIB);
        check.size(
            "server.max_bytes_in_flight",
            self.max_bytes_in_flight,
            self.max_body_bytes.as_u64()..=(1 << 40).max(self.max_body_bytes.as_u64()),
        );
        check.size(
            "server.max_unread_bytes",
            self.max_unread_bytes,
            MIB..=1 << 40,
        );
        check.number(
            "server.max_connections",
            self.max_connections,
            1..=1_000_000,
        );
        check.number(
            "server.max_connections_per_address",
            self.max_connections_per_address,
            1..=1_000_000,
        );
        check.number("server.max_streams", self.max_streams, 1..=100_000);
        self.admission.check(check);
        check.duration(
            "server.request_head_timeout",
            self.request_head_timeout,
            SECOND..=10 * MINUTE,
        );
        check.duration(
            "server.request_body_timeout",
            self.request_body_timeout,
            SECOND..=DAY,
        );
        check.number(
            "server.min_bytes_per_second",
            self.min_bytes_per_second,
            1..=1_000_000,
        );
        check.duration(
            "server.write_timeout",
            self.write_timeout,
            SECOND..=10 * MINUTE,
        );
        check.duration("server.keep_alive", self.keep_alive, SECOND..=HOUR);
        check.duration("server.max_wait", self.max_wait, SECOND..=10 * MINUTE);
        check.duration(
            "server.drain_timeout",
            self.drain_timeout,
            Duration::ZERO..=HOUR,
        );
        check.duration(
            "server.close_notice",
            self.close_notice,
            Duration::ZERO..=MINUTE,
        );
        check.duration(
            "server.restart_check_timeout",
            self.restart_check_timeout,
            SECOND..=10 * MINUTE,
        );
        check.duration(
            "server.close_timeout",
            self.close_timeout,
            SECOND..=10 * MINUTE,
        );
        check.duration("server.probe_timeout", self.probe_timeout, SECOND..=MINUTE);
    }
}

impl StoreSettings {
    fn check(&self, check: &mut Checker) {
        if self.url != "sqlite" {
            check.refuse(
                "store.url",
                &self.url,
                "`sqlite`, the only engine of this version",
            );
        }
        check.number("store.group_commit_max", self.group_commit_max, 1..=4_096);
        check.number("store.queue_max", self.queue_max, 64..=1_000_000);
        check.number("store.readers", self.readers, 1..=64);
        check.number(
            "store.checkpoint_pages",
            self.checkpoint_pages,
            100..=1_000_000,
        );
        check.duration(
            "store.read_timeout",
            self.read_timeout,
            Duration::from_millis(100)..=HOUR,
        );
        check.size("store.wal_max_bytes", self.wal_max_bytes, MIB..=64 * GIB);
        check.size("store.reserve_bytes", self.reserve_bytes, 0..=GIB);
        check.size("store.cache_bytes", self.cache_bytes, MIB..=4 * GIB);
    }
}

impl LoggingSettings {
    fn check(&self, check: &mut Checker) {
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
    fn check(&self, check: &mut Checker) {
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
    }
}
