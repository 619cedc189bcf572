//! The last checkpoint of the audit trail, and new histories of the event log.

use deia_model::Position;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteStore,
    errors::ApplyError,
    positions::{number, timeline},
    transaction::Tx,
};
use crate::{AuditReads, BeginTimeline, BoxFuture, Rejection, Reply, SealedTrail, StoreError};

/// Notes a checkpoint.
pub(super) fn note(tx: &Tx<'_>, sealed: &SealedTrail) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT INTO audit_trail (id, origin, size, root, checkpoint) VALUES (1, ?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET origin = excluded.origin, size = excluded.size,
                 root = excluded.root, checkpoint = excluded.checkpoint",
        )?
        .execute(params![
            sealed.origin,
            number(sealed.size),
            sealed.root,
            sealed.checkpoint
        ])?;
    Ok(())
}

fn sealed(db: &Connection) -> rusqlite::Result<Option<SealedTrail>> {
    db.prepare_cached("SELECT origin, size, root, checkpoint FROM audit_trail")?
        .query_row([], |row| {
            Ok(SealedTrail {
                origin: row.get(0)?,
                size: row.get::<_, i64>(1)?.unsigned_abs(),
                root: row.get(2)?,
                checkpoint: row.get(3)?,
            })
        })
        .optional()
}

/// Begins a new history behind the newest event.
pub(super) fn begin_timeline(tx: &Tx<'_>, command: BeginTimeline) -> Result<Reply, ApplyError> {
    let before = Position {
        timeline: timeline(tx.db)?,
        seq: tx.newest_event(),
    };
    if before.timeline != command.after {
        return Err(Rejection::CursorMoved { at: before }.into());
    }
    let next = before.timeline + 1;
    tx.db
        .prepare_cached("INSERT INTO timelines (timeline, first_seq) VALUES (?1, ?2)")?
        .execute(params![number(next), number(before.seq + 1)])?;
    Ok(Reply::Done(next))
}

impl AuditReads for SqliteStore {
    fn sealed_trail(&self) -> BoxFuture<'_, Result<Option<SealedTrail>, StoreError>> {
        self.internal_readers.read_whole(sealed)
    }
}
