//! Manual retries: finished tasks are put back into the queue.

use deia_model::{Action, EventResult, Role, Task, TaskId, TaskStatus};
use rusqlite::{OptionalExtension, params};

use super::{
    dependencies,
    entry::{OfTask, TaskEntry},
    errors::ApplyError,
    rows, sessions,
    submit::backlog,
    transaction::Tx,
};
use crate::{CommitNotice, Demand, Load, ReadyTask, Rejection, Reply, admit};

/// A request to put a task back into the queue.
pub(super) struct Asked<'a> {
    pub(super) actor: &'a str,
    /// The role that the caller acts with.
    pub(super) role: Role,
    /// If true, refuses unless the task failed.
    pub(super) only_failed: bool,
}

pub(super) fn retry(tx: &mut Tx<'_>, id: TaskId, asked: Asked<'_>) -> Result<Reply, ApplyError> {
    let Asked {
        actor,
        role,
        only_failed,
    } = asked;
    let mut find = tx.db.prepare_cached(rows::SELECT_TASK_BY_ID)?;
    let stored = find
        .query_row([id.as_bytes()], rows::stored_task)
        .optional()?
        .ok_or(Rejection::NoSuchTask(id))?;
    let rows::Stored {
        seq,
        history,
        ref task,
        bytes,
    } = stored;
    if !task.status.is_final() {
        return Err(Rejection::TaskIsUnfinished {
            task: id,
            status: task.status,
        }
        .into());
    }
    if task.erased_at.is_some() {
        return Err(Rejection::TaskIsErased(id).into());
    }
    if only_failed && task.status != TaskStatus::Failed {
        return Err(Rejection::TaskIsFinal {
            task: id,
            status: task.status,
        }
        .into());
    }
    if let Some(other) = same_key(tx, task)? {
        return Err(Rejection::DedupKeyInUse(other).into());
    }
    let more = Load {
        tasks: 1,
        bytes: bytes.unsigned_abs(),
    };
    let limits = tx.policy.per_submitter.of(role);
    admit(limits, backlog(tx, &task.submitter)?, more)?;
    let waits_for = dependencies::wait_again(tx, seq, &task.depends_on)?;
    let status = match waits_for {
        0 => TaskStatus::Queued,
        _ => TaskStatus::Pending,
    };
    // The task may have expired: the caller wants it to run all the same.
    tx.db
        .prepare_cached(
            "UPDATE tasks SET status = ?2, run_at = ?3, ready_since = NULL, failures = 0, bot_deaths = 0, suspicions = 0, hive_deaths = 0, completed_at = NULL,
                              cancel_requested_at = NULL, end_reason = NULL, expires_at = NULL, progress = NULL,
                              execution_ms = NULL, blocked_by = ?4, last_event = ?5,
                              events = events + 1 WHERE seq = ?1",
        )?
        .execute(params![
            seq,
            rows::status_code(status),
            tx.now.as_millis(),
            waits_for,
            tx.next_event()
        ])?;
    tx.db
        .prepare_cached("DELETE FROM results WHERE seq = ?1")?
        .execute([seq])?;
    tx.count_task(stored.counted(), Some(task.status), Some(status))?;
    let pinned = match task.session_id {
        Some(session) => sessions::pin_again(tx, seq, session)?,
        None => None,
    };
    if status == TaskStatus::Queued {
        tx.notice(CommitNotice::Ready(ReadyTask {
            id,
            order: seq,
            demand: Demand::of_type(task.task_type.clone()).on(pinned),
            priority: task.priority,
            ready_at: tx.now.as_millis(),
            last_bot: task.assigned_bot.clone(),
        }));
    }
    let was = serde_json::json!({"was": task.status, "reason": task.end_reason}).to_string();
    tx.log_task(
        history,
        TaskEntry {
            action: Action::TaskRequeued,
            actor,
            id,
            owner: &task.submitter,
            task: OfTask::of(task, status),
            result: EventResult::Success,
            details: Some(&was),
            traceparent: task.traceparent.as_deref(),
        },
    )?;
    let now = find.query_row([id.as_bytes()], rows::stored_task)?;
    Ok(Reply::Task(Box::new(now.task)))
}

/// Returns another unfinished task with the same key.
fn same_key(tx: &Tx<'_>, task: &Task) -> rusqlite::Result<Option<TaskId>> {
    let Some(key) = &task.dedup_key else {
        return Ok(None);
    };
    tx.db
        .prepare_cached(
            "SELECT id FROM tasks INDEXED BY tasks_dedup
             WHERE submitter = ?1 AND dedup_key = ?2 AND dedup_key IS NOT NULL AND status <= 2",
        )?
        .query_row([&task.submitter, key], |row| rows::task_id(row, 0))
        .optional()
}
