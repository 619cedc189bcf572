//! Reads: the values in force and where they come from, the state, the history.

use std::sync::LazyLock;

use deia_model::{
    CurrentSetting, CurrentSettings, Page, PageRequest, SettingLayer, SettingSource, SettingValue,
    SettingsFile, SettingsStatus, SettingsVersion, duration::in_days,
};
use serde_json::Value;

use super::{
    SettingsApi, candidate::values_of, content::hash_of, reload::without_api, state::Book,
};
use crate::{
    HiveError,
    config::{Config, Setting, TakesEffect, is_secret, pointer, settings},
};

/// Every setting, in the order of the reference.
static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    settings().unwrap_or_else(|error| {
        tracing::error!(%error, "the reference of the settings cannot be made");
        Vec::new()
    })
});

/// Returns the setting of that key.
///
/// # Errors
/// [`HiveError::NotFound`].
pub(super) fn setting(key: &str) -> Result<&'static Setting, HiveError> {
    let mut all = SETTINGS.iter();
    let found = all.find(|setting| setting.key == key);
    found.ok_or_else(|| HiveError::NotFound {
        kind: "setting",
        id: key.to_owned(),
    })
}

impl SettingsApi {
    /// Returns all settings in force, and where each value comes from.
    pub async fn current(&self) -> CurrentSettings {
        let book = self.0.book.lock().await;
        let values = values_of(&self.0.settings.get());
        CurrentSettings {
            version: book.in_force.version,
            items: SETTINGS
                .iter()
                .map(|setting| current(&book, &values, &setting.key))
                .collect(),
        }
    }

    /// Returns one setting: its value, the values that it may have, and what a change would do.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn value(&self, key: &str) -> Result<SettingValue, HiveError> {
        let setting = setting(key)?;
        let book = self.0.book.lock().await;
        let config = self.0.settings.get();
        let now = current(&book, &values_of(&config), key);
        let is_overridden = book.content.overrides.contains_key(key);
        let below = without_api(&book).filter(|_| is_overridden);
        let below = below.and_then(|below| values_of(&below).pointer(&pointer(key)).cloned());
        Ok(SettingValue {
            key: now.key,
            value: now.value,
            is_set: now.is_set,
            source: now.source,
            without_api: below,
            default: (!is_secret(key)).then(|| setting.default.clone()),
            kind: setting.kind.clone(),
            allowed: setting.allowed.clone(),
            takes_effect: setting.takes_effect.as_str().to_owned(),
            on_change: on_change(setting, &config),
            description: setting.doc.clone(),
            version: book.in_force.version,
        })
    }

    /// Returns the state of the settings and of their file.
    ///
    /// # Errors
    /// The machine cannot run the comparison.
    pub async fn status(&self) -> Result<SettingsStatus, HiveError> {
        let read = self.read_layers().await;
        let book = self.0.book.lock().await;
        let file = read.0.map(|path| {
            let hash = match &read.1 {
                Ok(layers) => layers.read_text().map(hash_of),
                Err(_) => None,
            };
            let problem = match &read.1 {
                Err(error) => Some(error.to_string()),
                Ok(_) => book
                    .file_problem
                    .as_ref()
                    .filter(|it| Some(&it.hash) == hash.as_ref())
                    .map(|it| it.reason.clone()),
            };
            SettingsFile {
                path: path.display().to_string(),
                watched: (*self.0.watched.borrow()).to_owned(),
                in_force: hash.is_some() && hash == book.content.file_hash,
                rejected: hash.is_some() && hash == book.rejected,
                problem,
            }
        });
        Ok(SettingsStatus {
            in_force: book.in_force.clone(),
            confirmed: book.confirmed.0,
            overrides: book.content.overrides.keys().cloned().collect(),
            at_restart: book.at_restart.clone(),
            file,
            taken_back: book.taken_back.clone(),
        })
    }

    /// Returns versions, the newest first.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn history(&self, page: PageRequest) -> Result<Page<SettingsVersion>, HiveError> {
        Ok(self.0.ledger.settings_versions(page).await?)
    }
}

fn current(book: &Book, values: &Value, key: &str) -> CurrentSetting {
    let value = values.pointer(&pointer(key)).cloned();
    let source = match book.content.overrides.get(key) {
        Some(set) => SettingSource {
            by: Some(set.by.clone()),
            at: Some(set.at),
            ..SettingSource::of(SettingLayer::Api, None)
        },
        None => book.source(key),
    };
    let secret = is_secret(key);
    CurrentSetting {
        key: key.to_owned(),
        is_set: secret.then(|| value.as_ref().is_some_and(is_set)),
        value: value.filter(|_| !secret),
        source,
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

fn on_change(setting: &Setting, config: &Config) -> String {
    match setting.takes_effect {
        TakesEffect::AtRestart => {
            "it takes effect at the next start: change the settings file, then deia system restart"
                .to_owned()
        }
        TakesEffect::Live if config.settings.probation.is_zero() => {
            "it takes effect at once, and stays".to_owned()
        }
        TakesEffect::Live => format!(
            "it takes effect at once, and is on probation for {}: trouble that begins meanwhile takes it back",
            in_days(config.settings.probation)
        ),
    }
}
