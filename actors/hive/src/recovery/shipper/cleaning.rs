//! Housekeeping after each automatic point: bundles, one a turn, and a thread that removes what is
//! past its retention and reads the archive again. Shipping does not wait for either.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use deia_archive::{ArchiveError, GenerationWriter, Storage, Survey, prune};
use deia_model::{Action, NewEvent, Timestamp};
use serde_json::json;

use super::{Shipper, Shipping};

/// Result of a cleaning.
pub(super) struct Cleaned {
    removed: u64,
    survey: Survey,
}

impl Shipping {
    /// Returns whether a cleaning is under way, or its result was not taken.
    pub(super) fn is_cleaning(&self) -> bool {
        let cleaning = self.0.cleaning.lock();
        cleaning.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes the result of a cleaning that has ended.
    fn cleaned(&self) -> Option<Result<Cleaned, ArchiveError>> {
        let cleaning = self.0.cleaning.lock();
        let mut cleaning = cleaning.unwrap_or_else(PoisonError::into_inner);
        let ended = cleaning.take_if(|it| it.is_finished())?;
        let died = || ArchiveError::NoSuchPoint("the cleaning of the archive failed".to_owned());
        Some(ended.join().unwrap_or_else(|_| Err(died())))
    }

    /// Begins a cleaning for the generation that is written, and the snapshot under way in it.
    fn clean(&self, current: String, copying: Option<String>) {
        let retention = self.0.settings.get().recovery.retention;
        let millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let now = self.shared().lock().trusted_now(Timestamp::now());
        let before = now.as_millis().saturating_sub(millis);
        let (this, hive) = (self.clone(), self.0.ledger.hive_id());
        let run = move || {
            let storage: Arc<dyn Storage> = this.storage().map_err(ArchiveError::NoSuchPoint)?;
            let goes_on = || !this.0.is_ending.load(Ordering::Acquire);
            let written = (current.as_str(), copying.as_deref());
            let removed = prune(&*storage, &hive, before, written, &goes_on)?;
            if let Err(error) = storage.sweep() {
                tracing::warn!(%error, "drafts of writers that died stay in the archive");
            }
            let survey = Survey::of(&*storage, &hive)?;
            Ok(Cleaned { removed, survey })
        };
        let spawned = std::thread::Builder::new()
            .name("deia-archive-cl".into())
            .spawn(run);
        match spawned {
            Ok(thread) => {
                let cleaning = self.0.cleaning.lock();
                *cleaning.unwrap_or_else(PoisonError::into_inner) = Some(thread);
            }
            Err(error) => tracing::warn!(%error, "the archive is cleaned after the next point"),
        }
    }
}

impl Shipper {
    /// Begins a snapshot that is due and a cleaning after each automatic point, makes a bundle,
    /// and takes the result of a cleaning.
    pub(super) fn clean_up(&mut self) -> Result<(), ArchiveError> {
        match self.handle.cleaned() {
            Some(Ok(cleaned)) => self.note_cleaned(cleaned)?,
            Some(Err(error)) if error.may_pass() => return Err(error),
            // The generation is as good as before.
            Some(Err(error)) => tracing::error!(%error, "the archive could not be cleaned"),
            None => {}
        }
        let wants = self.wants_cleaning && !self.handle.is_cleaning();
        if wants {
            self.begin_due_snapshot();
        }
        let is_urgent = self.handle.feed().look().is_urgent;
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        if wants {
            self.wants_cleaning = false;
            self.points_since.clear();
            self.bundle_upto = Some(writer.parts());
            let copying = writer.copying().map(str::to_owned);
            self.handle.clean(writer.generation().to_owned(), copying);
        }
        // Small objects wait while somebody waits for the archive.
        if let Some(upto) = self.bundle_upto.filter(|_| !is_urgent)
            && !writer.bundle(upto)?
        {
            self.bundle_upto = None;
        }
        Ok(())
    }

    fn note_cleaned(&mut self, cleaned: Cleaned) -> Result<(), ArchiveError> {
        let Cleaned { removed, survey } = cleaned;
        if removed > 0 {
            let event = NewEvent::new(Action::BackupPruned, "deia", self.generation());
            let event = event.details(json!({"objects": removed}));
            self.handle.shared().leave(event);
        }
        let began = self.writer.as_ref().map(GenerationWriter::generation);
        let is_listed = { survey.generations() }.any(|it| Some(it) == began);
        // A generation that began meanwhile is not in the list.
        if is_listed {
            self.check_fence(&survey)?;
        }
        self.show(survey);
        let mut inner = self.handle.shared().lock();
        for point in &self.points_since {
            if !inner.points.iter().any(|it| it.id == point.id) {
                inner.points.push(point.clone());
            }
        }
        Ok(())
    }
}
