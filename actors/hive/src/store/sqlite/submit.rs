//! Tasks come in, and become ready when their time has come.

use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::{
    apply::ApplyError,
    rows::{self, Extra},
    transaction::{Entry, Tx},
};
use crate::{
    ledger::{Dedup, Hint, Outcome, ReadyTask, Refusal},
    model::{Action, EventResult, NewTask, Submitted, TaskId, TaskStatus},
};

/// Content up to this many bytes is kept in the task's row.
const INLINE_CONTENT: usize = 1_024;

pub(super) fn submit(
    tx: &mut Tx<'_>,
    tasks: &[NewTask],
    submitter: &str,
    dedup: Option<&Dedup>,
) -> Result<Outcome, ApplyError> {
    if let Some(dedup) = dedup
        && let Some(tasks) = remembered(tx, submitter, dedup)?
    {
        return Ok(Outcome::Submitted {
            tasks,
            replayed: true,
        });
    }
    let accepted = tasks
        .iter()
        .map(|task| insert(tx, task, submitter))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if let Some(dedup) = dedup {
        tx.db
            .prepare_cached(
                "INSERT INTO idempotency (submitter, key, fingerprint, answer, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![submitter, dedup.key, dedup.fingerprint, json!(accepted).to_string(), tx.now.as_millis()])?;
    }
    Ok(Outcome::Submitted {
        tasks: accepted,
        replayed: false,
    })
}

fn remembered(
    tx: &Tx<'_>,
    submitter: &str,
    dedup: &Dedup,
) -> Result<Option<Vec<Submitted>>, ApplyError> {
    let oldest = tx.now.as_millis()
        - i64::try_from(tx.policy.idempotency_retention.as_millis()).unwrap_or(i64::MAX);
    let mut find = tx.db.prepare_cached(
        "SELECT fingerprint, answer, created_at FROM idempotency WHERE submitter = ?1 AND key = ?2",
    )?;
    let found: Option<(Vec<u8>, String, i64)> = find
        .query_row(params![submitter, dedup.key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((_, _, created_at)) if created_at <= oldest => {
            tx.db
                .prepare_cached("DELETE FROM idempotency WHERE submitter = ?1 AND key = ?2")?
                .execute(params![submitter, dedup.key])?;
            Ok(None)
        }
        Some((fingerprint, _, _)) if fingerprint != dedup.fingerprint => {
            Err(Refusal::IdempotencyMismatch.into())
        }
        Some((_, answer, _)) => Ok(Some(rows::from_json(1, &answer)?)),
    }
}

fn insert(tx: &mut Tx<'_>, task: &NewTask, submitter: &str) -> rusqlite::Result<Submitted> {
    let id = TaskId::new();
    let run_at = task.run_at.filter(|at| *at > tx.now).unwrap_or(tx.now);
    let status = if run_at > tx.now {
        TaskStatus::Pending
    } else {
        TaskStatus::Queued
    };
    let inline = task.content.len() <= INLINE_CONTENT;
    tx.db
        .prepare_cached(
            "INSERT INTO tasks (id, type, priority, status, submitter, content, extra, traceparent, created_at, run_at,
                                max_attempts, timeout_seconds)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            id.as_bytes(),
            task.task_type.as_str(),
            task.priority.rank(),
            rows::status_code(status),
            submitter,
            inline.then_some(task.content.as_str()),
            Extra::of(task).map(|extra| json!(extra).to_string()),
            task.traceparent,
            tx.now.as_millis(),
            run_at.as_millis(),
            task.max_attempts.unwrap_or(tx.policy.default_max_attempts),
            i64::try_from(task.timeout_seconds.unwrap_or(tx.policy.default_timeout_seconds)).unwrap_or(i64::MAX),
        ])?;
    let seq = tx.db.last_insert_rowid();
    if !inline {
        tx.db
            .prepare_cached("INSERT INTO contents (seq, content) VALUES (?1, ?2)")?
            .execute(params![seq, task.content])?;
    }
    tx.moved(&task.task_type, task.priority, None, status);
    tx.log(&Entry {
        action: Action::TaskSubmitted,
        actor: submitter,
        target: &id.to_string(),
        result: EventResult::Success,
        details: None,
        trace_id: task.traceparent.as_deref().and_then(rows::trace_id),
    })?;
    tx.hint(match status {
        TaskStatus::Pending => Hint::Due(run_at.as_millis()),
        _ => Hint::Ready(ReadyTask {
            id,
            order: seq,
            task_type: task.task_type.clone(),
            priority: task.priority,
        }),
    });
    Ok(Submitted {
        id,
        status,
        created_at: tx.now,
    })
}

/// Makes due tasks ready.
pub(super) fn promote(tx: &mut Tx<'_>, limit: u32) -> rusqlite::Result<Outcome> {
    let due = {
        let mut find = tx.db.prepare_cached(
            "SELECT seq, id, type, priority FROM tasks INDEXED BY tasks_due
             WHERE status = 0 AND run_at <= ?1 ORDER BY run_at LIMIT ?2",
        )?;
        find.query_map(params![tx.now.as_millis(), limit], rows::ready_task)?
            .collect::<rusqlite::Result<Vec<_>>>()?
    };
    for ready in &due {
        tx.db
            .prepare_cached("UPDATE tasks SET status = 1 WHERE seq = ?1")?
            .execute([ready.order])?;
        tx.moved(
            &ready.task_type,
            ready.priority,
            Some(TaskStatus::Pending),
            TaskStatus::Queued,
        );
        tx.hint(Hint::Ready(ready.clone()));
    }
    Ok(Outcome::Done(due.len() as u64))
}

/// Forgets idempotency keys that are past their time, some at a time.
pub(super) fn prune(tx: &mut Tx<'_>) -> rusqlite::Result<Outcome> {
    let oldest = tx.now.as_millis()
        - i64::try_from(tx.policy.idempotency_retention.as_millis()).unwrap_or(i64::MAX);
    let pruned = tx
        .db
        .prepare_cached(
            "DELETE FROM idempotency WHERE (submitter, key) IN
                 (SELECT submitter, key FROM idempotency INDEXED BY idempotency_age WHERE created_at <= ?1 LIMIT 1000)",
        )?
        .execute([oldest])?;
    Ok(Outcome::Done(pruned as u64))
}
