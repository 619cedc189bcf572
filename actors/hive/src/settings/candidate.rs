//! Settings that may be put in force: layers, loaded and checked as a whole.

use std::collections::BTreeMap;

use serde_json::Value;

use super::content::{Content, Override, hash_of};
use crate::config::{
    Config, ConfigError, Layers, TakesEffect, read_yaml, with_secrets_of, without_secrets,
};

/// Whole, valid settings, and the layers that they come from.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The layers below changes over the API.
    pub(super) base: Layers,
    pub(super) config: Config,
    /// Hash of the settings file; absent if there is none.
    pub(super) file_hash: Option<String>,
    /// Values of the settings file, without secrets.
    pub(super) file: Value,
    pub(super) overrides: BTreeMap<String, Override>,
}

impl Candidate {
    /// Loads the layers with changes over the API on top of them.
    ///
    /// # Errors
    /// [`ConfigError`]: they are not valid together.
    pub(super) fn new(
        base: Layers,
        overrides: BTreeMap<String, Override>,
    ) -> Result<Self, ConfigError> {
        // First: its errors name the file.
        let mut loaded = Self::load(base, None, Value::Null, overrides)?;
        if let Some(text) = loaded.base.read_text() {
            let (hash, file) = (hash_of(text), read_yaml(text)?);
            loaded.file_hash = Some(hash);
            loaded.file = without_secrets(file);
        }
        Ok(loaded)
    }

    /// Loads the content of an earlier version in place of that of the file.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn restored(base: Layers, content: &Content) -> Result<Self, ConfigError> {
        let overrides = live(&content.overrides);
        if base.read_text().map(hash_of) == content.file_hash {
            return Self::new(base, overrides);
        }
        // Secrets are not stored: they are those of the file as it was read last.
        let read = match base.stored_values() {
            Some(values) => values.clone(),
            None => base
                .read_text()
                .and_then(|text| read_yaml(text).ok())
                .unwrap_or_default(),
        };
        let values = with_secrets_of(content.file.clone(), &read);
        let base = base.values(values);
        Self::load(
            base,
            content.file_hash.clone(),
            content.file.clone(),
            overrides,
        )
    }

    fn load(
        base: Layers,
        file_hash: Option<String>,
        file: Value,
        overrides: BTreeMap<String, Override>,
    ) -> Result<Self, ConfigError> {
        let with = |layers: Layers, (key, set): (&String, &Override)| {
            layers.api(key.clone(), set.value.clone())
        };
        let mut config = overrides.iter().fold(base.clone(), with).load()?;
        config.make_absolute();
        Ok(Self {
            base,
            config,
            file_hash,
            file,
            overrides,
        })
    }

    /// Returns the content to store when these settings are in force.
    pub(super) fn content(&self, in_force: &Config) -> Content {
        Content {
            file_hash: self.file_hash.clone(),
            file: self.file.clone(),
            overrides: self.overrides.clone(),
            values: without_secrets(values_of(in_force)),
        }
    }
}

/// Returns the values of settings, with secrets.
pub(super) fn values_of(config: &Config) -> Value {
    // The keys are strings, so this serialisation cannot fail.
    serde_json::to_value(config).unwrap_or_default()
}

/// Returns the changes over the API of keys that are live in this version.
fn live(overrides: &BTreeMap<String, Override>) -> BTreeMap<String, Override> {
    let all = overrides.iter();
    all.filter(|(key, _)| TakesEffect::of(key) == TakesEffect::Live)
        .map(|(key, set)| (key.clone(), set.clone()))
        .collect()
}
