//! The ways back: confirmation, undo, and settings that the hive takes back by itself.

use std::sync::Arc;

use deia_ledger::{Apply, Note, SettledVersion, StoreError, StoredSettings, WriteSettings};
use deia_model::{
    Action, Principal, SettingsOrigin, SettingsOutcome, SettingsReload, SettingsVersion, Timestamp,
};

use super::{
    SettingsApi,
    api::Asked,
    apply::{Checked, Intent, check},
    candidate::Candidate,
    content::Content,
    probation,
    probation::Open,
    reload::{loaded, problems_of},
    state::{Book, event},
};
use crate::{HiveError, config::Provenance};

impl SettingsApi {
    /// Confirms the settings in force: they are not taken back for want of it any more, though
    /// still for trouble within their probation.
    ///
    /// # Errors
    /// [`HiveError::NothingToConfirm`], and that another version is in force.
    pub async fn confirm(
        &self,
        who: &Principal,
        version: Option<u64>,
    ) -> Result<SettingsVersion, HiveError> {
        let mut book = self.0.book.lock().await;
        expect(&book, version)?;
        self.record_rest(&mut book).await?;
        let waiting = book.open.iter().filter(|it| it.confirm_by.is_some());
        let waiting: Vec<u64> = waiting.map(|it| it.version).collect();
        if waiting.is_empty() && book.taken_back.is_none() {
            return Err(HiveError::NothingToConfirm);
        }
        let (user, hive) = (who.user.to_string(), self.0.ledger.hive_id());
        let outcome = SettingsOutcome::Probation;
        let write = WriteSettings {
            expected: book.newest,
            settle: waiting
                .iter()
                .map(|version| SettledVersion {
                    confirmed_by: Some(user.clone()),
                    ..SettledVersion::to(*version, outcome)
                })
                .collect(),
            taken_back: Note::Clear,
            events: vec![event(
                Action::ConfigConfirmed,
                &user,
                &hive,
                &book.in_force,
                &[],
            )],
            mends: true,
            ..WriteSettings::default()
        };
        self.0.access.apply_for(who, write).await?;
        for it in &mut book.open {
            it.confirm_by = None;
        }
        if waiting.contains(&book.in_force.version) {
            book.in_force.confirmed_by = Some(user);
        }
        self.note_taken_back(&mut book, None);
        self.0.poke.notify_one();
        Ok(book.in_force.clone())
    }

    /// Puts the values of an earlier version back: by default, of the one that was in force before.
    ///
    /// # Errors
    /// [`HiveError::NothingToUndo`], and that another version is in force.
    pub async fn undo(
        &self,
        who: &Principal,
        to: Option<u64>,
        version: Option<u64>,
    ) -> Result<SettingsReload, HiveError> {
        let mut book = self.0.book.lock().await;
        expect(&book, version)?;
        self.record_rest(&mut book).await?;
        // A version that may be taken back goes with all that came after it.
        let open = &book.open;
        let first = match to {
            None => open.len().checked_sub(1),
            Some(to) if to == book.confirmed.0 => (!open.is_empty()).then_some(0),
            Some(to) => open.iter().position(|it| it.version == to).map(|at| at + 1),
        };
        if let Some(first) = first.filter(|first| *first < open.len()) {
            let by = Asked::By(who);
            return self.take_back(&mut book, first, "on request", by).await;
        }
        let ledger = &self.0.ledger;
        let stored = match to {
            None => ledger.settings_before(book.in_force.version).await?,
            Some(to) => ledger.settings_version(to).await?,
        };
        let stored = stored.filter(|it| {
            it.version.outcome.was_in_force() && it.version.version != book.in_force.version
        });
        let stored = stored.ok_or(HiveError::NothingToUndo)?;
        let number = stored.version.version;
        let checked = self
            .restored(&book, &Content::read(&stored.content))
            .await?;
        let put_aside = book.content.file_hash.clone();
        let is_other = checked.content.file_hash != put_aside;
        let intent = Intent {
            restores: Some(number),
            apply_rest: true,
            ..Intent::new(Asked::By(who), SettingsOrigin::Undo)
        };
        let done = self.put_in_force(&mut book, checked, intent).await?;
        if !done.applied {
            return Err(HiveError::NothingToUndo);
        }
        if let Some(hash) = put_aside.filter(|_| is_other) {
            self.reject(&mut book, hash).await?;
        }
        Ok(done)
    }

