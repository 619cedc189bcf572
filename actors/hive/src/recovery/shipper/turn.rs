//! One turn of the thread: open, ship, copy, make points, clean up, wait.

use std::time::Duration;

use deia_archive::{
    ArchiveError, Commit, GenerationWriter, LogEnd, LogFile, Needs, Resumed, Survey, resume,
};
use deia_ledger::Feed;
use deia_model::{Action, EventLevel, NewEvent, Timestamp};
use serde_json::json;

use super::Shipper;
use crate::recovery::schedule::{Chain, ChainLimits, needs_snapshot};

/// Longest wait for a commit. Fixed: the shortest `recovery.point_every`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
        if !seen.is_known {
            feed.pause(LOOK_EVERY / 10);
            return Ok(());
        }
        if seen.losses != self.losses {
            self.losses = seen.losses;
            let reason = "the log was folded back before the archive had all of it";
            self.begin_again(reason.to_owned());
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
        if !copies && !self.is_ending() {
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
        self.survey()?;
        let database = feed.database_file().map_err(unreadable)?;
        self.log = LogFile::open(feed.log_path()).ok();
        let needs = self.needs();
        let (reason, is_ahead) = match self.reason.clone() {
            Some(reason) => (reason, false),
            None => {
                let end = seen.committed.map(to_archive);
                match resume(needs.clone(), &database, self.log.as_ref(), end)? {
                    Resumed::Continues(writer) => {
                        if let Some(shipped) = writer.shipped() {
                            feed.note_shipped(to_feed(shipped));
                        }
                        self.opened(*writer, None, false);
                        return Ok(());
                    }
                    Resumed::Begins { reason, is_ahead } => (reason, is_ahead),
                }
            }
        };
        feed.begin_again();
        let writer = GenerationWriter::begin(needs, &database, &reason)?;
        self.opened(writer, Some(reason), is_ahead);
        Ok(())
    }

    fn needs(&self) -> Needs {
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

    fn opened(&mut self, writer: GenerationWriter, reason: Option<String>, is_ahead: bool) {
        let shared = self.handle.shared().clone();
        {
            let mut inner = shared.lock();
            inner.generation = Some(writer.generation().to_owned());
            inner.was_ahead |= is_ahead;
            inner.counters.generations += u64::from(reason.is_some());
            if reason.is_some() {
                inner.reason.clone_from(&reason);
            }
        }
        match &reason {
            Some(reason) if is_ahead => tracing::error!(
                reason,
                "the archive has commits that the disk has lost: restore its newest point to get them back; a new generation begins"
            ),
            Some(reason) => tracing::info!(reason, "a new generation of the archive begins"),
            None => {}
        }
        let is_news = reason.filter(|reason| reason != deia_archive::NEW_ARCHIVE);
        if let Some(reason) = is_news {
            let mut event = NewEvent::new(Action::BackupFailed, "deia", writer.generation())
                .details(json!({"message": reason, "archive_was_ahead": is_ahead}));
            if !is_ahead {
                event.level = Some(EventLevel::Warning);
            }
            shared.leave(event);
        }
        self.reason = None;
        self.writer = Some(writer);
    }

    /// Ships the log up to its end.
    pub(super) fn ship(&mut self) -> Result<(), ArchiveError> {
        let feed = self.handle.feed().clone();
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let now = feed.look();
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
            if feed.look().losses != self.losses {
                return Ok(());
            }
            if let Some(shipped) = writer.shipped() {
                feed.note_shipped(to_feed(shipped));
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
        writer.copy(&database, || feed.look().committed.map(to_archive))
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

    /// Reads the archive again, for the points and the size that are shown.
    pub(super) fn survey(&self) -> Result<(), ArchiveError> {
        let survey = Survey::of(&*self.storage, &self.handle.0.ledger.hive_id())?;
        for fault in &survey.faults {
            tracing::error!(
                place = fault.place,
                reason = fault.reason,
                "the archive is damaged"
            );
        }
        let mut inner = self.handle.shared().lock();
        inner.points = survey.points;
        inner.bytes = survey.bytes;
        Ok(())
    }
}
