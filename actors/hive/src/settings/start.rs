//! The settings of a start: the layers, and the versions that an earlier run has left.

use std::{collections::BTreeMap, sync::Arc};

use deia_ledger::{Note, SettingsRecord, StoredSettings, WriteSettings};
use deia_model::{
    Action, NewEvent, SettingChange, SettingsOrigin, SettingsOutcome, SettingsVersion, Timestamp,
};

use super::{
    candidate::{Candidate, values_of},
    content::{Content, hash_of},
    plan::{Plan, plan},
    probation::Open,
    source::{FixedSettings, SettingsSource},
    state::{Book, event},
};
use crate::{
    config::{Config, ConfigError, Layers, changes},
    store_options::stored_settings,
};

/// The settings of a start, whole and checked.
pub struct StartSettings(Resolved);

/// The settings of a start, and the record of versions as it will be.
pub(crate) struct Resolved {
    pub(super) source: Arc<dyn SettingsSource>,
    /// The layers as they were read.
    layers: Layers,
    pub(super) book: Book,
    /// Settings to start with.
    pub(super) config: Config,
    /// Number of the newest stored version, which the start expects.
    found: u64,
    write: Option<WriteSettings>,
}

impl StartSettings {
    /// Reads the layers of the source, and the versions in the store that they name.
    ///
    /// # Errors
    /// [`ConfigError`]: the settings are not valid.
    pub fn read(source: Arc<dyn SettingsSource>) -> Result<Self, ConfigError> {
        let layers = source.layers()?;
        Self::with_layers(source, layers)
    }

    /// As [`Self::read`], with layers that were read before.
    ///
    /// # Errors
    /// [`ConfigError`]: the settings are not valid.
    pub fn with_layers(
        source: Arc<dyn SettingsSource>,
        layers: Layers,
    ) -> Result<Self, ConfigError> {
        let mut of_layers = layers.load()?;
        of_layers.make_absolute();
        let record = stored_settings(&of_layers);
        let gave_up = source.gave_up_at(&of_layers);
        let now = Timestamp::now();
        let plan = plan(&record, gave_up, now);
        resolve(source, layers, &record, plan, now).map(Self)
    }

    /// Returns the settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn into_resolved(self) -> Resolved {
        self.0
    }
}

impl Resolved {
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the source that the settings are read from.
    pub(crate) fn source(&self) -> Arc<dyn SettingsSource> {
        self.source.clone()
    }

    /// Makes them again from the same layers, for a store that was replaced meanwhile.
    ///
    /// # Errors
    /// [`ConfigError`]: the settings are not valid.
    pub(crate) fn again(self) -> Result<Self, ConfigError> {
        StartSettings::with_layers(self.source, self.layers).map(StartSettings::into_resolved)
    }

    /// Returns the number of the version that the hive starts with.
    pub(crate) fn version(&self) -> u64 {
        self.book.in_force.version
    }

    /// Returns true if these are the stored versions that the settings were made for.
    pub(crate) fn is_for(&self, record: &SettingsRecord) -> bool {
        self.found == record.newest
    }

    /// Returns the record of the start, if there is something to record.
    pub(crate) fn take_write(&mut self, hive: &str) -> Option<WriteSettings> {
        let mut write = self.write.take()?;
        for event in &mut write.events {
            hive.clone_into(&mut event.target);
        }
        Some(write)
    }
}

impl TryFrom<Config> for StartSettings {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let layers = Layers::default().values(values_of(&config));
        Self::read(Arc::new(FixedSettings(layers)))
    }
}

fn resolve(
    source: Arc<dyn SettingsSource>,
    layers: Layers,
    record: &SettingsRecord,
    mut plan: Plan,
    now: Timestamp,
) -> Result<Resolved, ConfigError> {
    let (read, hash) = (layers.clone(), layers.read_text().map(hash_of));
    let basis = plan.basis.clone();
    let is_rejected = plan.rejected.is_some() && plan.rejected == hash;
    let candidate = match &basis {
        Some((_, content)) if is_rejected => Candidate::restored(layers.clone(), content),
        Some((_, content)) => {
            let kept = Content {
                file_hash: hash.clone(),
                ..content.clone()
            };
            Candidate::restored(layers.clone(), &kept)
        }
        None => Candidate::new(layers.clone(), Default::default()),
    };
    let candidate = match candidate {
        Ok(candidate) => candidate,
        Err(error) => {
            let (alone, reason) =
                without_overrides(layers, basis.as_ref().filter(|_| is_rejected), error)?;
            plan.taken_back = Some(reason.to_owned());
            alone
        }
    };
    if !is_rejected && plan.rejected.take().is_some() {
        // The content has changed since it was taken back.
        plan.taken_back = None;
    }
    let content = candidate.content(&candidate.config);
    let before = basis.as_ref().map(|(_, content)| content);
    let same = before.is_some_and(|before| {
        *before
            == Content {
                overrides: before.overrides.clone(),
                ..content.clone()
            }
            && before.overrides_as(&content)
    });
    let is_new = !same || plan.basis_is_restored(record);
    let version = version_of(&plan, record, &content, is_new, now);
    let write = write_of(&plan, record, &version, &content, is_new, &candidate.config);
    let mut open = plan.open;
    if is_new && let Some(last) = open.last().cloned() {
        // It contains the versions that are still on probation, and goes back with them.
        open.push(Open {
            version: version.version,
            content: content.clone(),
            ..last
        });
    }
    let confirmed = match version.outcome {
        SettingsOutcome::Confirmed => (version.version, content.clone()),
        _ => plan.confirmed.unwrap_or((version.version, content.clone())),
    };
    Ok(Resolved {
        found: record.newest,
        config: candidate.config.clone(),
        book: Book {
            newest: record.newest + u64::from(is_new),
            in_force: version,
            content,
            confirmed,
            open,
            rejected: plan.rejected,
            taken_back: plan.taken_back,
            ..Book::new(candidate)
        },
        source,
        layers: read,
        write,
    })
}