    /// Notes that a content of the settings file is not to be applied until it changes.
    async fn reject(&self, book: &mut Book, hash: String) -> Result<(), HiveError> {
        let write = WriteSettings {
            expected: book.newest,
            rejected: Note::Set(hash.clone()),
            mends: true,
            ..WriteSettings::default()
        };
        book.rejected = Some(hash);
        Ok(self.0.ledger.apply(write).await.map(drop)?)
    }

    /// Returns the content of an earlier version, checked. Reads no file: the trouble may be a disk
    /// that hangs.
    async fn restored(&self, book: &Book, content: &Content) -> Result<Checked, HiveError> {
        let (base, content) = (book.base.clone(), content.clone());
        let in_force = self.0.settings.get();
        let checked = loaded(move || {
            let candidate = Candidate::restored(base, &content)?;
            check(&in_force, candidate)
        });
        let checked = checked.await?;
        checked.map_err(|error| HiveError::SettingsInvalid(problems_of(&error)))
    }

    /// Takes back a version and all later ones. They are out of force even if that cannot be
    /// recorded, which is then tried again.
    pub(super) async fn take_back(
        &self,
        book: &mut Book,
        first: usize,
        reason: &str,
        asked: Asked<'_>,
    ) -> Result<SettingsReload, HiveError> {
        let before = match first.checked_sub(1).and_then(|at| book.open.get(at)) {
            Some(open) => (open.version, open.content.clone()),
            None => book.confirmed.clone(),
        };
        let checked = self.restored(book, &before.1).await?;
        let reverted: Vec<u64> = book.open[first..].iter().map(|it| it.version).collect();
        let (config, after) = (self.0.settings.get(), Arc::new(checked.merged.config));
        if let Err(error) = self.reconfigure(&config, &after).await {
            tracing::error!(
                error,
                "a subsystem does not go back to its settings; restart the server"
            );
        }
        let last = first.checked_sub(1).and_then(|at| book.open.get(at));
        let version = SettingsVersion {
            version: book.newest + 1,
            at: Timestamp::now(),
            actor: asked.name(),
            origin: match asked {
                Asked::By(_) => SettingsOrigin::Undo,
                Asked::ByHive => SettingsOrigin::TakenBack,
            },
            restores: Some(before.0),
            changes: crate::config::changes(&book.content.values, &checked.content.values),
            outcome: match last {
                Some(_) => SettingsOutcome::Probation,
                None => SettingsOutcome::Confirmed,
            },
            reason: Some(reason.to_owned()),
            probation_until: last.map(|it| it.until),
            confirm_by: None,
            confirmed_by: None,
        };
        self.0.settings.put(version.version, after);
        let write = self.write_of(book, &version, &checked.content, &reverted, asked);
        let done = SettingsReload {
            version: version.version,
            applied: true,
            changes: version.changes.clone(),
            at_restart: checked.merged.at_restart.clone(),
            probation_until: version.probation_until,
            confirm_by: version.confirm_by,
        };
        tracing::warn!(
            version = version.version,
            restores = before.0,
            reason,
            "settings were taken back"
        );
        self.0.metrics.note_taken_back();
        if let Note::Set(hash) = &write.rejected {
            book.rejected = Some(hash.clone());
        }
        book.open.truncate(first);
        match book.open.last().cloned() {
            // The values are still on probation.
            Some(before) => book.open.push(Open {
                version: version.version,
                confirm_by: None,
                ..before
            }),
            None => book.confirmed = (version.version, checked.content.clone()),
        }
        book.provenance = Provenance::of(&checked.candidate.base);
        book.base = checked.candidate.base;
        book.content = checked.content;
        book.at_restart = checked.merged.at_restart;
        let told = format!("version {}: {reason}", reverted[0]);
        let told = matches!(asked, Asked::ByHive).then_some(told);
        self.note_taken_back(book, told);
        book.in_force = version;
        book.unrecorded = Some(Box::new(write));
        match (self.record_rest(book).await, asked) {
            (Err(error), Asked::By(_)) => Err(error),
            (Err(error), Asked::ByHive) => {
                tracing::warn!(%error, "settings that were taken back could not be recorded; retrying");
                Ok(done)
            }
            (Ok(()), _) => Ok(done),
        }
    }

