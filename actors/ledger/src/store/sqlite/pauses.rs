//! Pauses of the queue, as a whole or by type.

use deia_model::{Action, EventResult, Pause, TaskType};
use rusqlite::{Connection, Row, params};

use super::{
    entry::{Entry, EntryAction, Target},
    rows,
    transaction::Tx,
    unreadable,
};
use crate::{CommitNotice, Reply};

/// Name of the whole queue in events.
const WHOLE: &str = "queue";

fn stored(task_type: Option<&TaskType>) -> &str {
    task_type.map_or("", TaskType::as_str)
}

pub(super) fn pause(
    tx: &mut Tx<'_>,
    task_type: Option<&TaskType>,
    actor: &str,
    reason: Option<&str>,
) -> rusqlite::Result<Reply> {
    let changed = tx
        .db
        .prepare_cached(
            "INSERT INTO pauses (type, since, actor, reason) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(params![stored(task_type), tx.now.as_millis(), actor, reason])?;
    if changed > 0 {
        let details = serde_json::json!({"type": task_type, "reason": reason}).to_string();
        told(tx, Action::QueuePaused, actor, task_type, &details)?;
    }
    Ok(Reply::Done(changed as u64))
}

pub(super) fn resume(
    tx: &mut Tx<'_>,
    task_type: Option<&TaskType>,
    actor: &str,
) -> rusqlite::Result<Reply> {
    let changed = tx
        .db
        .prepare_cached("DELETE FROM pauses WHERE type = ?1")?
        .execute([stored(task_type)])?;
    if changed > 0 {
        let details = serde_json::json!({"type": task_type}).to_string();
        told(tx, Action::QueueResumed, actor, task_type, &details)?;
    }
    Ok(Reply::Done(changed as u64))
}

fn told(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    task_type: Option<&TaskType>,
    details: &str,
) -> rusqlite::Result<()> {
    tx.notice(CommitNotice::PausesChanged);
    tx.log(&Entry {
        action: EntryAction::Known(action),
        level: None,
        actor,
        target: Target::Named(task_type.map_or(WHOLE, TaskType::as_str)),
        target_type: None,
        owner: None,
        task: None,
        result: EventResult::Success,
        details: Some(details),
        trace_id: None,
    })
}

/// Returns the pauses, that of the whole queue first.
pub(super) fn pauses(db: &Connection) -> rusqlite::Result<Vec<Pause>> {
    db.prepare_cached("SELECT type, since, actor, reason FROM pauses ORDER BY type")?
        .query_map([], |row| unreadable::lenient("pauses", row, record))?
        .filter_map(Result::transpose)
        .collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<Pause> {
    let whole = row.get_ref(0)?.as_str().is_ok_and(str::is_empty);
    Ok(Pause {
        task_type: match whole {
            true => None,
            false => Some(rows::parsed(row, 0)?),
        },
        since: rows::time(row, 1)?,
        by: row.get(2)?,
        reason: row.get(3)?,
    })
}
