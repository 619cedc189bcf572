//! Changes that somebody asks for: of one setting, or of the whole settings file.

use deia_model::{Principal, ReloadCheck, SettingsOrigin, SettingsReload, Timestamp, Violation};
use serde_json::Value;

use super::{
    ChangeSetting, ReloadSettings, SettingsApi,
    api::Asked,
    apply::{Checked, Intent, check},
    candidate::Candidate,
    content::{Override, hash_of},
    file::problems_of_read,
    reads::setting,
    state::Book,
};
use crate::{
    HiveError,
    config::{Config, ConfigError, Layers, TakesEffect, is_secret},
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
        let (api, who) = (self.clone(), who.clone());
        self.whole(async move { api.carry_out(&who, change).await })
            .await?
    }

    async fn carry_out(
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
        let values = self.0.source.check_values(&candidate.config);
        values.map_err(|reason| refused_value(ConfigError::Malformed(reason), &key))?;
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
        let (api, who) = (self.clone(), who.clone());
        let origin = SettingsOrigin::Reload;
        self.whole(async move { api.reload_as(Asked::By(&who), origin, request).await })
            .await?
    }

    /// As [`Self::reload`], for SIGHUP.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub async fn reload_on_signal(&self) -> Result<SettingsReload, HiveError> {
        let request = ReloadSettings::default();
        let (api, origin) = (self.clone(), SettingsOrigin::Signal);
        self.whole(async move { api.reload_as(Asked::ByHive, origin, request).await })
            .await?
    }

    async fn reload_as(
        &self,
        asked: Asked<'_>,
        origin: SettingsOrigin,
        request: ReloadSettings,
    ) -> Result<SettingsReload, HiveError> {
        match problems_of_read(self.read_layers().await.1) {
            Ok(layers) => self.reload_of(asked, origin, request, layers).await,
            Err(problems) => Err(self.invalid(problems)),
        }
    }

    /// Puts layers in force that were read before.
    pub(super) async fn reload_of(
        &self,
        asked: Asked<'_>,
        origin: SettingsOrigin,
        request: ReloadSettings,
        layers: Layers,
    ) -> Result<SettingsReload, HiveError> {
        let hash = layers.read_text().map(hash_of);
        if let Err(problem) = self.check_files_of(&layers).await? {
            return Err(self.invalid(vec![problem]));
        }
        let mut book = self.0.book.lock().await;
        // SIGHUP is also sent to have certificates renewed; nobody asks for this content.
        if origin == SettingsOrigin::Signal && hash.is_some() && hash == book.rejected {
            return Err(HiveError::SettingsRefused(
                "the content of the settings file was taken back; it is not applied until it changes, or somebody asks for it (deia-admin config reload)".to_owned(),
            ));
        }
        let checked = self.checked(&book, layers).await?;
        let checked = checked.map_err(|problems| self.invalid(problems))?;
        let intent = Intent {
            expected: request.version,
            apply_rest: request.apply_rest,
            confirm_within: request.confirm_within,
            dry_run: request.dry_run,
            ..Intent::new(asked, origin)
        };
        self.put_in_force(&mut book, checked, intent).await
    }

    fn invalid(&self, problems: Vec<String>) -> HiveError {
        self.0.metrics.note_refused();
        HiveError::SettingsInvalid(problems)
    }

    /// Compares the settings file with the settings in force.
    ///
    /// # Errors
    /// The machine cannot run the comparison.
    pub async fn check_reload(&self) -> Result<ReloadCheck, HiveError> {
        let read = problems_of_read(self.read_layers().await.1);
        let hash = read
            .as_ref()
            .ok()
            .and_then(|layers| layers.read_text().map(hash_of));
        let problem = match &read {
            Ok(layers) => self.check_files_of(layers).await?.err(),
            Err(_) => None,
        };
        let book = self.0.book.lock().await;
        let mut found = ReloadCheck {
            differs: hash != book.content.file_hash,
            rejected: hash.is_some() && hash == book.rejected,
            changes: Vec::new(),
            at_restart: Vec::new(),
            problems: Vec::new(),
        };
        let checked = match (read, problem) {
            (Ok(_), Some(problem)) => Err(vec![problem]),
            (Ok(layers), None) => self.checked(&book, layers).await?,
            (Err(problems), _) => Err(problems),
        };
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

    /// Checks the files that layers name, with the changes over the API on top. Layers that are not
    /// valid name none: they are refused afterwards. The inner error is the problem.
    async fn check_files_of(&self, layers: &Layers) -> Result<Result<(), String>, HiveError> {
        let overrides = self.0.book.lock().await.content.overrides.clone();
        let layers = layers.clone();
        match loaded(move || Candidate::new(layers, overrides)).await? {
            Ok(candidate) => Ok(self.check_files(candidate.config).await),
            Err(_) => Ok(Ok(())),
        }
    }

    /// Loads layers, alone and with the changes over the API on top, and checks them. Reads no file.
    /// The inner error lists the problems with them.
    async fn checked(
        &self,
        book: &Book,
        layers: Layers,
    ) -> Result<Result<Checked, Vec<String>>, HiveError> {
        let (source, overrides) = (self.0.source.clone(), book.content.overrides.clone());
        let in_force = self.0.settings.get();
        loaded(move || {
            // A start loads them alone first.
            let alone = layers.clone().load().map(drop);
            alone.map_err(|error| problems_of(&error))?;
            let read = Candidate::new(layers, overrides).map_err(|error| problems_of(&error))?;
            let values = source.check_values(&read.config);
            values.map_err(|reason| vec![reason])?;
            check(&in_force, read).map_err(|error| problems_of(&error))
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
