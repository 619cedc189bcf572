//! The way of a change: checked, recorded, applied to every subsystem or to none, and on probation.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use deia_ledger::{Note, SettledVersion, StoreError, StoredSettings, WriteSettings};
use deia_model::{
    Action, NewEvent, SettingsOrigin, SettingsOutcome, SettingsReload, SettingsVersion, Timestamp,
};

use super::{
    SettingsApi,
    api::Asked,
    candidate::Candidate,
    content::Content,
    probation::{Open, awaits_confirmation},
    record::may_be_written,
    state::{Book, event},
};
use crate::{
    HiveError,
    config::{Config, ConfigError, Merged, changes, merge},
};

/// The circumstances of a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intent<'a> {
    pub(super) asked: Asked<'a>,
    pub(super) origin: SettingsOrigin,
    /// The version whose values are put back.
    pub(super) restores: Option<u64>,
    /// Applies live keys although others differ as well.
    pub(super) apply_rest: bool,
    /// Version that must be in force.
    pub(super) expected: Option<u64>,
    pub(super) confirm_within: Option<Duration>,
    pub(super) dry_run: bool,
}

impl<'a> Intent<'a> {
    pub(super) fn new(asked: Asked<'a>, origin: SettingsOrigin) -> Self {
        Self {
            asked,
            origin,
            restores: None,
            apply_rest: false,
            expected: None,
            confirm_within: None,
            dry_run: false,
        }
    }
}

/// A change that was checked.
pub(super) struct Checked {
    pub(super) candidate: Candidate,
    pub(super) merged: Merged,
    pub(super) content: Content,
}

/// Checks settings together with the keys in force that stay.
///
/// # Errors
/// [`ConfigError`]: they are not valid together.
pub(super) fn check(in_force: &Config, candidate: Candidate) -> Result<Checked, ConfigError> {
    let merged = merge(in_force, &candidate.config)?;
    let content = candidate.content(&merged.config);
    Ok(Checked {
        candidate,
        merged,
        content,
    })
}

impl SettingsApi {
    /// Puts settings in force, or changes nothing.
    pub(super) async fn put_in_force(
        &self,
        book: &mut Book,
        checked: Checked,
        intent: Intent<'_>,
    ) -> Result<SettingsReload, HiveError> {
        self.admit(book, &checked, intent)?;
        let at_restart = &checked.merged.at_restart;
        let keeps = checked.merged.changes.is_empty()
            && checked.content.overrides_as(&book.content)
            && checked.content.file_hash == book.content.file_hash;
        if intent.dry_run || keeps {
            return Ok(SettingsReload {
                version: book.in_force.version,
                applied: false,
                changes: checked.merged.changes,
                at_restart: at_restart.clone(),
                probation_until: None,
                confirm_by: None,
                record_pending: false,
            });
        }
        self.record_rest(book).await?;
        let _ = self.look_at_readiness().await;
        let config = self.0.settings.get();
        let version = version_of(book, &checked, intent);
        let number = version.version;
        self.record(book, &version, &checked.content, intent.asked)
            .await?;
        let after = Arc::new(checked.merged.config.clone());
        if let Err(reason) = self.reconfigure(&config, &after).await {
            self.0.metrics.note_refused();
            self.give_up(book, &version, &reason).await;
            return Err(HiveError::SettingsRefused(reason));
        }
        let before = self.0.settings.in_force();
        self.0.settings.put(number, after.clone());
        let armed = arm(version, intent, &config);
        let rejected = rejected_by(book, &checked.content, intent.origin);
        if let Err(error) = self.settle(book, &armed, rejected.clone()).await {
            self.0.settings.put(before.version, before.config);
            self.roll_back(&after, &config).await;
            self.give_up(book, &armed, &error.to_string()).await;
            return Err(error.into());
        }
        self.0.metrics.note_applied();
        book.rejected = match rejected {
            Note::Keep => book.rejected.take(),
            Note::Clear => None,
            Note::Set(hash) => Some(hash),
        };
        Ok(self.enter(book, checked, armed))
    }

