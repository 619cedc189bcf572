//! Changes that somebody asks for: of one setting, or of the whole settings file.

use deia_model::{Principal, ReloadCheck, SettingsOrigin, SettingsReload, Timestamp, Violation};
use serde_json::Value;

use super::{
    ChangeSetting, ReloadSettings, SettingsApi,
    api::Asked,
    apply::{Intent, check},
    candidate::Candidate,
    content::{Override, hash_of},
    reads::setting,
    state::Book,
};
use crate::{
    HiveError,
    config::{Config, ConfigError, TakesEffect, is_secret},
};

impl SettingsApi {
    /// Changes one setting, over all other layers. The change is on disk and in force when this
    /// returns.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; [`HiveError::Invalid`]: the value is not allowed;
    /// [`HiveError::RestartNeeded`]: the key takes effect at a start; and that another version is
    /// in force, or waits for its confirmation. Nothing has changed then.
    pub async fn change(
        &self,
        who: &Principal,
        change: ChangeSetting,
    ) -> Result<SettingsReload, HiveError> {
        let key = setting(&change.key)?.key.clone();
        if TakesEffect::of(&key) != TakesEffect::Live || is_secret(&key) {
            return Err(HiveError::RestartNeeded(vec![key]));
        }
        let mut book = self.0.book.lock().await;
        let mut overrides = book.content.overrides.clone();
        match change.value {
            Value::Null => drop(overrides.remove(&key)),
            value => {
                let set = Override {
                    value,
                    by: who.user.to_string(),
                    at: Timestamp::now(),
                };
                overrides.insert(key.clone(), set);
            }
        }
        let refused = |error| refused_value(error, &key);
        let base = book.base.clone();
        let mut candidate = loaded(move || Candidate::new(base, overrides))
            .await?
            .map_err(refused)?;
        // The layers below are those in force, whatever the file contains now.
        candidate.file_hash.clone_from(&book.content.file_hash);
        candidate.file.clone_from(&book.content.file);
        if let Some(set) = candidate.overrides.get_mut(&key) {
            // As it is written in all other places: `60s` is `1m`.
            let values = super::candidate::values_of(&candidate.config);
            if let Some(value) = values.pointer(&crate::config::pointer(&key)) {
                set.value = value.clone();
            }
        }
        let checked = check(&self.0.settings.get(), candidate).map_err(refused)?;
        let intent = Intent {
            expected: change.version,
            confirm_within: change.confirm_within,
            ..Intent::new(Asked::By(who), SettingsOrigin::Api)
        };
        self.put_in_force(&mut book, checked, intent).await
    }

    /// Reads the settings file again, and puts its live keys in force.
    ///
    /// # Errors
    /// [`HiveError::SettingsInvalid`]; [`HiveError::RestartNeeded`]: other keys differ as well;
    /// and those of [`Self::change`]. Nothing has changed then.
    pub async fn reload(
        &self,
        who: &Principal,
        request: ReloadSettings,
    ) -> Result<SettingsReload, HiveError> {
        self.reload_as(Asked::By(who), SettingsOrigin::Reload, request)
            .await
    }

    /// As [`Self::reload`], for SIGHUP.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub async fn reload_on_signal(&self) -> Result<SettingsReload, HiveError> {
        let request = ReloadSettings::default();
        self.reload_as(Asked::ByHive, SettingsOrigin::Signal, request)
            .await
    }

    pub(super) async fn reload_as(
        &self,
        asked: Asked<'_>,
        origin: SettingsOrigin,
        request: ReloadSettings,
    ) -> Result<SettingsReload, HiveError> {
        let mut book = self.0.book.lock().await;
        let read = self.read(&book).await?;
        let checked = read.and_then(|candidate| {
            check(&self.0.settings.get(), candidate).map_err(|error| problems_of(&error))
        });
        let checked = checked.map_err(|problems| {
            self.0.metrics.note_refused();
            HiveError::SettingsInvalid(problems)
        })?;
        let intent = Intent {
            expected: request.version,
            apply_rest: request.apply_rest,
            confirm_within: request.confirm_within,
            dry_run: request.dry_run,
            ..Intent::new(asked, origin)
        };
        self.put_in_force(&mut book, checked, intent).await
    }

    /// Compares the settings file with the settings in force.
    ///
    /// # Errors
    /// The machine cannot run the comparison.
    pub async fn check_reload(&self) -> Result<ReloadCheck, HiveError> {
        let book = self.0.book.lock().await;
        let mut found = ReloadCheck {
            differs: true,
            rejected: false,
            changes: Vec::new(),
            at_restart: Vec::new(),
            problems: Vec::new(),
        };
        let source = self.0.source.clone();
        let text = loaded(move || source.layers()).await?;
        let hash = text.ok().and_then(|layers| layers.read_text().map(hash_of));
        found.differs = hash != book.content.file_hash;
        found.rejected = hash.is_some() && hash == book.rejected;
        let checked = self.read(&book).await?.and_then(|candidate| {
            check(&self.0.settings.get(), candidate).map_err(|error| problems_of(&error))
        });
        match checked {
            Ok(checked) => {
                found.changes = checked.merged.changes;
                found.at_restart = checked.merged.at_restart;
                if !found.at_restart.is_empty() {
                    let keys = found.at_restart.clone();
                    found.problems = vec![HiveError::RestartNeeded(keys).to_string()];
                }
            }
            Err(problems) => {
                found.differs = true;
                found.problems = problems;
            }
        }
        Ok(found)
    }

    /// Reads the layers again, with the changes over the API on top. The inner error lists the
    /// problems with them.
    async fn read(&self, book: &Book) -> Result<Result<Candidate, Vec<String>>, HiveError> {
        let (source, overrides) = (self.0.source.clone(), book.content.overrides.clone());
        loaded(move || {
            let layers = source.layers().map_err(|error| problems_of(&error))?;
            let read = Candidate::new(layers, overrides).map_err(|error| problems_of(&error))?;
            source.check(&read.config).map_err(|reason| vec![reason])?;
            Ok(read)
        })
        .await
    }
}

/// Runs something that reads files or takes long, off the threads of the actors.
pub(super) async fn loaded<T: Send + 'static>(
    load: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HiveError> {
    let loading = tokio::task::spawn_blocking(load).await;
    loading.map_err(|error| HiveError::Internal(error.to_string()))
}

/// Returns the problems with settings, one each.
pub(super) fn problems_of(error: &ConfigError) -> Vec<String> {
    match error {
        ConfigError::Invalid(problems) => problems.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    }
}

/// Returns the refusal of a value: its problem first.
fn refused_value(error: ConfigError, key: &str) -> HiveError {
    let problems = match error {
        ConfigError::Invalid(problems) => problems,
        other => {
            return HiveError::Invalid(vec![Violation {
                pointer: "/value".to_owned(),
                detail: other.to_string(),
            }]);
        }
    };
    let detail = |problem: &crate::config::Problem| match &problem.value {
        Some(value) if problem.key == key => {
            format!("is {value}; expected {}", problem.allowed)
        }
        _ => format!("does not fit: {problem}"),
    };
    let found = problems.iter().map(|problem| Violation {
        pointer: "/value".to_owned(),
        detail: detail(problem),
    });
    HiveError::Invalid(found.collect())
}

/// Returns the settings in force without the changes over the API.
pub(super) fn without_api(book: &Book) -> Option<Config> {
    book.base.clone().without_api().load().ok()
}
