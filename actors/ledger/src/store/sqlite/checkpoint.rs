//! Checkpoints of the write-ahead log.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ffi};

use super::{connection::BUSY_TIMEOUT, disk_space};

/// Limits the length of the write-ahead log.
///
/// A checkpoint runs on the writer thread: when the log is long and nobody waits, or
/// when it is longer than it should be. A reader that is not done may prevent the log
/// from being restarted; when the log exceeds its maximum, the writer waits for
/// readers, and nothing is written until it is short again.
pub(super) struct Checkpointer {
    limit_pages: u32,
    max_pages: u32,
    commits_since: u32,
    /// Pages in the log.
    pages: u32,
    /// Pages of the log that are checkpointed into the file.
    folded: u32,
    /// Pages that the log had at the last checkpoint, checkpointed or not.
    looked_at: u32,
    /// True if the log may contain erased content: it must be truncated, not only
    /// restarted.
    has_erased: bool,
}

/// Value of `wal_pages` after a commit that wrote nothing.
pub(super) const UNCHANGED: u32 = u32::MAX;

/// Divisor of the limit from which on an idle moment is used for a checkpoint. Fixed: a
/// part of store.wal_max_bytes, which is the limit.
const IDLE_SHARE: u32 = 8;
/// Maximum wait for readers when the log is too long. Fixed: the writer waits meanwhile;
/// a reader that takes longer is waited for the next time.
const READERS_WITHIN: Duration = Duration::from_millis(50);
/// Size of a page and of its header in the log, in bytes. Fact: the WAL format of SQLite:
/// a frame header has 24 bytes.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
/// Size of a page, in bytes. Fact: the default page size of SQLite.
const PAGE_BYTES: u64 = 4_096;

impl Checkpointer {
    pub(super) fn new(limit_pages: u32, max_bytes: u64) -> Self {
        let max_pages = u32::try_from(max_bytes / FRAME_BYTES).unwrap_or(u32::MAX);
        Self::new_with(limit_pages, max_pages)
    }

    /// Creates one for an empty log.
    fn new_with(limit_pages: u32, max_pages: u32) -> Self {
        Self {
            limit_pages,
            max_pages,
            commits_since: 0,
            pages: 0,
            folded: 0,
            looked_at: 0,
            has_erased: false,
        }
    }

    /// Notes that the log may contain erased content.
    pub(super) fn erased(&mut self) {
        self.has_erased = true;
    }

    /// Notes a commit that left the log with that many pages; [`UNCHANGED`] if it wrote
    /// nothing.
    pub(super) fn committed(&mut self, wal_pages: u32) {
        if wal_pages == UNCHANGED {
            return;
        }
        if wal_pages < self.pages {
            // The log was restarted.
            self.folded = 0;
            self.looked_at = 0;
        }
        self.pages = wal_pages;
        self.commits_since += 1;
    }

    /// Returns the number of pages in the log.
    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    /// Returns whether a checkpoint is due: `limit_pages` were written since the last
    /// one, even if readers prevented it from covering all earlier pages. When no
    /// command waits, fewer pages are enough.
    pub(super) fn is_due(&self, idle: bool) -> bool {
        let left = self.pages.saturating_sub(self.folded);
        let new = self.pages.saturating_sub(self.looked_at);
        let erased = idle && self.has_erased;
        erased
            || self.commits_since > 0
                && (new >= self.limit_pages || (idle && left >= self.limit_pages / IDLE_SHARE))
    }

    fn ran(&mut self, log: i64, done: i64) {
        let pages = |n: i64| u32::try_from(n).unwrap_or(0);
        self.looked_at = pages(log);
        self.folded = pages(done);
    }

