//! Positions in the event log, and the cursors of followers.

use deia_model::Position;
use rusqlite::{Connection, OptionalExtension, Row};

/// Returns the history that new events belong to.
pub(super) fn timeline(db: &Connection) -> rusqlite::Result<u64> {
    let newest: i64 = db
        .prepare_cached("SELECT max(timeline) FROM timelines")?
        .query_row([], |row| row.get(0))?;
    Ok(newest.unsigned_abs())
}

/// Returns the history that an event was recorded in.
pub(super) fn timeline_of(db: &Connection, seq: u64) -> rusqlite::Result<u64> {
    let timeline: Option<i64> = db
        .prepare_cached("SELECT max(timeline) FROM timelines WHERE first_seq <= ?1")?
        .query_row([number(seq)], |row| row.get(0))?;
    Ok(timeline.unwrap_or(1).unsigned_abs())
}

/// Returns the last event that a history shares with the one after it; `None` for the
/// newest history.
fn fork_after(db: &Connection, timeline: u64) -> rusqlite::Result<Option<Position>> {
    db.prepare_cached(
        "SELECT timeline, first_seq - 1 FROM timelines WHERE timeline > ?1 ORDER BY timeline LIMIT 1",
    )?
    .query_row([number(timeline)], |row| position(row, 0))
    .optional()
}

/// Returns where a cursor must continue, if that is elsewhere: its history was cut off
/// earlier, by a restore.
pub(super) fn forked(db: &Connection, at: Position) -> rusqlite::Result<Option<Position>> {
    let fork = fork_after(db, at.timeline)?;
    Ok(fork.filter(|fork| at.seq > fork.seq))
}

pub(super) fn newest(db: &Connection) -> rusqlite::Result<u64> {
    let newest: i64 = db
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(newest.unsigned_abs())
}

/// Returns the position of the newest event.
pub(super) fn head(db: &Connection) -> rusqlite::Result<Position> {
    Ok(Position {
        timeline: timeline(db)?,
        seq: newest(db)?,
    })
}

pub(super) fn oldest(db: &Connection) -> rusqlite::Result<u64> {
    let oldest: i64 = db
        .prepare_cached("SELECT coalesce(min(seq), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(oldest.unsigned_abs())
}

/// Returns the cursor of that name; before the oldest stored event if it was never
/// moved.
pub(super) fn cursor(db: &Connection, name: &str) -> rusqlite::Result<Position> {
    let stored = db
        .prepare_cached("SELECT timeline, seq FROM followers WHERE name = ?1")?
        .query_row([name], |row| position(row, 0))
        .optional()?;
    match stored {
        Some(at) => Ok(at),
        // A new follower starts with the stored events, and has missed nothing.
        None => Ok(Position {
            timeline: timeline(db)?,
            seq: oldest(db)?.saturating_sub(1),
        }),
    }
}

pub(super) fn position(row: &Row<'_>, at: usize) -> rusqlite::Result<Position> {
    Ok(Position {
        timeline: row.get::<_, i64>(at)?.unsigned_abs(),
        seq: row.get::<_, i64>(at + 1)?.unsigned_abs(),
    })
}

/// Returns a number as SQLite stores it.
pub(super) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
