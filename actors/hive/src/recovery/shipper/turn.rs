//! One turn of the thread: open, ship, copy, make points, clean up, wait.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, time::Duration};

use deia_archive::{
    Ahead, ArchiveError, Commit, GenerationWriter, LogEnd, LogFile, Needs, Resumed, Survey, resume,
};
use deia_ledger::Feed;
use deia_model::{Action, EventLevel, NewEvent, PointId, Timestamp};
use serde_json::json;

use super::Shipper;
use crate::recovery::{
    known::{self, KnownArchive, recall, remember},
    schedule::{Chain, ChainLimits, needs_snapshot},
    swap::replaced,
};

/// Longest wait for a commit. Fixed: the shortest `recovery.point_every`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reason for a new generation after a loss.
const LOST: &str = "the log was folded back before the archive had all of it";

fn lost() -> ArchiveError {
    ArchiveError::Broken(LOST.to_owned())
}

fn to_archive(end: deia_ledger::LogEnd) -> LogEnd {
    LogEnd {
        salts: end.salts,
        frames: end.frames,
    }
}

fn to_feed(end: LogEnd) -> deia_ledger::LogEnd {
    deia_ledger::LogEnd {
        salts: end.salts,
        frames: end.frames,
    }
}

fn unreadable(error: std::io::Error) -> ArchiveError {
    ArchiveError::Broken(format!("the store cannot be read ({error})"))
}

impl Shipper {
    pub(super) fn turn(&mut self) -> Result<(), ArchiveError> {
        let feed = self.handle.feed().clone();
        let seen = feed.look();
        if let Some(place) = self.fenced.clone() {
            return Err(ArchiveError::Fenced { place });
        }
        if seen.losses != self.losses {
            self.losses = seen.losses;
            self.begin_again(LOST.to_owned());
        }
        if !seen.is_known {
            feed.pause(LOOK_EVERY / 10);
            return Ok(());
        }
        if self.writer.is_none() {
            self.open(&seen)?;
        }
        let requests = self.requests();
        let shipped = self.ship().and_then(|()| self.copy());
        let made = self.make(requests, shipped.is_ok());
        shipped?;
        made?;
        self.clean_up()?;
        let writer = self.writer.as_ref();
        let copies = writer.is_some_and(GenerationWriter::has_more_to_copy);
        let bundles = self.bundle_upto.is_some();
        let has_files = self.files.has_more();
        if !copies && !bundles && !has_files && !self.is_ending() {
            let now = feed.wait(feed.look().shipped, LOOK_EVERY);
            if now.committed != now.shipped {
                let settings = self.handle.0.settings.get();
                feed.wait_for_urgency(settings.recovery.ship_every);
            }
        }
        Ok(())
    }

    /// Continues the archive, or begins a new generation.
    fn open(&mut self, seen: &Feed) -> Result<(), ArchiveError> {
        let feed = self.handle.feed().clone();
        let is_known = self.is_known()?;
        let database = feed.database_file().map_err(unreadable)?;
        self.log = LogFile::open(feed.log_path()).ok();
        let needs = self.needs();
        let reason = match self.reason.clone() {
            Some(reason) => reason,
            None => {
                let end = seen.committed.map(to_archive);
                let log = self.log.as_ref();
                match resume(needs.clone(), &database, log, end, seen.opened_at)? {
                    Resumed::Continues(writer) => {
                        self.remember(Some(writer.generation()))?;
                        if let Some(shipped) = writer.shipped() {
                            feed.note_found(to_feed(shipped), seen.losses);
                        }
                        self.opened(*writer, None);
                        return Ok(());
                    }
                    Resumed::Begins { reason, ahead } => {
                        if let Some(ahead) = ahead {
                            self.mark_lost(&ahead)?;
                        }
                        reason
                    }
                }
            }
        };
        if !is_known {
            self.make_own_directory()?;
            let prepared = self.storage.prepare();
            prepared.map_err(|source| self.at_root(source))?;
            self.remember(None)?;
        }
        feed.begin_again();
        let writer = GenerationWriter::begin(needs, &database, &reason)?;
        self.remember(Some(writer.generation()))?;
        self.opened(writer, Some(reason));
        Ok(())
    }