    /// Checkpoints without waiting for readers. Remaining pages are left for the next
    /// time.
    pub(super) fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.commits_since = 0;
        if !has_room(db)? {
            return Ok(());
        }
        if crate::failpoint::fails("checkpoint_sync") {
            let failed = ffi::Error::new(ffi::SQLITE_IOERR_FSYNC);
            return Err(rusqlite::Error::SqliteFailure(failed, None));
        }
        if self.has_erased && self.cut_off(db)? {
            return Ok(());
        }
        let [_, log, done] = checkpoint(db, "PRAGMA wal_checkpoint(PASSIVE)")?;
        self.ran(log, done);
        Ok(())
    }

    /// Checkpoints the whole log and truncates it; waits briefly for readers. Returns
    /// `false` if they hold the log.
    fn cut_off(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        db.busy_timeout(READERS_WITHIN)?;
        let done = checkpoint(db, "PRAGMA wal_checkpoint(TRUNCATE)");
        db.busy_timeout(BUSY_TIMEOUT)?;
        let [busy, ..] = done?;
        if busy == 0 {
            *self = Self::new_with(self.limit_pages, self.max_pages);
        }
        Ok(busy == 0)
    }

    /// Returns whether the log exceeds its maximum.
    pub(super) fn is_too_long(&self) -> bool {
        self.pages >= self.max_pages
    }

    /// Returns whether the log is at half of its maximum.
    pub(super) fn is_long(&self) -> bool {
        self.pages >= self.max_pages / 2
    }

    /// Checkpoints all of the log and truncates it, if readers allow it.
    pub(super) fn finish(&mut self, db: &Connection) -> rusqlite::Result<()> {
        match has_room(db)? && self.cut_off(db)? {
            true => Ok(()),
            false => self.run(db),
        }
    }

    /// Waits briefly for readers if the log exceeds its maximum. Returns `false` if it
    /// still does.
    pub(super) fn shorten_if_too_long(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        if !self.is_too_long() {
            return Ok(true);
        }
        if !has_room(db)? {
            return Err(rusqlite::Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_FULL),
                None,
            ));
        }
        self.cut_off(db)
    }
}

/// Returns whether the file can grow by the content of the log. The little space on a
/// nearly full disk is for results, not for a second copy of the log.
fn has_room(db: &Connection) -> rusqlite::Result<bool> {
    let Some(path) = db.path().map(Path::new) else {
        return Ok(true);
    };
    let pages: u64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let now = path.metadata().map_or(0, |file| file.len());
    let growth = pages.saturating_mul(PAGE_BYTES).saturating_sub(now);
    Ok(disk_space::is_enough_for(path, growth))
}

/// Runs a checkpoint; returns whether readers were in the way, the pages in the log,
/// and the checkpointed pages.
fn checkpoint(db: &Connection, sql: &str) -> rusqlite::Result<[i64; 3]> {
    db.query_row(sql, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_when_long_or_when_idle_and_longish() {
        let mut checkpointer = Checkpointer::new(800, u64::MAX);
        assert!(!checkpointer.is_due(true));
        for (pages, idle, due) in [
            (99, true, false),
            (100, true, true),
            (799, false, false),
            (800, false, true),
        ] {
            checkpointer.committed(pages);
            assert_eq!(checkpointer.is_due(idle), due, "{pages} {idle}");
        }
    }

    #[test]
    fn a_log_that_has_what_was_erased_is_due_in_the_next_idle_moment() {
        let mut checkpointer = Checkpointer::new(800, u64::MAX);
        checkpointer.committed(1);
        checkpointer.erased();
        assert!(!checkpointer.is_due(false) && checkpointer.is_due(true));
        // A reader was in the way.
        checkpointer.ran(1, 1);
        assert!(checkpointer.is_due(true));
    }

    #[test]
    fn folded_pages_are_not_due_again() {
        let mut checkpointer = Checkpointer::new(800, u64::MAX);
        checkpointer.committed(900);
        assert!(checkpointer.is_due(false));
        checkpointer.ran(900, 900);
        // (pages of the log, whether a checkpoint is due, and when idle)
        for (pages, due, when_idle) in [
            (UNCHANGED, false, false),
            // A reader prevents the log from being restarted: it grows.
            (950, false, false),
            (1_000, false, true),
            (1_699, false, true),
            (1_700, true, true),
            // The log was restarted.
            (5, false, false),
            (800, true, true),
        ] {
            checkpointer.committed(pages);
            let found = (checkpointer.is_due(false), checkpointer.is_due(true));
            assert_eq!(found, (due, when_idle), "{pages}");
        }
    }

    #[test]
    fn a_reader_in_the_way_is_not_asked_after_every_commit() {
        let mut checkpointer = Checkpointer::new(800, u64::MAX);
        checkpointer.committed(900);
        checkpointer.ran(900, 10);
        for (pages, due) in [(901, false), (1_699, false), (1_700, true)] {
            checkpointer.committed(pages);
            assert_eq!(checkpointer.is_due(false), due, "{pages}");
        }
        assert!(checkpointer.is_due(true));
    }
}
