//! The settings of the archive and of restores.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use deia_model::RecoveryMode;
use serde::{Deserialize, Serialize};

use super::{
    Config,
    check::Checker,
    settings::{DAY, GIB, HOUR, KIB, MINUTE, SECOND},
};

/// The archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct RecoverySettings {
    pub url: String,
    pub mode: RecoveryMode,
    #[serde(with = "deia_model::duration")]
    pub ship_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub point_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub retention: Duration,
    #[serde(with = "deia_model::duration")]
    pub snapshot_every: Duration,
    pub snapshot_log_bytes: ByteSize,
    #[serde(with = "deia_model::duration")]
    pub drill_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub answer_within: Duration,
    #[serde(with = "deia_model::duration")]
    pub checkpoint_wait: Duration,
    #[serde(with = "deia_model::duration")]
    pub alert_after: Duration,
    #[serde(with = "deia_model::duration")]
    pub request_timeout: Duration,
    pub compression: i32,
    pub piece_max_bytes: ByteSize,
    pub key: String,
}

impl RecoverySettings {
    pub(super) fn check(&self, check: &mut Checker) {
        let url = &self.url;
        if !url.is_empty() && deia_object_storage::check(url).is_err() {
            let allowed = "file:/// and the absolute path of a directory, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, all without credentials and options, or empty";
            check.refuse("recovery.url", deia_object_storage::shown(url), allowed);
        }
        let key = &self.key;
        if !key.is_empty() && key.parse::<age::x25519::Recipient>().is_err() {
            let allowed = "an age recipient, age1..., as age-keygen prints it, or empty";
            check.refuse("recovery.key", key, allowed);
        }
        let millis = Duration::from_millis;
        for (key, value, allowed) in [
            ("ship_every", self.ship_every, millis(10)..=10 * MINUTE),
            ("point_every", self.point_every, SECOND..=DAY),
            ("retention", self.retention, MINUTE..=3_650 * DAY),
            ("snapshot_every", self.snapshot_every, MINUTE..=30 * DAY),
            ("drill_every", self.drill_every, Duration::ZERO..=30 * DAY),
            ("answer_within", self.answer_within, millis(100)..=MINUTE),
            (
                "checkpoint_wait",
                self.checkpoint_wait,
                millis(10)..=10 * SECOND,
            ),
            ("alert_after", self.alert_after, SECOND..=HOUR),
            (
                "request_timeout",
                self.request_timeout,
                SECOND..=10 * MINUTE,
            ),
        ] {
            check.duration(&format!("recovery.{key}"), value, allowed);
        }
        check.size(
            "recovery.snapshot_log_bytes",
            self.snapshot_log_bytes,
            (1 << 20)..=(1 << 40),
        );
        check.number("recovery.compression", self.compression, -7..=19);
        check.size(
            "recovery.piece_max_bytes",
            self.piece_max_bytes,
            64 * KIB..=GIB / 4,
        );
    }
}

impl Config {
    /// Returns the directory of the archive if no other one is set.
    pub fn backups_dir(&self) -> PathBuf {
        self.data_dir.join("backups")
    }

    /// Returns the address of the archive.
    pub fn recovery_url(&self) -> String {
        match self.recovery.url.as_str() {
            "" => url_of(&self.backups_dir()),
            url => url.to_owned(),
        }
    }
}

/// Returns the URL of a directory.
fn url_of(dir: &std::path::Path) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    url::Url::from_file_path(&dir).map_or_else(
        |()| format!("file://{}", dir.display()),
        |url| url.to_string(),
    )
}
