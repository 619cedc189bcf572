//! Release of free pages to the file system in idle moments, some at a time: otherwise
//! a file that was large once would stay so.

use rusqlite::Connection;

use super::Writer;
use crate::store::sqlite::errors::is_fatal;

/// Free pages that are kept for further writes: 4 MiB. Fixed: the writes of some seconds.
const KEPT_PAGES: u32 = 1_024;
/// Divisor: the share of the file that may be free, since less is not worth the writes.
/// Fixed: releasing pages costs writes.
const FREE_SHARE: u32 = 4;
/// Pages that one step releases: it must not delay a caller. Fixed: bounds one step, so
/// that others get their turn; the whole has no limit here.
const STEP_PAGES: u32 = 256;

/// Returns the number of pages to release now.
fn step(pages: u32, free: u32) -> u32 {
    if free <= KEPT_PAGES || free < pages / FREE_SHARE {
        return 0;
    }
    (free - KEPT_PAGES).min(STEP_PAGES)
}

fn count(db: &Connection, pragma: &str) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, pragma, |row| row.get(0))
}

impl Writer {
    /// Releases some free pages, if there are many. Returns whether there may be more
    /// to do: one step uses one idle moment.
    pub(super) fn shrink(&mut self) -> Result<bool, String> {
        match self.shrink_step() {
            Ok(some) => Ok(some),
            // This first takes space in the log, which a full disk does not have.
            Err(error) if self.is_full(&error) => Ok(false),
            Err(error) if is_fatal(&error) => Err(format!("the store failed: {error}")),
            Err(error) => {
                tracing::warn!(%error, "cannot release free pages; retrying later");
                Ok(false)
            }
        }
    }

    fn shrink_step(&mut self) -> rusqlite::Result<bool> {
        let pages = count(&self.db, "page_count")?;
        let pages = step(pages, count(&self.db, "freelist_count")?);
        if pages == 0 {
            return Ok(false);
        }
        // The statement releases one page per step.
        let sql = format!("PRAGMA incremental_vacuum({pages})");
        let mut vacuum = self.db.prepare(&sql)?;
        let mut freed = vacuum.query([])?;
        while freed.next()?.is_some() {}
        drop(freed);
        drop(vacuum);
        Ok(self.note_log())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_pages_are_given_back_when_they_are_many() {
        for (pages, free, expected) in [
            (0, 0, 0),
            (10_000, 1_024, 0),
            (10_000, 2_000, 0),
            (10_000, 3_000, STEP_PAGES),
            (4_000, 1_030, 6),
        ] {
            assert_eq!(step(pages, free), expected, "{free} of {pages}");
        }
    }
}
