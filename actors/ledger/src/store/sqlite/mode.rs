//! The level that an operator has set.

use deia_model::{Action, Level, NewEvent, OperatorLevel};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};

use super::{SqliteStore, meta::meta, rows, transaction::Tx};
use crate::{BoxFuture, EndMode, ModeCommand, ModeReads, Reply, SetMode, StoreError};

pub(super) fn apply(tx: &mut Tx<'_>, command: &ModeCommand) -> rusqlite::Result<Reply> {
    match command {
        ModeCommand::Set(command) => set(tx, command),
        ModeCommand::End(command) => end(tx, command),
    }
}

fn set(tx: &mut Tx<'_>, command: &SetMode) -> rusqlite::Result<Reply> {
    let level = OperatorLevel {
        level: command.level,
        reason: command.reason.clone(),
        by: command.actor.clone(),
        since: tx.now,
        until: tx.now.plus_millis(command.duration_ms),
    };
    tx.db
        .prepare_cached(
            "INSERT OR REPLACE INTO operator_level (id, level, reason, actor, since, until)
             VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            level.level.number(),
            level.reason,
            level.by,
            level.since.as_millis(),
            level.until.as_millis(),
        ])?;
    let details = json!({
        "level": level.level, "source": "operator", "why": level.reason, "until": level.until,
    });
    log(tx, &level.by, details)?;
    Ok(Reply::OperatorLevel(Box::new(level)))
}

fn end(tx: &mut Tx<'_>, command: &EndMode) -> rusqlite::Result<Reply> {
    let only = command.only_set_at.map(deia_model::Timestamp::as_millis);
    let ended = tx
        .db
        .prepare_cached("DELETE FROM operator_level WHERE ?1 IS NULL OR since = ?1")?
        .execute([only])?;
    if ended > 0 {
        let details = json!({"level": command.then, "source": "signals", "why": command.why});
        log(tx, &command.actor, details)?;
    }
    Ok(Reply::Done(ended as u64))
}

fn log(tx: &mut Tx<'_>, actor: &str, details: Value) -> rusqlite::Result<()> {
    let hive = meta(tx.db, "hive_id")?.unwrap_or_default();
    tx.log_event(&NewEvent::new(Action::ModeChanged, actor, hive).details(details))
}

impl ModeReads for SqliteStore {
    fn operator_level(&self) -> BoxFuture<'_, Result<Option<OperatorLevel>, StoreError>> {
        self.internal_readers.read(find)
    }
}

fn find(db: &Connection) -> rusqlite::Result<Option<OperatorLevel>> {
    db.prepare_cached("SELECT level, reason, actor, since, until FROM operator_level")?
        .query_row([], record)
        .optional()
}

fn record(row: &Row<'_>) -> rusqlite::Result<OperatorLevel> {
    Ok(OperatorLevel {
        // The table admits no other number.
        level: Level::new(row.get(0)?).unwrap_or_default(),
        reason: row.get(1)?,
        by: row.get(2)?,
        since: rows::time(row, 3)?,
        until: rows::time(row, 4)?,
    })
}
