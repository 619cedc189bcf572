//! The settings of the HTTP front.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize, de::Error as _};

use super::{
    AdmissionSettings, TlsSettings,
    check::Checker,
    settings::{DAY, GIB, HOUR, KIB, MIB, MINUTE, SECOND},
};

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
    pub public_url: String,
    pub tls: TlsSettings,
    pub workers: u16,
    pub max_body_bytes: ByteSize,
    pub max_bytes_in_flight: ByteSize,
    pub max_unread_bytes: ByteSize,
    pub backlog: u32,
    pub max_connections: u32,
    pub max_connections_per_address: u32,
    pub max_streams: u32,
    #[serde(with = "deia_model::duration")]
    pub stream_heartbeat: Duration,
    #[serde(with = "deia_model::duration")]
    pub slow_reader_timeout: Duration,
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

fn is_public_url(text: &str) -> bool {
    let is_web = |url: &url::Url| {
        let has_rest = url.query().is_some() || url.fragment().is_some();
        matches!(url.scheme(), "http" | "https") && url.has_host() && !has_rest
    };
    text.is_empty() || text.parse().is_ok_and(|url| is_web(&url))
}

impl ServerSettings {
    /// Returns true if keys travel unencrypted over a network.
    pub fn is_readable_outside(&self) -> bool {
        !self.bind.ip().is_loopback() && !self.tls.is_on()
    }

    pub(super) fn check(&self, check: &mut Checker) {
        if self.is_readable_outside() && !self.allow_plain_http {
            check.refuse(
                "server.bind",
                self.bind,
                "a loopback address such as 127.0.0.1:8000, unless server.tls.cert_file is set \
                 (or server.allow_plain_http: keys would be readable)",
            );
        }
        if !is_public_url(&self.public_url) {
            check.refuse(
                "server.public_url",
                &self.public_url,
                "an http or https address without query and fragment, or nothing",
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
        check.number("server.backlog", self.backlog, 1..=65_535);
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
        check.duration(
            "server.stream_heartbeat",
            self.stream_heartbeat,
            SECOND..=5 * MINUTE,
        );
        check.duration(
            "server.slow_reader_timeout",
            self.slow_reader_timeout,
            SECOND..=10 * MINUTE,
        );
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
