//! Retention: rows of entries that the trail has no more.

use rusqlite::{Connection, OptionalExtension, params};

use super::{BUNDLE, summary::HOUR_MS};

/// Maximum number of rows that one transaction deletes from a table. Fixed: bounds one
/// step, so that others get their turn; the whole has no limit here.
const STEP: u64 = 20_000;

/// Deletes the rows of the bundles before that of `end`, in small transactions. A repetition goes
/// on.
pub(super) fn prune(db: &Connection, end: u64) -> rusqlite::Result<()> {
    // Retention removes whole bundles.
    let kept = end / BUNDLE;
    // In tables that are sorted by name first, the rows of one name at a time.
    for (table, name, names) in [
        ("bundle_classes", "class", "classes"),
        ("bundle_actors", "actor", "actors"),
    ] {
        let mut last = 0;
        while let Some(id) = next_name(db, names, last)? {
            let sql = format!(
                "DELETE FROM {table} WHERE {name} = ?1 AND bundle IN
                     (SELECT bundle FROM {table} WHERE {name} = ?1 AND bundle < ?2 LIMIT ?3)"
            );
            while db.prepare_cached(&sql)?.execute(params![id, kept, STEP])? > 0 {}
            last = id;
        }
    }
    for (table, key, end) in [
        ("bundle_targets", "bundle", kept),
        ("entries", "idx", kept * BUNDLE),
        ("erasable", "idx", kept * BUNDLE),
    ] {
        delete(db, table, key, end)?;
    }
    // The bundle at the end is the first that is kept.
    let first_at: Option<i64> = db
        .query_row(
            "SELECT first_at FROM bundles WHERE bundle >= ?1 ORDER BY bundle LIMIT 1",
            [kept],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(first_at) = first_at {
        let hour = first_at.div_euclid(HOUR_MS);
        for table in ["hour_classes", "hour_actors"] {
            db.execute(&format!("DELETE FROM {table} WHERE hour < ?1"), [hour])?;
        }
    }
    delete(db, "bundles", "bundle", kept)
}

fn next_name(db: &Connection, table: &str, last: i64) -> rusqlite::Result<Option<i64>> {
    let sql = format!("SELECT id FROM {table} WHERE id > ?1 ORDER BY id LIMIT 1");
    db.prepare_cached(&sql)?
        .query_row([last], |row| row.get(0))
        .optional()
}

fn delete(db: &Connection, table: &str, key: &str, end: u64) -> rusqlite::Result<()> {
    let sql = format!(
        "DELETE FROM {table} WHERE {key} IN
             (SELECT {key} FROM {table} WHERE {key} < ?1 ORDER BY {key} LIMIT ?2)"
    );
    while db.prepare_cached(&sql)?.execute(params![end, STEP])? > 0 {}
    Ok(())
}
