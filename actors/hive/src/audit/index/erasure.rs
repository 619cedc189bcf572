//! Erasure of details that an entry of the trail says are erased.

use deia_trail::TrailReader;
use rusqlite::{Connection, params};

use super::{IndexError, glance::Target};

/// Actions that say that the details of the entries about their target are erased.
const ERASING: [&str; 2] = ["task.erased", "audit.erased"];

/// Returns whether an entry of the action erases details.
pub(super) fn erases(action: &str) -> bool {
    ERASING.contains(&action)
}

/// Notes that an entry without a row has details that may say something of its target.
pub(super) fn note(db: &Connection, index: u64, target: &Target<'_>) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO erasable (idx, target_type, target) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![index, target.r#type, target.id])?;
    Ok(())
}

/// Erases the details of all entries about the target before `index`. They are erased on disk
/// when this returns; a crash before the position moves repeats it.
pub(super) fn erase(
    db: &Connection,
    reader: &TrailReader,
    target: &Target<'_>,
    index: u64,
) -> Result<u64, IndexError> {
    let entries: Vec<u64> = db
        .prepare_cached(
            "SELECT idx FROM entries WHERE target = ?1 AND target_type = ?2 AND idx < ?3
             UNION SELECT idx FROM erasable WHERE target = ?1 AND target_type = ?2 AND idx < ?3",
        )?
        .query_map(params![target.id, target.r#type, index], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut erased = 0;
    for entry in entries {
        erased += u64::from(reader.erase_details(entry)?);
    }
    db.prepare_cached("DELETE FROM erasable WHERE target = ?1 AND target_type = ?2 AND idx < ?3")?
        .execute(params![target.id, target.r#type, index])?;
    Ok(erased)
}
