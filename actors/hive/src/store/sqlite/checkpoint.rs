//! When the write-ahead log is folded back into the file.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ffi};

use super::{open::BUSY_TIMEOUT, room};

/// Keeps the write-ahead log from growing without end. A checkpoint happens on
/// the writer thread: when the log is long and nobody waits, or when it is
/// longer than it should be. A reader that is not done may keep the log from
/// being begun anew; when it becomes longer than it may be, readers are waited
/// for, and nothing is written until it is short again.
pub(super) struct Checkpointer {
    limit_pages: u32,
    max_pages: u32,
    commits_since: u32,
    pages: u32,
}

/// How long the log should be before an idle moment is used.
const IDLE_SHARE: u32 = 8;
/// How long readers are waited for when the log is too long.
const READERS_WITHIN: Duration = Duration::from_millis(50);
/// Size of a page and of its header in the log, in bytes.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
/// Size of a page, in bytes.
const PAGE_BYTES: u64 = 4_096;

impl Checkpointer {
    pub(super) fn new(limit_pages: u32, max_bytes: u64) -> Self {
        Self {
            limit_pages,
            max_pages: u32::try_from(max_bytes / FRAME_BYTES).unwrap_or(u32::MAX),
            commits_since: 0,
            pages: 0,
        }
    }

    /// Notes a commit that left the log with that many pages.
    pub(super) fn committed(&mut self, wal_pages: u32) {
        self.pages = wal_pages;
        self.commits_since += 1;
    }

    /// Whether to checkpoint now.
    pub(super) fn is_due(&self, idle: bool) -> bool {
        self.commits_since > 0
            && (self.pages >= self.limit_pages
                || (idle && self.pages >= self.limit_pages / IDLE_SHARE))
    }

    /// Checkpoints without waiting for readers. What could not be folded back
    /// is left for the next time.
    pub(super) fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.commits_since = 0;
        if !has_room(db)? {
            return Ok(());
        }
        let [_, log, done] = checkpoint(db, "PRAGMA wal_checkpoint(PASSIVE)")?;
        if done >= log && self.pages < self.max_pages {
            self.pages = 0;
        }
        Ok(())
    }

    /// Waits for readers, a moment only, when the log is longer than it may be.
    /// `false` when they keep it so.
    pub(super) fn shorten_if_too_long(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        if self.pages < self.max_pages {
            return Ok(true);
        }
        if !has_room(db)? {
            return Err(rusqlite::Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_FULL),
                None,
            ));
        }
        db.busy_timeout(READERS_WITHIN)?;
        let done = checkpoint(db, "PRAGMA wal_checkpoint(TRUNCATE)");
        db.busy_timeout(BUSY_TIMEOUT)?;
        let [busy, ..] = done?;
        if busy != 0 {
            return Ok(false);
        }
        self.commits_since = 0;
        self.pages = 0;
        Ok(true)
    }
}

/// Whether the file can grow by what the log has for it. What little room there
/// is on a nearly full disk is for results, not for a second copy of the log.
fn has_room(db: &Connection) -> rusqlite::Result<bool> {
    let Some(path) = db.path().map(Path::new) else {
        return Ok(true);
    };
    let pages: u64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let now = path.metadata().map_or(0, |file| file.len());
    let growth = pages.saturating_mul(PAGE_BYTES).saturating_sub(now);
    Ok(room::is_enough_for(path, growth))
}

/// Whether readers were in the way, pages in the log, and pages folded back.
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
}
