//! The log as its shipper sees it.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{Arc, atomic::Ordering},
};

use deia_model::Timestamp;
use rusqlite::Connection;

use super::{
    super::{
        checkpoint::{Checkpointer, UNCHANGED},
        positions,
    },
    Writer,
};
use crate::{LogEnd, LogFeed};

/// Offset of the mark of a log in its header, in bytes. Fact: the WAL format of SQLite.
const SALTS_AT: u64 = 16;

/// The log of the store, and the hand-over to its shipper.
pub(super) struct Log {
    feed: Arc<LogFeed>,
    file: Option<File>,
    timeline: u64,
    seq: u64,
}

impl Log {
    /// Notes the log that earlier runs left.
    pub(super) fn open(
        db: &Connection,
        feed: Arc<LogFeed>,
        checkpointer: &mut Checkpointer,
    ) -> rusqlite::Result<Self> {
        let head = positions::head(db)?;
        let mut log = Self {
            feed,
            file: None,
            timeline: head.timeline,
            seq: head.seq,
        };
        // Asks for the length of the log, and folds nothing back.
        let frames: i64 = db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
        match u32::try_from(frames).unwrap_or(0) {
            0 => log.feed.emptied(),
            frames => {
                checkpointer.committed(frames);
                log.note(frames);
            }
        }
        Ok(log)
    }

    fn note(&mut self, frames: u32) {
        if let Some(salts) = self.salts() {
            let end = LogEnd { salts, frames };
            let now = Timestamp::now();
            self.feed.committed(end, self.seq, self.timeline, now);
        }
    }

    /// Reads the mark of the log. The file stays the same as long as the store is open.
    fn salts(&mut self) -> Option<[u32; 2]> {
        if self.file.is_none() {
            self.file = File::open(self.feed.log_path()).ok();
        }
        let mut salts = [0; 8];
        let read = self.file.as_ref()?.read_exact_at(&mut salts, SALTS_AT);
        if let Err(error) = read {
            tracing::error!(%error, "the write-ahead log cannot be read, so that it is not shipped");
            self.feed.give_up();
            return None;
        }
        let [a, b, c, d, e, f, g, h] = salts;
        Some([
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
        ])
    }
}

impl Writer {
    /// Notes the length of the log if a transaction has changed it. Returns whether one has.
    pub(super) fn note_log(&mut self) -> bool {
        let wal_pages = self.wal_pages.swap(UNCHANGED, Ordering::Relaxed);
        self.checkpointer.committed(wal_pages);
        if wal_pages == UNCHANGED {
            return false;
        }
        if let Some(log) = &mut self.shipped_log {
            // An error is that of a read: the position before is used again.
            if let Ok(head) = positions::head(&self.db) {
                (log.timeline, log.seq) = (head.timeline, head.seq);
            }
            log.note(wal_pages);
        }
        true
    }

    /// Notes that a checkpoint may have truncated the log.
    pub(super) fn note_folded(&mut self) {
        if let Some(log) = &self.shipped_log
            && self.checkpointer.pages() == 0
        {
            log.feed.emptied();
        }
    }

    /// Returns whether the log may be folded back into the file.
    pub(super) fn may_fold(&mut self) -> bool {
        self.note_log();
        let log = self.shipped_log.as_ref();
        log.is_none_or(|log| log.feed.may_fold())
    }

    /// Lets the log be folded back although the archive does not have it: refusing all writes
    /// would be worse.
    pub(super) fn give_up_shipping(&mut self) {
        if let Some(log) = &self.shipped_log {
            tracing::error!(
                "the write-ahead log has reached store.wal_max_bytes and the archive does not have it: the archive begins again with a snapshot, and has no commits until then (check recovery.url)"
            );
            log.feed.give_up();
        }
    }

    /// Returns whether transactions may begin.
    pub(super) fn admits(&self) -> bool {
        let log = self.shipped_log.as_ref();
        log.is_none_or(|log| log.feed.admits())
    }

    /// Returns whether the last commit is where it has to be before it is answered.
    pub(super) fn is_archived(&self) -> bool {
        let log = self.shipped_log.as_ref();
        log.is_none_or(|log| log.feed.is_archived())
    }
}
