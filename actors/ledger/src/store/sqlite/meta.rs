//! Facts about the store as a whole.

use rusqlite::{Connection, OptionalExtension};

/// Returns a fact by its name.
pub(super) fn meta(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
        row.get(0)
    })
    .optional()
}

/// Returns the id of the hive; `None` if the file has none yet.
pub(super) fn hive_id_of(db: &Connection) -> rusqlite::Result<Option<String>> {
    meta(db, "hive_id")
}