    fn write_of(
        &self,
        book: &Book,
        version: &SettingsVersion,
        content: &Content,
        reverted: &[u64],
        asked: Asked<'_>,
    ) -> WriteSettings {
        let reason = version.reason.clone().unwrap_or_default();
        let hive = self.0.ledger.hive_id();
        let put_aside = book.content.file_hash.clone();
        let put_aside = put_aside.filter(|_| content.file_hash != book.content.file_hash);
        let settle = reverted.iter().map(|number| SettledVersion {
            reason: Some(reason.clone()),
            ..SettledVersion::to(*number, SettingsOutcome::Reverted)
        });
        WriteSettings {
            expected: book.newest,
            settle: settle.collect(),
            add: Some(StoredSettings {
                version: version.clone(),
                content: content.stored(),
            }),
            rejected: put_aside.map_or(Note::Keep, Note::Set),
            taken_back: match asked {
                Asked::ByHive => Note::Set(format!("version {}: {reason}", reverted[0])),
                Asked::By(_) => Note::Clear,
            },
            events: vec![event(
                Action::ConfigReverted,
                &version.actor,
                &hive,
                version,
                reverted,
            )],
            keep: self.0.settings.get().settings.keep_versions,
            mends: true,
        }
    }

    /// Writes the record of settings that were taken back, if that failed before.
    pub(super) async fn record_rest(&self, book: &mut Book) -> Result<(), HiveError> {
        let Some(write) = book.unrecorded.as_deref().cloned() else {
            return Ok(());
        };
        let expected = write.expected;
        match self.0.ledger.apply(write).await {
            Ok(newest) => book.newest = newest,
            // It was written, though the answer was lost.
            Err(StoreError::Refused(deia_ledger::Rejection::VersionMismatch {
                actual, ..
            })) if actual == expected + 1 => book.newest = actual,
            Err(error) => return Err(error.into()),
        }
        book.unrecorded = None;
        Ok(())
    }

    /// Does what is due: takes back what nobody confirmed, and ends probations. Returns the next
    /// time at which something will be.
    pub(super) async fn settle_due(&self, now: Timestamp) -> Option<Timestamp> {
        let mut book = self.0.book.lock().await;
        if let Err(error) = self.record_rest(&mut book).await {
            tracing::debug!(%error, "settings that were taken back are not recorded yet");
            return Some(now);
        }
        if let Some(first) = probation::unconfirmed(&book.open, now) {
            let reason = "nobody confirmed it in time";
            let taken = self
                .take_back(&mut book, first, reason, Asked::ByHive)
                .await;
            if let Err(error) = taken {
                tracing::error!(%error, "settings that nobody confirmed could not be taken back");
            }
        }
        let passed = probation::passed(&book.open, now);
        if passed > 0 {
            let stays = book.open[..passed].iter();
            let settle = stays.map(|it| SettledVersion::to(it.version, SettingsOutcome::Confirmed));
            let write = WriteSettings {
                expected: book.newest,
                settle: settle.collect(),
                mends: true,
                ..WriteSettings::default()
            };
            match self.0.ledger.apply(write).await {
                Ok(_) => {
                    let last = book.open.drain(..passed).next_back();
                    if let Some(last) = last {
                        if last.version == book.in_force.version {
                            book.in_force.outcome = SettingsOutcome::Confirmed;
                        }
                        book.confirmed = (last.version, last.content);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the end of a probation could not be recorded; retrying");
                    return Some(now);
                }
            }
        }
        probation::next_due(&book.open)
    }

    /// Takes settings back if trouble that began at that time is within their probation.
    pub(super) async fn judge(&self, began: Timestamp, reason: &str) {
        let mut book = self.0.book.lock().await;
        let Some(first) = probation::tripped(&book.open, began) else {
            return;
        };
        let taken = self
            .take_back(&mut book, first, reason, Asked::ByHive)
            .await;
        if let Err(error) = taken {
            tracing::error!(%error, reason, "settings could not be taken back");
        }
    }

    /// Returns true if there is a version that trouble would take back now.
    pub(super) async fn is_on_probation(&self, now: Timestamp) -> bool {
        let book = self.0.book.lock().await;
        book.open.iter().any(|it| now <= it.until)
    }
}

fn expect(book: &Book, version: Option<u64>) -> Result<(), HiveError> {
    let actual = book.in_force.version;
    match version {
        Some(expected) if expected != actual => Err(HiveError::Refused(
            deia_ledger::Rejection::VersionMismatch { expected, actual },
        )),
        _ => Ok(()),
    }
}