    /// Makes the directory of an archive in the data directory. A data directory that is gone is
    /// not made again: the next start would take it for that of an empty hive.
    fn make_own_directory(&self) -> Result<(), ArchiveError> {
        let settings = self.handle.0.settings.get();
        if !settings.recovery.url.is_empty() {
            return Ok(());
        }
        let place = settings.backups_dir();
        match DirBuilder::new().mode(0o700).create(&place) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(ArchiveError::Storage {
                    place: place.display().to_string(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    /// Reads the archive. Returns whether this data directory has written it.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`] if it has, and the archive is empty: it is gone.
    fn is_known(&self) -> Result<bool, ArchiveError> {
        let settings = self.handle.0.settings.get();
        let (url, hive) = (settings.recovery_url(), self.handle.0.ledger.hive_id());
        let recalled = recall(&settings.data_dir);
        let recalled = recalled.map_err(|source| ArchiveError::Storage {
            place: settings.data_dir.join(known::FILE).display().to_string(),
            source,
        })?;
        let known = recalled.filter(|it| it.url == url && it.hive == hive);
        let is_empty = self.survey()?;
        if is_empty && known.as_ref().is_some_and(|it| it.generation.is_some()) {
            let reason = format!(
                "the archive that this hive has written is gone, or its disk is not mounted: bring it back, or remove {} to begin a new one",
                settings.data_dir.join(known::FILE).display()
            );
            return Err(self.at_root(io::Error::new(io::ErrorKind::NotFound, reason)));
        }
        Ok(known.is_some())
    }

    fn remember(&self, generation: Option<&str>) -> Result<(), ArchiveError> {
        let settings = self.handle.0.settings.get();
        let known = KnownArchive {
            url: settings.recovery_url(),
            hive: self.handle.0.ledger.hive_id(),
            generation: generation.map(str::to_owned),
        };
        let remembered = remember(&settings.data_dir, &known);
        remembered.map_err(|source| ArchiveError::Storage {
            place: settings.data_dir.join(known::FILE).display().to_string(),
            source,
        })
    }

    fn at_root(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Storage {
            place: self.storage.address(""),
            source,
        }
    }

    /// Makes a restore point at the end of an archive that has commits which the disk has lost.
    fn mark_lost(&self, ahead: &Ahead) -> Result<(), ArchiveError> {
        if self.handle.shared().lock().ahead.is_some() {
            return Ok(());
        }
        let id = PointId::new();
        let label = "the commits that the disk has lost";
        let point = ahead.mark(&*self.storage, &id.to_string(), label)?;
        let mut inner = self.handle.shared().lock();
        inner.ahead = Some(id);
        inner.points.push(point);
        drop(inner);
        tracing::error!(
            point = %id,
            "the archive has commits that the disk has lost: restore this point to get them back"
        );
        let event = NewEvent::new(Action::BackupFailed, "deia", id.to_string());
        let message = "the archive has commits that the disk has lost: restore this point";
        self.handle
            .shared()
            .leave(event.details(json!({"message": message})));
        Ok(())
    }

    pub(super) fn needs(&self) -> Needs {
        let settings = self.handle.0.settings.get();
        let piece = settings.recovery.piece_max_bytes.as_u64();
        Needs {
            storage: self.storage.clone(),
            hive: self.handle.0.ledger.hive_id(),
            instance: self.handle.0.instance.clone(),
            level: settings.recovery.compression,
            piece_max_bytes: usize::try_from(piece).unwrap_or(usize::MAX),
        }
    }

    fn opened(&mut self, writer: GenerationWriter, reason: Option<String>) {
        let shared = self.handle.shared().clone();
        {
            let mut inner = shared.lock();
            inner.generation = Some(writer.generation().to_owned());
            inner.counters.generations += u64::from(reason.is_some());
            if reason.is_some() {
                inner.reason.clone_from(&reason);
            }
        }
        if let Some(reason) = &reason {
            tracing::info!(reason, "a new generation of the archive begins");
        }
        let is_news = reason.filter(|reason| reason != deia_archive::NEW_ARCHIVE);
        if let Some(reason) = is_news {
            let mut event = NewEvent::new(Action::BackupFailed, "deia", writer.generation())
                .details(json!({"message": reason}));
            event.level = Some(EventLevel::Warning);
            shared.leave(event);
        }
        self.reason = None;
        self.writer = Some(writer);
    }

    /// Ships the log up to its end.
    ///
    /// # Errors
    /// [`ArchiveError::Broken`] if the log was folded back before all of it was shipped: nothing
    /// of this generation may be written then.
    pub(super) fn ship(&mut self) -> Result<(), ArchiveError> {
        let feed = self.handle.feed().clone();
        if self.writer.is_none() {
            return Ok(());
        }
        let now = feed.look();
        if now.losses != self.losses || !now.is_known {
            return Err(lost());
        }
        // The files of these commits, and maybe of later ones.
        self.ship_files()?;
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let Some(end) = now.committed.filter(|_| now.committed != now.shipped) else {
            return Ok(());
        };
        if self.log.is_none() {
            self.log = LogFile::open(feed.log_path()).ok();
        }
        let Some(log) = &self.log else {
            return Err(ArchiveError::Broken("the store has no log".to_owned()));
        };
        loop {
            let is_done = writer.ship(log, to_archive(end), |upto| {
                let (commits, timeline) = feed.commits_upto(to_feed(upto));
                let commits = commits.into_iter().map(|it| Commit {
                    frame: it.end.frames,
                    seq: it.seq,
                    at: it.at.as_millis(),
                });
                (commits.collect(), timeline)
            })?;
            self.handle.shared().lock().counters.parts += 1;
            let shipped = writer.shipped().map(to_feed);
            if !shipped.is_none_or(|shipped| feed.note_shipped(shipped, self.losses)) {
                return Err(lost());
            }
            if is_done {
                return Ok(());
            }
        }
    }

    /// Copies the next chunk of a snapshot under way.
    fn copy(&mut self) -> Result<(), ArchiveError> {
        let feed = self.handle.feed().clone();
        let Some(writer) = self.writer.as_mut().filter(|it| it.has_more_to_copy()) else {
            return Ok(());
        };
        let database = feed.database_file().map_err(unreadable)?;
        let losses = self.losses;
        writer.copy(&database, || {
            let now = feed.look();
            // The file has pages that no part has: the copy is of no moment.
            match now.losses == losses && now.is_known {
                true => Ok(now.committed.map(to_archive)),
                false => Err(lost()),
            }
        })
    }

    /// Begins a snapshot if the log is long.
    pub(super) fn begin_due_snapshot(&mut self) {
        let settings = self.handle.0.settings.get();
        let limits = ChainLimits {
            every: settings.recovery.snapshot_every,
            log_bytes: settings.recovery.snapshot_log_bytes.as_u64(),
        };
        if let Some(writer) = self.writer.as_mut().filter(|it| !it.is_copying()) {
            let chain = Chain {
                snapshot_at: writer.snapshot_at(),
                log_bytes: writer.log_bytes(),
                database_bytes: writer.database_bytes(),
            };
            if needs_snapshot(chain, limits, Timestamp::now().as_millis()) {
                writer.begin_snapshot();
            }
        }
    }

    /// Reads the archive, for the points and the size that are shown. Returns whether it is empty.
    fn survey(&self) -> Result<bool, ArchiveError> {
        let survey = Survey::of(&*self.storage, &self.handle.0.ledger.hive_id())?;
        let is_empty = survey.is_empty();
        self.show(survey);
        Ok(is_empty)
    }

    /// Checks that no other hive has begun a generation after that of this one.
    ///
    /// # Errors
    /// [`ArchiveError::Fenced`], from now on in each turn.
    pub(super) fn check_fence(&mut self, survey: &Survey) -> Result<(), ArchiveError> {
        let own = self.writer.as_ref().map(GenerationWriter::generation);
        if let (Some(own), Some(newest)) = (own, survey.newest_generation())
            && own != newest
        {
            let place = self.storage.address(newest);
            self.fenced = Some(place.clone());
            return Err(ArchiveError::Fenced { place });
        }
        Ok(())
    }

    /// Shows the points and the size of the archive.
    pub(super) fn show(&self, survey: Survey) {
        for fault in &survey.faults {
            tracing::error!(
                place = fault.place,
                reason = fault.reason,
                "the archive is damaged"
            );
        }
        let replaced = replaced(&self.handle.0.settings.get().data_dir);
        let mut inner = self.handle.shared().lock();
        inner.replaced = replaced;
        inner.faults[0] = survey.faults;
        inner.points = survey.points;
        inner.bytes = survey.bytes;
        if !inner.is_complete {
            inner.note_exposed(Timestamp::now());
        }
    }
}
