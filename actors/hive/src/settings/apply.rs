//! The way of a change: checked, recorded, applied to every subsystem or to none, and on probation.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use deia_ledger::{Apply, Note, SettledVersion, StoreError, StoredSettings, WriteSettings};
use deia_model::{
    Action, NewEvent, SettingsOrigin, SettingsOutcome, SettingsReload, SettingsVersion, Timestamp,
};

use super::{
    SettingsApi,
    api::Asked,
    candidate::Candidate,
    content::Content,
    probation::{Open, awaits_confirmation},
    state::{Book, event},
};
use crate::{
    HiveError,
    config::{Config, ConfigError, Merged, Provenance, changes, merge},
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
            });
        }
        self.record_rest(book).await?;
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
        if let Err(error) = self.settle(book, &armed).await {
            self.0.settings.put(before.version, before.config);
            self.roll_back(&after, &config).await;
            self.give_up(book, &armed, &error.to_string()).await;
            return Err(error.into());
        }
        self.0.metrics.note_applied();
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
        book.newest = match asked {
            Asked::By(who) => self.0.access.apply_for(who, write).await?,
            Asked::ByHive => self.0.ledger.apply(write).await?,
        };
        Ok(())
    }

    /// Records that a version is in force, which arms its deadlines.
    async fn settle(&self, book: &Book, version: &SettingsVersion) -> Result<(), StoreError> {
        let rejected = match version.origin {
            // The file still has the content that was put aside.
            SettingsOrigin::Undo => Note::Keep,
            _ => Note::Clear,
        };
        let write = WriteSettings {
            expected: book.newest,
            settle: vec![SettledVersion {
                probation_until: version.probation_until,
                confirm_by: version.confirm_by,
                ..SettledVersion::to(version.version, version.outcome)
            }],
            rejected,
            taken_back: Note::Clear,
            ..WriteSettings::default()
        };
        self.0.ledger.apply(write).await.map(drop)
    }

    /// Records that a version was not put in force. If that is impossible, the next start finds
    /// it pending, and discards it.
    async fn give_up(&self, book: &Book, version: &SettingsVersion, reason: &str) {
        let hive = self.0.ledger.hive_id();
        let failed = SettingsVersion {
            reason: Some(reason.to_owned()),
            ..version.clone()
        };
        let taken_back = [version.version];
        let event: NewEvent =
            event(Action::ConfigReverted, "deia", &hive, &failed, &taken_back).failure();
        let write = WriteSettings {
            expected: book.newest,
            settle: vec![SettledVersion {
                reason: Some(reason.to_owned()),
                ..SettledVersion::to(version.version, SettingsOutcome::Failed)
            }],
            events: vec![event],
            mends: true,
            ..WriteSettings::default()
        };
        if let Err(error) = self.0.ledger.apply(write).await {
            tracing::warn!(%error, version = version.version, "settings that were not applied could not be recorded as such");
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
        book.provenance = Provenance::of(&candidate.base);
        book.base = candidate.base;
        book.content = content;
        book.at_restart.clone_from(&merged.at_restart);
        if version.origin != SettingsOrigin::Undo {
            book.rejected = None;
        }
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
