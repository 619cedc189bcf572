//! Records of settings in the ledger: written at once, or owed until the store takes them.

use deia_ledger::{Apply, Rejection, SettledVersion, StoreError, WriteSettings};
use deia_model::{Principal, SettingsOutcome};

use super::{SettingsApi, api::Asked, state::Book};
use crate::HiveError;

impl Book {
    /// Adds a record that must be written before any other change, and counts its version.
    pub(super) fn owe(&mut self, write: WriteSettings) {
        self.newest += u64::from(write.add.is_some());
        self.unrecorded.push_back(write);
    }
}

impl SettingsApi {
    /// Writes a record, and follows the number of the newest version.
    pub(super) async fn write(
        &self,
        book: &mut Book,
        asked: Asked<'_>,
        write: WriteSettings,
    ) -> Result<(), StoreError> {
        #[cfg(test)]
        self.0.faults.admit()?;
        let written = match asked {
            Asked::By(who) => self.0.access.apply_for(who, write).await,
            Asked::ByHive => self.0.ledger.apply(write).await,
        };
        #[cfg(test)]
        let written = self.0.faults.answer(written);
        match written {
            Ok(newest) => {
                book.newest = newest;
                Ok(())
            }
            Err(error) => {
                book.out_of_step |= is_out_of_step(&error);
                Err(error)
            }
        }
    }

    /// Refuses a caller whose access has changed. The store decides, in the order of its commands;
    /// if it takes none, which may be why the caller is here, the keys in memory do.
    pub(super) async fn still_allowed(
        &self,
        book: &mut Book,
        who: &Principal,
    ) -> Result<(), HiveError> {
        let nothing = WriteSettings {
            expected: book.newest,
            mends: true,
            ..WriteSettings::default()
        };
        match self.write(book, Asked::By(who), nothing).await {
            Err(StoreError::Refused(Rejection::AccessChanged)) => {
                Err(HiveError::Refused(Rejection::AccessChanged))
            }
            Ok(()) => Ok(()),
            Err(_) => match self.0.access.still(who, None) {
                Ok(_) => Ok(()),
                Err(_) => Err(HiveError::Refused(Rejection::AccessChanged)),
            },
        }
    }

    /// Writes the records that could not be written before, in their order.
    pub(super) async fn record_rest(&self, book: &mut Book) -> Result<(), HiveError> {
        if book.out_of_step {
            self.follow_store(book).await?;
        }
        while let Some(write) = book.unrecorded.front().cloned() {
            let newest = book.newest;
            let written = self.write(book, Asked::ByHive, write.clone()).await;
            // The records that follow have counted their versions already.
            book.newest = newest;
            match written {
                Ok(()) => {}
                Err(error) => match self.rest_of(&write, &error).await? {
                    Rest::Nothing => book.out_of_step = false,
                    Rest::State(rest) => {
                        book.out_of_step = false;
                        book.unrecorded[0] = *rest;
                        continue;
                    }
                    Rest::All => return Err(error.into()),
                },
            }
            book.unrecorded.pop_front();
        }
        Ok(())
    }

    /// Returns the part of a record that is not in the store, which has refused it with that error:
    /// the answer to an earlier attempt may have been lost.
    async fn rest_of(&self, write: &WriteSettings, error: &StoreError) -> Result<Rest, HiveError> {
        let newest = match error {
            StoreError::Refused(Rejection::VersionMismatch { actual, .. }) => *actual,
            _ => return Ok(Rest::All),
        };
        let stored = self.0.ledger.settings_version(newest).await?;
        let (Some(stored), Some(add)) = (stored, &write.add) else {
            return Ok(Rest::All);
        };
        if newest != write.expected + 1 {
            return Ok(Rest::All);
        }
        let (there, ours) = (&stored.version, &add.version);
        let is_same = stored.content == add.content
            && (&there.actor, there.origin, there.restores, &there.changes)
                == (&ours.actor, ours.origin, ours.restores, &ours.changes);
        Ok(match is_same {
            true if there.outcome == ours.outcome => Rest::Nothing,
            true if there.outcome == SettingsOutcome::Pending => {
                Rest::State(Box::new(WriteSettings {
                    expected: newest,
                    add: None,
                    settle: vec![SettledVersion {
                        reason: ours.reason.clone(),
                        ..SettledVersion::to(newest, ours.outcome)
                    }],
                    ..write.clone()
                }))
            }
            _ => Rest::All,
        })
    }

    /// Takes the number of the newest version from the store, which has another than was known.
    /// Versions that are pending there were never applied.
    async fn follow_store(&self, book: &mut Book) -> Result<(), HiveError> {
        let record = self.0.ledger.settings_record().await?;
        let mut newest = record.newest;
        for write in &mut book.unrecorded {
            write.expected = newest;
            newest += u64::from(write.add.is_some());
        }
        if newest != book.newest {
            tracing::warn!(
                known = book.newest,
                stored = newest,
                "the store has other versions of the settings than were known"
            );
        }
        book.newest = newest;
        book.out_of_step = false;
        let reason = "it was recorded, and never applied";
        let pending = record.open.iter().map(|it| &it.version);
        let pending = pending.filter(|it| it.outcome == SettingsOutcome::Pending);
        let settle: Vec<_> = pending
            .map(|it| SettledVersion {
                reason: Some(reason.to_owned()),
                ..SettledVersion::to(it.version, SettingsOutcome::Failed)
            })
            .collect();
        if !settle.is_empty() {
            book.owe(WriteSettings {
                expected: book.newest,
                settle,
                mends: true,
                ..WriteSettings::default()
            });
        }
        Ok(())
    }
}

/// The part of a record that is not in the store.
enum Rest {
    Nothing,
    /// The version is there, and its state is not.
    State(Box<WriteSettings>),
    /// The store has another version of that number.
    All,
}

/// Returns true if the store may have another newest version than is known after that failure.
fn is_out_of_step(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Refused(Rejection::VersionMismatch { .. })
    )
}

/// Returns true if a record may be in the store in spite of that failure.
pub(super) fn may_be_written(error: &StoreError) -> bool {
    matches!(error, StoreError::Unknown | StoreError::Failed(_))
}
