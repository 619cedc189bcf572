//! Settings of the secret store and of the locations of bots' secrets.

use bytesize::ByteSize;
use deia_model::{SecretPlaces, is_plain};
use serde::{Deserialize, Serialize};

use super::{check::Checker, settings::KIB};

/// The secret store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct SecretSettings {
    pub max: u32,
    pub max_bytes: ByteSize,
}

impl SecretSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.number("secrets.max", self.max, 1..=1_000_000);
        check.size("secrets.max_bytes", self.max_bytes, KIB..=64 * KIB);
    }
}

pub(super) fn check_places(places: &SecretPlaces, check: &mut Checker) {
    for (i, path) in places.files.iter().enumerate() {
        if !is_plain(path) {
            check.refuse(
                format!("bots.secret_files[{i}]"),
                path,
                "an absolute path without . and ..",
            );
        }
    }
    for (i, name) in places.env.iter().enumerate() {
        if name.is_empty() || name.contains(['=', '\0']) {
            check.refuse(
                format!("bots.secret_env[{i}]"),
                name,
                "the name of an environment variable",
            );
        }
    }
}
