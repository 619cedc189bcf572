//! The ways back: confirmation, undo, and settings that the hive takes back by itself.

use std::sync::PoisonError;

use deia_ledger::{Note, SettledVersion, WriteSettings};
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
    reload::{loaded, problems_of},
    state::{Book, event},
    trips,
};
use crate::{HiveError, lifecycle::State};

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
        let (api, who) = (self.clone(), who.clone());
        self.whole(async move { api.carry_out_confirm(&who, version).await })
            .await?
    }

    async fn carry_out_confirm(
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
        self.write(&mut book, Asked::By(who), write).await?;
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
        let (api, who) = (self.clone(), who.clone());
        self.whole(async move { api.carry_out_undo(&who, to, version).await })
            .await?
    }

    async fn carry_out_undo(
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
            self.still_allowed(&mut book, who).await?;
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
        let intent = Intent {
            restores: Some(number),
            apply_rest: true,
            ..Intent::new(Asked::By(who), SettingsOrigin::Undo)
        };
        let done = self.put_in_force(&mut book, checked, intent).await?;
        if !done.applied {
            return Err(HiveError::NothingToUndo);
        }
        Ok(done)
    }

    /// Returns the content of an earlier version, checked. Reads no file: the trouble may be a disk
    /// that hangs.
    pub(super) async fn restored(
        &self,
        book: &Book,
        content: &Content,
    ) -> Result<Checked, HiveError> {
        let (base, content) = (book.base.clone(), content.clone());
        let in_force = self.0.settings.get();
        let checked = loaded(move || {
            let candidate = Candidate::restored(base, &content)?;
            check(&in_force, candidate)
        });
        let checked = checked.await?;
        checked.map_err(|error| HiveError::SettingsInvalid(problems_of(&error)))
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
        // Trouble of the last part of a probation is known only later.
        let known_after = self.known_after();
        let passed = probation::passed(&book.open, now.minus_millis(known_after));
        if passed > 0 && self.crashes_are_open(book.open[passed - 1].until) {
            return Some(now);
        }
        if passed > 0 {
            let stays = book.open[..passed].iter();
            let settle = stays.map(|it| SettledVersion::to(it.version, SettingsOutcome::Confirmed));
            let write = WriteSettings {
                expected: book.newest,
                settle: settle.collect(),
                mends: true,
                ..WriteSettings::default()
            };
            match self.write(&mut book, Asked::ByHive, write).await {
                Ok(()) => {
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
        probation::next_due(&book.open, known_after)
    }

    /// Takes settings back if trouble that began at that time is within their probation.
    pub(super) async fn judge(&self, began: Timestamp, reason: String) {
        let api = self.clone();
        // A failure is told by the hook of panics.
        let _ = self
            .whole(async move { api.carry_out_judgement(began, &reason).await })
            .await;
    }

    async fn carry_out_judgement(&self, began: Timestamp, reason: &str) {
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
        let known_after = self.known_after();
        let mut open = book.open.iter();
        open.any(|it| now <= it.until.plus_millis(known_after))
    }

    /// Returns the time after which trouble that has begun is known, in milliseconds.
    fn known_after(&self) -> u64 {
        let known_after = trips::known_after(&self.0.settings.get());
        u64::try_from(known_after.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns true if crashes that began by then may still keep a part down.
    fn crashes_are_open(&self, until: Timestamp) -> bool {
        let tree = self.0.tree.get();
        let since = tree.and_then(|tree| trips::crashing_since(&tree.status()));
        since.is_some_and(|since| since <= until)
    }

    /// Looks if the hive is ready, if it should be. Returns the time since which it is not, if an
    /// earlier look has found that, too. A change looks before it is recorded, so that trouble
    /// which was there before is none of it.
    pub(super) async fn look_at_readiness(&self) -> Option<Timestamp> {
        let began = Timestamp::now();
        let needs = self.0.needs.get()?;
        let is_up = || self.0.lifecycle.state() == State::Ready;
        let ready = !is_up() || (needs.can_commit)().await;
        #[cfg(test)]
        let ready = ready && self.0.faults.is_ready();
        let mut unready = self
            .0
            .unready_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A stop that begins meanwhile is no trouble.
        if ready || !is_up() {
            *unready = None;
            return None;
        }
        let before = *unready;
        unready.get_or_insert(began);
        before
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
