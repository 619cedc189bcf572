//! The log as its shipper sees it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use deia_model::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::{
    super::{
        checkpoint::{Checkpointer, UNCHANGED},
        positions,
    },
    Writer,
    commits::{CommitFile, Entry},
};
use crate::{LogEnd, LogFeed, LoggedCommit, log_feed::FoldNeed};

/// Offset of the mark of a log in its header, in bytes. Fact: the WAL format of SQLite.
const SALTS_AT: u64 = 16;

/// The log of the store, and the hand-over to its shipper.
pub(super) struct Log {
    feed: Arc<LogFeed>,
    file: Option<File>,
    commits: Option<CommitFile>,
    timeline: u64,
    seq: u64,
    /// First word of the mark of the log at the last commit of this connection.
    mark: Option<u32>,
    /// Number of times that the log was truncated since the last commit.
    restarts: u32,
}

impl Log {
    /// Notes the log that earlier runs left.
    pub(super) fn open(
        db: &Connection,
        feed: Arc<LogFeed>,
        checkpointer: &mut Checkpointer,
    ) -> rusqlite::Result<Self> {
        let head = positions::head(db)?;
        feed.opened(head.seq);
        let mut log = Self {
            feed,
            file: None,
            commits: None,
            timeline: head.timeline,
            seq: head.seq,
            mark: None,
            restarts: 0,
        };
        // Asks for the length of the log, and folds nothing back.
        let frames: i64 = db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
        match u32::try_from(frames).unwrap_or(0) {
            0 => {
                log.feed.emptied();
                log.open_commits(None);
            }
            frames => {
                checkpointer.committed(frames);
                log.note_earlier(frames, last_event_at(db)?);
            }
        }
        Ok(log)
    }

    /// Opens the file of the commits, and returns those in it.
    fn open_commits(&mut self, end: Option<LogEnd>) -> Vec<Entry> {
        let path = self.feed.log_path().with_extension("db-commits");
        match CommitFile::open(&path, end) {
            Ok((file, found)) => {
                self.commits = Some(file);
                found
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the commits of the log are not known to the next start");
                Vec::new()
            }
        }
    }

    /// Notes the commits of earlier runs. What is not known of them is that of the newest event.
    fn note_earlier(&mut self, frames: u32, last_event_at: Option<Timestamp>) {
        let Some(salts) = self.salts() else { return };
        let end = LogEnd { salts, frames };
        let mut found = self.open_commits(Some(end));
        if found.last().is_none_or(|it| it.end != end) {
            let last = Entry {
                end,
                seq: self.seq,
                at: last_event_at.unwrap_or_else(Timestamp::now),
            };
            found.push(last);
            self.keep(last);
        }
        for entry in found {
            self.tell(entry);
        }
    }

    fn note(&mut self, frames: u32) {
        if let Some(salts) = self.salts() {
            let restarts = std::mem::take(&mut self.restarts);
            if { self.mark }.is_some_and(|before| is_missed(before, salts[0], restarts)) {
                tracing::error!("a whole write-ahead log was not seen, so that it is not shipped");
                self.feed.missed_log();
            }
            let entry = Entry {
                end: LogEnd { salts, frames },
                seq: self.seq,
                at: Timestamp::now(),
            };
            self.keep(entry);
            self.tell(entry);
        }
    }

    fn keep(&mut self, entry: Entry) {
        if let Some(commits) = &mut self.commits
            && let Err(error) = commits.note(entry)
        {
            tracing::warn!(%error, "the commits of the log are not known to the next start");
            self.commits = None;
        }
    }

    fn tell(&mut self, entry: Entry) {
        let age = Timestamp::now()
            .as_millis()
            .saturating_sub(entry.at.as_millis());
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        let now = Instant::now();
        let commit = LoggedCommit {
            end: entry.end,
            seq: entry.seq,
            at: entry.at,
            noted: now.checked_sub(age).unwrap_or(now),
        };
        self.mark = Some(entry.end.salts[0]);
        self.feed.committed(commit, self.timeline);
    }

    /// Reads the mark of the log. The file stays the same as long as the store is open.
    fn salts(&mut self) -> Option<[u32; 2]> {
        match self.read_salts() {
            Ok(salts) => Some(salts),
            Err(error) => {
                tracing::error!(%error, "the write-ahead log cannot be read, so that it is not shipped");
                self.feed.lost_sight();
                None
            }
        }
    }

    fn read_salts(&mut self) -> io::Result<[u32; 2]> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(self.feed.log_path())?,
        };
        let mut salts = [0; 8];
        file.read_exact_at(&mut salts, SALTS_AT)?;
        self.file = Some(file);
        let [a, b, c, d, e, f, g, h] = salts;
        Ok([
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
        ])
    }
}

/// Returns whether there was a log between two marks. The mark grows by one when a connection
/// restarts the log, which it does once for the next commit and with each truncation.
fn is_missed(before: u32, now: u32, truncated: u32) -> bool {
    now.wrapping_sub(before) > truncated.max(1)
}

fn last_event_at(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let newest = "SELECT at FROM events ORDER BY seq DESC LIMIT 1";
    let at = db.query_row(newest, [], |row| row.get(0)).optional()?;
    Ok(at.map(Timestamp::from_millis))
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
        if let Some(log) = &mut self.shipped_log
            && self.checkpointer.pages() == 0
        {
            log.restarts = log.restarts.saturating_add(1);
            log.feed.emptied();
        }
    }

    /// Returns whether the log may be folded back into the file.
    pub(super) fn may_fold(&mut self) -> bool {
        self.note_log();
        let need = match (self.checkpointer.is_too_long(), self.checkpointer.is_long()) {
            (true, _) => FoldNeed::TooLong,
            (false, true) => FoldNeed::Long,
            (false, false) => FoldNeed::Due,
        };
        let log = self.shipped_log.as_ref();
        log.is_none_or(|log| log.feed.may_fold(need))
    }

    /// Notes that the log was folded back although the archive did not have it: refusing all
    /// writes would have been worse.
    pub(super) fn note_given_up(&mut self) {
        if let Some(log) = &self.shipped_log {
            tracing::error!(
                "the write-ahead log has reached store.wal_max_bytes and the archive does not have it: the archive begins again with a snapshot, and has no commits until then (check recovery.url)"
            );
            log.feed.gave_up();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_that_was_not_seen_is_missed() {
        for (before, now, truncated, expected) in [
            (5, 5, 0, false),
            (5, 6, 0, false),
            (5, 7, 0, true),
            (5, 7, 2, false),
            (5, 4, 1, true),
            (u32::MAX, 0, 0, false),
        ] {
            let found = is_missed(before, now, truncated);
            assert_eq!(found, expected, "{before} {now} {truncated}");
        }
    }
}