    /// Refuses a change that the state does not allow.
    fn admit(&self, book: &Book, checked: &Checked, intent: Intent<'_>) -> Result<(), HiveError> {
        let version = book.in_force.version;
        if let Some(expected) = intent.expected.filter(|expected| *expected != version) {
            return Err(HiveError::Refused(
                deia_ledger::Rejection::VersionMismatch {
                    expected,
                    actual: version,
                },
            ));
        }
        if !intent.dry_run && awaits_confirmation(&book.open) {
            return Err(HiveError::ConfirmationPending { version });
        }
        let settings = self.0.settings.get().settings.clone();
        if !intent.dry_run && book.open.len() >= settings.keep_versions as usize {
            let count = book.open.len();
            return Err(HiveError::SettingsRefused(format!(
                "{count} changes are on probation, as many as versions are kept (settings.keep_versions); wait until the first is over (settings.probation)"
            )));
        }
        let most = settings.max_confirm;
        if intent.confirm_within.is_some_and(|within| within > most) {
            return Err(HiveError::Invalid(vec![deia_model::Violation {
                pointer: "/confirm_within_seconds".to_owned(),
                detail: format!("is more than {} s (settings.max_confirm)", most.as_secs()),
            }]));
        }
        let known = |key: &&String| !book.at_restart.contains(key);
        let more: Vec<_> = checked.merged.at_restart.iter().filter(known).collect();
        match more.is_empty() || intent.apply_rest || intent.dry_run {
            true => Ok(()),
            false => Err(HiveError::RestartNeeded(
                more.into_iter().cloned().collect(),
            )),
        }
    }

    /// Writes the version and its event, before it is applied.
    async fn record(
        &self,
        book: &mut Book,
        version: &SettingsVersion,
        content: &Content,
        asked: Asked<'_>,
    ) -> Result<(), HiveError> {
        let hive = self.0.ledger.hive_id();
        let event = event(Action::ConfigChanged, &version.actor, &hive, version, &[]);
        let write = WriteSettings {
            expected: book.newest,
            add: Some(StoredSettings {
                version: version.clone(),
                content: content.stored(),
            }),
            events: vec![event],
            keep: self.0.settings.get().settings.keep_versions,
            ..WriteSettings::default()
        };
        let Err(error) = self.write(book, asked, write).await else {
            return Ok(());
        };
        if may_be_written(&error) {
            // The number is used up, and the version never applied.
            let reason = format!("it could not be recorded: {error}");
            let failed = SettingsVersion {
                outcome: SettingsOutcome::Failed,
                reason: Some(reason.clone()),
                ..version.clone()
            };
            let add = StoredSettings {
                version: failed,
                content: content.stored(),
            };
            book.owe(WriteSettings {
                add: Some(add),
                keep: self.0.settings.get().settings.keep_versions,
                ..self.failed(book, version, &reason)
            });
        }
        Err(error.into())
    }

    /// Records that a version is in force, which arms its deadlines.
    async fn settle(
        &self,
        book: &mut Book,
        version: &SettingsVersion,
        rejected: Note,
    ) -> Result<(), StoreError> {
        let mut settle = vec![SettledVersion {
            probation_until: version.probation_until,
            confirm_by: version.confirm_by,
            ..SettledVersion::to(version.version, version.outcome)
        }];
        if version.outcome == SettingsOutcome::Confirmed {
            // It contains them.
            let contained = book.open.iter();
            settle.extend(contained.map(|it| SettledVersion::to(it.version, version.outcome)));
        }
        let write = WriteSettings {
            expected: book.newest,
            settle,
            rejected,
            taken_back: Note::Clear,
            ..WriteSettings::default()
        };
        self.write(book, Asked::ByHive, write).await
    }

    /// Records that a version was not put in force.
    async fn give_up(&self, book: &mut Book, version: &SettingsVersion, reason: &str) {
        let mut write = self.failed(book, version, reason);
        write.settle = vec![SettledVersion {
            reason: Some(reason.to_owned()),
            ..SettledVersion::to(version.version, SettingsOutcome::Failed)
        }];
        book.owe(write);
        if let Err(error) = self.record_rest(book).await {
            tracing::warn!(%error, version = version.version, "settings that were not applied could not be recorded as such; retrying");
            self.0.poke.notify_one();
        }
    }

    /// Returns the record of a version that was not put in force, as far as it is the same for one
    /// that is stored and one that is not.
    fn failed(&self, book: &Book, version: &SettingsVersion, reason: &str) -> WriteSettings {
        let hive = self.0.ledger.hive_id();
        let failed = SettingsVersion {
            reason: Some(reason.to_owned()),
            ..version.clone()
        };
        let taken_back = [version.version];
        let event: NewEvent =
            event(Action::ConfigReverted, "deia", &hive, &failed, &taken_back).failure();
        WriteSettings {
            expected: book.newest,
            events: vec![event],
            mends: true,
            ..WriteSettings::default()
        }
    }