/// Returns settings without the changes over the API, which do not fit the others any more, and the
/// reason. A content of the file that was rejected is used only if there is no other start.
fn without_overrides(
    layers: Layers,
    basis: Option<&(StoredSettings, Content)>,
    error: ConfigError,
) -> Result<(Candidate, &'static str), ConfigError> {
    if let Some((_, content)) = basis {
        let content = Content {
            overrides: BTreeMap::new(),
            ..content.clone()
        };
        if let Ok(earlier) = Candidate::restored(layers.clone(), &content) {
            let reason = "the changes over the API do not fit the earlier settings file, which is used again, any more";
            return Ok((earlier, reason));
        }
    }
    let alone = Candidate::new(layers, BTreeMap::new()).map_err(|_| error)?;
    let reason = match basis {
        Some(_) => {
            "the earlier version cannot be used any more, so the settings file is used although it was taken back"
        }
        None => "the changes over the API do not fit the settings file any more",
    };
    Ok((alone, reason))
}

impl Plan {
    /// Returns true if the version to start with is not the newest one.
    fn basis_is_restored(&self, record: &SettingsRecord) -> bool {
        let newest = self
            .basis
            .as_ref()
            .map(|(stored, _)| stored.version.version);
        newest != Some(record.newest)
    }
}

/// Returns the version that is in force once the hive has started.
fn version_of(
    plan: &Plan,
    record: &SettingsRecord,
    content: &Content,
    is_new: bool,
    now: Timestamp,
) -> SettingsVersion {
    let basis = plan.basis.as_ref().map(|(stored, _)| &stored.version);
    if let Some(basis) = basis.filter(|_| !is_new) {
        let passed = !plan.open.iter().any(|it| it.version == basis.version);
        let mut version = basis.clone();
        if passed {
            version.outcome = SettingsOutcome::Confirmed;
        }
        return version;
    }
    let restores = basis.map(|version| version.version);
    let is_reverted = !plan.reverted.is_empty();
    let last = plan.open.last();
    SettingsVersion {
        version: record.newest + 1,
        at: now,
        actor: "deia".to_owned(),
        origin: match is_reverted {
            true => SettingsOrigin::TakenBack,
            false => SettingsOrigin::Start,
        },
        restores: restores.filter(|_| is_reverted),
        changes: changes_since(plan, content),
        // It contains the versions that are still on probation.
        outcome: match last {
            Some(_) => SettingsOutcome::Probation,
            None => SettingsOutcome::Confirmed,
        },
        reason: plan.taken_back.clone(),
        probation_until: last.map(|it| it.until),
        confirm_by: last.and_then(|it| it.confirm_by),
        confirmed_by: None,
    }
}

fn changes_since(plan: &Plan, content: &Content) -> Vec<SettingChange> {
    let before = plan.basis.as_ref().map(|(_, content)| &content.values);
    before.map_or_else(Vec::new, |before| changes(before, &content.values))
}

fn write_of(
    plan: &Plan,
    record: &SettingsRecord,
    version: &SettingsVersion,
    content: &Content,
    is_new: bool,
    config: &Config,
) -> Option<WriteSettings> {
    let mut events: Vec<NewEvent> = Vec::new();
    for (number, reason) in &plan.reverted {
        events.push(event(Action::ConfigReverted, "deia", "", version, &[*number]).details(
            serde_json::json!({"version": version.version, "taken_back": [number], "reason": reason}),
        ));
    }
    if is_new && record.newest > 0 && plan.reverted.is_empty() && !version.changes.is_empty() {
        events.push(event(Action::ConfigChanged, "deia", "", version, &[]));
    }
    let note = |text: &Option<String>| match text {
        Some(text) => Note::Set(text.clone()),
        None => Note::Clear,
    };
    let (rejected, taken_back) = (note(&plan.rejected), note(&plan.taken_back));
    let notes_stay = plan.rejected == record.rejected
        && plan.taken_back == record.taken_back
        && plan.ended_under == record.ended_under;
    if !is_new && plan.settle.is_empty() && notes_stay {
        return None;
    }
    Some(WriteSettings {
        expected: record.newest,
        settle: plan.settle.clone(),
        add: is_new.then(|| StoredSettings {
            version: version.clone(),
            content: content.stored(),
        }),
        rejected,
        taken_back,
        ended_under: note(&plan.ended_under),
        events,
        keep: config.settings.keep_versions,
        mends: true,
    })
}
