//! When the write-ahead log is folded back into the file.

use rusqlite::Connection;

/// Keeps the write-ahead log from growing without end. A checkpoint happens on
/// the writer thread: when the log is long and nobody waits, or when it is
/// longer than allowed.
pub(super) struct Checkpointer {
    limit_pages: u32,
    commits_since: u32,
    pages: u32,
}

/// How long the log should be before an idle moment is used.
const IDLE_SHARE: u32 = 8;

impl Checkpointer {
    pub(super) fn new(limit_pages: u32) -> Self {
        Self {
            limit_pages,
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
        let (log, done): (i64, i64) =
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(1)?, row.get(2)?))
            })?;
        if done >= log {
            self.pages = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_when_long_or_when_idle_and_longish() {
        let mut checkpointer = Checkpointer::new(800);
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