    /// Notes a version that is in force.
    fn enter(&self, book: &mut Book, checked: Checked, version: SettingsVersion) -> SettingsReload {
        let Checked {
            candidate,
            merged,
            content,
        } = checked;
        match version.outcome {
            SettingsOutcome::Probation => {
                book.open
                    .extend(Open::of(&version, content.clone()).map(|open| Open {
                        at: Timestamp::now(),
                        ..open
                    }))
            }
            _ => {
                book.open.clear();
                book.confirmed = (version.version, content.clone());
            }
        }
        book.take_base(candidate.base, merged.at_restart.clone());
        book.content = content;
        book.file_problem = None;
        self.note_taken_back(book, None);
        book.in_force = version;
        self.0.poke.notify_one();
        SettingsReload {
            version: book.in_force.version,
            applied: true,
            changes: merged.changes,
            at_restart: merged.at_restart,
            probation_until: book.in_force.probation_until,
            confirm_by: book.in_force.confirm_by,
            record_pending: false,
        }
    }

    /// Notes that settings were taken back, or that this is over.
    pub(super) fn note_taken_back(&self, book: &mut Book, reason: Option<String>) {
        book.taken_back.clone_from(&reason);
        self.0.taken_back.send_replace(reason);
    }

    /// Has every subsystem adapt to settings. If one refuses, those before it go back.
    pub(super) async fn reconfigure(&self, from: &Config, to: &Config) -> Result<(), String> {
        let needs = self.0.needs.get();
        #[allow(unused_mut, reason = "tests add parts of their own")]
        let mut subsystems: Vec<_> = needs
            .iter()
            .flat_map(|needs| needs.subsystems.iter().filter_map(Weak::upgrade))
            .collect();
        #[cfg(test)]
        subsystems.extend(self.0.more.lock().unwrap().iter().cloned());
        for (at, subsystem) in subsystems.iter().enumerate() {
            let Err(reason) = subsystem.reconfigure(from, to).await else {
                continue;
            };
            for before in subsystems[..at].iter().rev() {
                if let Err(error) = before.reconfigure(to, from).await {
                    tracing::error!(
                        error,
                        "a subsystem does not go back to its settings; restart the server"
                    );
                }
            }
            return Err(reason);
        }
        Ok(())
    }

    async fn roll_back(&self, from: &Config, to: &Config) {
        if let Err(error) = self.reconfigure(from, to).await {
            tracing::error!(
                error,
                "a subsystem does not go back to its settings; restart the server"
            );
        }
    }
}

/// Returns the change of the note of the rejected content of the file. A change over the API does
/// not read the file, which may still have that content.
fn rejected_by(book: &Book, content: &Content, origin: SettingsOrigin) -> Note {
    let before = &book.content.file_hash;
    match (origin, before) {
        _ if content.file_hash == *before => Note::Keep,
        // The file still has the content that is put aside.
        (SettingsOrigin::Undo, Some(hash)) => Note::Set(hash.clone()),
        (SettingsOrigin::Undo, None) => Note::Keep,
        _ => Note::Clear,
    }
}

fn version_of(book: &Book, checked: &Checked, intent: Intent<'_>) -> SettingsVersion {
    SettingsVersion {
        version: book.newest + 1,
        at: Timestamp::now(),
        actor: intent.asked.name(),
        origin: intent.origin,
        restores: intent.restores,
        changes: changes(&book.content.values, &checked.content.values),
        outcome: SettingsOutcome::Pending,
        reason: None,
        probation_until: None,
        confirm_by: None,
        confirmed_by: None,
    }
}

/// Returns the version as it is once it was applied: with its deadlines, which count from now.
fn arm(version: SettingsVersion, intent: Intent<'_>, config: &Config) -> SettingsVersion {
    let now = Timestamp::now();
    let after =
        |time: Duration| now.plus_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let probation = config.settings.probation;
    let may_go_back = !probation.is_zero() || intent.confirm_within.is_some();
    SettingsVersion {
        outcome: match may_go_back {
            true => SettingsOutcome::Probation,
            false => SettingsOutcome::Confirmed,
        },
        probation_until: may_go_back.then(|| after(probation)),
        confirm_by: intent.confirm_within.map(after),
        ..version
    }
}
