//! Erasure of the content and the outcome of tasks.

use deia_model::{Action, EventResult, TaskId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    connection::{SECURE_DELETE, SECURE_DELETE_ALL},
    entry::{OfTask, TaskEntry},
    errors::ApplyError,
    rows,
    transaction::Tx,
};
use crate::{Rejection, Reply};

/// Erases the input and the outcome of the task. The record stays, with its tags and
/// keys. Freed pages are overwritten, which is otherwise done only where it costs no
/// write.
pub(super) fn erase(tx: &mut Tx<'_>, id: TaskId, actor: &str) -> Result<Reply, ApplyError> {
    let rows::Stored {
        seq, history, task, ..
    } = tx
        .db
        .prepare_cached(rows::SELECT_TASK_BY_ID)?
        .query_row([id.as_bytes()], rows::stored_task)
        .optional()?
        .ok_or(Rejection::NoSuchTask(id))?;
    if !task.status.is_final() {
        return Err(Rejection::TaskIsUnfinished {
            task: id,
            status: task.status,
        }
        .into());
    }
    if task.erased_at.is_some() {
        return Ok(Reply::Done(0));
    }
    let now = tx.now.as_millis();
    tx.db
        .pragma_update(None, "secure_delete", SECURE_DELETE_ALL)?;
    let erased = overwrite(tx.db, seq, history.last, now);
    tx.db.pragma_update(None, "secure_delete", SECURE_DELETE)?;
    erased?;
    tx.db
        .prepare_cached("UPDATE tasks SET last_event = ?2, events = events + 1 WHERE seq = ?1")?
        .execute(params![seq, tx.next_event()])?;
    tx.log_task(
        history,
        TaskEntry {
            action: Action::TaskErased,
            actor,
            id,
            owner: &task.submitter,
            task: OfTask::of(&task, task.status),
            result: EventResult::Success,
            details: None,
            traceparent: task.traceparent.as_deref(),
        },
    )?;
    Ok(Reply::Done(1))
}

fn overwrite(db: &Connection, seq: i64, last_event: Option<i64>, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE tasks SET content = '', extra = json_remove(extra, '$.metadata'), last_error = NULL, erased_at = ?2
         WHERE seq = ?1",
    )?
    .execute([seq, now])?;
    for sql in [
        "DELETE FROM contents WHERE seq = ?1",
        "UPDATE results SET output = NULL, output_bytes = NULL, error = NULL WHERE seq = ?1",
        "UPDATE failed_attempts SET error = NULL WHERE seq = ?1",
    ] {
        db.prepare_cached(sql)?.execute([seq])?;
    }
    // Events of attempts repeat the end of standard error.
    db.prepare_cached(
        "WITH RECURSIVE chain (link) AS (
             VALUES (?1) UNION SELECT prev FROM chain JOIN events ON seq = link WHERE prev IS NOT NULL)
         UPDATE events SET details = json_remove(details, '$.error')
         WHERE seq IN (SELECT link FROM chain) AND details IS NOT NULL",
    )?
    .execute([last_event])?;
    Ok(())
}
