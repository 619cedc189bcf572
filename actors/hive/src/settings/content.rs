//! The content of a version of the settings, as it is stored.

use std::collections::BTreeMap;

use deia_model::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that a version of the settings consists of, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Content {
    /// Hash of the settings file; absent if there was none.
    pub(super) file_hash: Option<String>,
    /// Values of the settings file.
    pub(super) file: Value,
    /// Changes over the API, by key.
    pub(super) overrides: BTreeMap<String, Override>,
    /// All values in force.
    pub(super) values: Value,
}

/// A value that was set over the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Override {
    pub(super) value: Value,
    /// The user who set it.
    pub(super) by: String,
    /// Time at which that was.
    pub(super) at: Timestamp,
}

impl Content {
    /// Reads a stored content. One that cannot be read is empty, as that of a new hive: a start
    /// then uses the file alone.
    pub(super) fn read(stored: &Value) -> Self {
        serde_json::from_value(stored.clone()).unwrap_or_else(|error| {
            tracing::warn!(%error, "a stored version of the settings cannot be read; using the settings file");
            Self::default()
        })
    }

    /// Returns the form in which it is stored.
    pub(super) fn stored(&self) -> Value {
        // Maps with string keys, strings and numbers: this serialisation cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Returns true if both have the same changes over the API, whoever made them.
    pub(super) fn overrides_as(&self, other: &Self) -> bool {
        let values = |content: &Self| -> Vec<(String, Value)> {
            let all = content.overrides.iter();
            all.map(|(key, it)| (key.clone(), it.value.clone()))
                .collect()
        };
        values(self) == values(other)
    }
}

/// Returns the hash by which a content of the settings file is recognised.
pub(super) fn hash_of(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    data_encoding::HEXLOWER.encode(hash.as_ref())
}
