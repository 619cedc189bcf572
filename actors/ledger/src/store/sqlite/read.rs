//! Reads of single entities and of totals.

use deia_model::{
    BotName, FailedAttempt, LeaseToken, Priority, QueueHistory, QueueLane, QueueStatus, Rates,
    StatusCounts, Task, TaskId, TaskResult, TaskStatus, TaskType, Timestamp, Visibility, Waits,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{edges, pauses, rows, sessions, unreadable::lenient};
use crate::{
    Cancelling, Demand, HeldAttempt, HeldLease, QueuePosition, ReadyLane, ReadyQuery, ReadyTask,
    TaskCompletion,
};

pub(super) fn task(db: &Connection, id: TaskId) -> rusqlite::Result<Option<Task>> {
    let found = db
        .prepare_cached(rows::SELECT_TASK_BY_ID)?
        .query_row([id.as_bytes()], rows::stored_task)
        .optional()?;
    let Some(rows::Stored { seq, mut task, .. }) = found else {
        return Ok(None);
    };
    if task.content.is_none() {
        task.content = rows::stored_content(db, seq)?;
    }
    if task.attempt > 0 {
        task.failed_attempts = failed_attempts(db, seq)?;
    }
    Ok(Some(task))
}

/// Returns whether a caller with that visibility sees the task. A missing task and an
/// invisible one take the same read.
pub(super) fn is_visible(
    db: &Connection,
    id: TaskId,
    visibility: &Visibility,
) -> rusqlite::Result<bool> {
    let (sql, whose) = match visibility {
        Visibility::All => return Ok(true),
        Visibility::Nothing => return Ok(false),
        Visibility::SubmittedBy(user) => (
            "SELECT 1 FROM tasks WHERE id = ?1 AND submitter = ?2",
            &**user,
        ),
        Visibility::AssignedTo(bot) => (
            "SELECT 1 FROM tasks WHERE id = ?1 AND bot = ?2",
            bot.as_str(),
        ),
    };
    db.prepare_cached(sql)?
        .exists(params![id.as_bytes(), whose])
}

fn failed_attempts(db: &Connection, seq: i64) -> rusqlite::Result<Vec<FailedAttempt>> {
    db.prepare_cached(
        "SELECT attempt, bot, outcome, error, exit_code, started_at, ended_at, failure_class
         FROM failed_attempts WHERE seq = ?1 ORDER BY attempt",
    )?
    .query_map([seq], |row| {
        Ok(FailedAttempt {
            attempt: row.get(0)?,
            bot: row.get(1)?,
            outcome: rows::parsed(row, 2)?,
            error: row.get(3)?,
            exit_code: row.get(4)?,
            output_bytes: None,
            started_at: rows::time(row, 5)?,
            ended_at: rows::time(row, 6)?,
            failure_class: rows::failure_class(row, 7)?,
        })
    })?
    .collect()
}

/// Returns the tasks that a task waits for, as far as they are visible to the caller:
/// the role may have been restricted since the task was submitted.
fn visible_blockers(
    db: &Connection,
    child: i64,
    visibility: &Visibility,
) -> rusqlite::Result<Vec<(TaskId, TaskStatus)>> {
    let mut seen = Vec::new();
    for (id, status) in edges::blockers(db, child)? {
        if is_visible(db, id, visibility)? {
            seen.push((id, status));
        }
    }
    Ok(seen)
}

/// Returns the position of a waiting task in its queue.
pub(super) fn queue_position(
    db: &Connection,
    id: TaskId,
    visibility: &Visibility,
) -> rusqlite::Result<QueuePosition> {
    let found = db
        .prepare_cached(
            "SELECT seq, id, type, priority, run_at, bot, status, pinned FROM tasks WHERE id = ?1",
        )?
        .query_row([id.as_bytes()], |row| {
            let mut task = rows::ready_task(row)?;
            task.demand.bot = rows::optional_parsed(row, 7)?;
            Ok((task, rows::status(row, 6)?))
        })
        .optional()?;
    let Some((task, status)) = found else {
        return Ok(QueuePosition::default());
    };
    let ahead = match (visibility, status) {
        (Visibility::All, TaskStatus::Queued) if task.demand.bot.is_some() => {
            sessions::ahead(db, &task)?
        }
        (Visibility::All, TaskStatus::Queued) => db
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_ready
                 WHERE status = 1 AND pinned IS NULL AND type = ?1 AND priority = ?2 AND seq < ?3 LIMIT 10000)",
            )?
            .query_row(
                params![
                    task.demand.task_type.as_str(),
                    task.priority.rank(),
                    task.order
                ],
                |row| row.get::<_, i64>(0),
            )?
            .unsigned_abs(),
        _ => 0,
    };
    Ok(QueuePosition {
        ahead: (*visibility == Visibility::All).then_some(ahead),
        waits_for: visible_blockers(db, task.order, visibility)?,
    })
}

pub(super) fn result(db: &Connection, id: TaskId) -> rusqlite::Result<Option<TaskResult>> {
    db.prepare_cached(
        "SELECT t.bot, r.success, r.output, r.error, t.execution_ms, t.started_at, t.completed_at, t.attempt,
                r.tokens_used, r.cost_cents, r.exit_code, r.output_bytes, t.erased_at, r.failure_class
         FROM tasks t JOIN results r USING (seq) WHERE t.id = ?1 AND t.status >= 3",
    )?
    .query_row([id.as_bytes()], |row| {
        let bot: Option<String> = row.get(0)?;
        let result = TaskResult {
            task_id: id,
            bot_id: bot.map(|name| name.parse().map_err(|error| rows::broken(0, error))).transpose()?,
            success: row.get(1)?,
            output: row.get(2)?,
            output_bytes: None,
            output_truncated: false,
            output_url: None,
            error: row.get(3)?,
            execution_time_ms: row.get::<_, Option<i64>>(4)?.unwrap_or(0).unsigned_abs(),
            started_at: rows::optional_time(row, 5)?,
            completed_at: rows::time(row, 6)?,
            attempt: row.get(7)?,
            tokens_used: row.get::<_, Option<i64>>(8)?.map(i64::unsigned_abs),
            cost_cents: row.get::<_, Option<i64>>(9)?.map(i64::unsigned_abs),
            erased_at: rows::optional_time(row, 12)?,
            exit_code: row.get(10)?,
            failure_class: rows::failure_class(row, 13)?,
        };
        let output_bytes = row.get::<_, Option<i64>>(11)?.map(i64::unsigned_abs);
        Ok(result.with_output_bytes(output_bytes))
    })
    .optional()
}

/// Returns the status of a task, and its result if it has ended.
pub(super) fn outcome(db: &Connection, id: TaskId) -> rusqlite::Result<Option<TaskCompletion>> {
    let found = db
        .prepare_cached("SELECT status FROM tasks WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| rows::status(row, 0))
        .optional()?;
    let Some(status) = found else {
        return Ok(None);
    };
    let result = match status.is_final() {
        true => result(db, id)?,
        false => None,
    };
    Ok(Some(TaskCompletion { status, result }))
}

pub(super) fn bots_with_running_tasks(
    db: &Connection,
    node: u32,
) -> rusqlite::Result<Vec<BotName>> {
    db.prepare_cached(
        "SELECT DISTINCT bot FROM tasks INDEXED BY tasks_running
         WHERE status = 2 AND bot IS NOT NULL AND lease_node = ?1 AND lease_expires_at IS NULL",
    )?
    .query_map([node], |row| {
        lenient("tasks", row, |row| rows::parsed(row, 0))
    })?
    .filter_map(Result::transpose)
    .collect()
}

pub(super) fn bots_with_attempts(db: &Connection, node: u32) -> rusqlite::Result<Vec<BotName>> {
    db.prepare_cached(
        "SELECT DISTINCT bot FROM tasks INDEXED BY tasks_running
         WHERE status = 2 AND bot IS NOT NULL AND lease_node = ?1",
    )?
    .query_map([node], |row| {
        lenient("tasks", row, |row| rows::parsed(row, 0))
    })?
    .filter_map(Result::transpose)
    .collect()
}

pub(super) fn held_attempts(db: &Connection, bot: &BotName) -> rusqlite::Result<Vec<HeldAttempt>> {
    db.prepare_cached(
        "SELECT id, attempt, lease, started_at, lease_expires_at, timeout_seconds,
                cancel_requested_at IS NOT NULL, last_error
         FROM tasks INDEXED BY tasks_running
         WHERE status = 2 AND bot = ?1 AND lease_expires_at IS NOT NULL ORDER BY seq",
    )?
    .query_map([bot.as_str()], |row| {
        lenient("tasks", row, |row| {
            let is_cancelled: bool = row.get(6)?;
            let words: Option<String> = row.get(7)?;
            Ok(HeldAttempt {
                lease: HeldLease {
                    task: rows::task_id(row, 0)?,
                    attempt: row.get(1)?,
                    lease: LeaseToken::from_bytes(row.get(2)?),
                },
                started_at: rows::time(row, 3)?,
                expires_at: rows::time(row, 4)?,
                timeout_seconds: row.get::<_, i64>(5)?.unsigned_abs(),
                cancelled: is_cancelled.then(|| words.unwrap_or_else(|| "cancelled".into())),
            })
        })
    })?
    .filter_map(Result::transpose)
    .collect()
}

pub(super) fn cancelling(db: &Connection) -> rusqlite::Result<Vec<Cancelling>> {
    db.prepare_cached(
        "SELECT id, attempt, bot, last_error FROM tasks INDEXED BY tasks_running
         WHERE status = 2 AND bot IS NOT NULL AND cancel_requested_at IS NOT NULL",
    )?
    .query_map([], |row| {
        lenient("tasks", row, |row| {
            Ok(Cancelling {
                task: rows::task_id(row, 0)?,
                attempt: row.get(1)?,
                bot: rows::parsed(row, 2)?,
                words: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            })
        })
    })?
    .filter_map(Result::transpose)
    .collect()
}

pub(super) fn ready_lanes(db: &Connection) -> rusqlite::Result<Vec<ReadyLane>> {
    let mut lanes: Vec<ReadyLane> = db
        .prepare_cached("SELECT type, priority, n FROM task_counts WHERE status = 1 AND n > 0")?
        .query_map([], |row| {
            lenient("task_counts", row, |row| {
                Ok(ReadyLane {
                    demand: Demand::of_type(rows::parsed(row, 0)?),
                    priority: rows::priority(row, 1)?,
                    tasks: row.get::<_, i64>(2)?.unsigned_abs(),
                })
            })
        })?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()?;
    let mut pinned = Vec::new();
    for lane in &mut lanes {
        let of_sessions = sessions::ready_lanes(db, lane)?;
        let tasks: u64 = of_sessions.iter().map(|it| it.tasks).sum();
        lane.tasks = lane.tasks.saturating_sub(tasks);
        pinned.extend(of_sessions);
    }
    lanes.retain(|lane| lane.tasks > 0);
    lanes.extend(pinned);
    Ok(lanes)
}

pub(super) fn ready(db: &Connection, query: &ReadyQuery) -> rusqlite::Result<Vec<ReadyTask>> {
    if let Some(bot) = &query.demand.bot {
        return sessions::ready(db, query, bot);
    }
    db.prepare_cached(
        "SELECT seq, id, type, priority, run_at, bot FROM tasks INDEXED BY tasks_ready
         WHERE status = 1 AND pinned IS NULL AND type = ?1 AND priority = ?2 AND seq > ?3
         AND seq NOT IN (SELECT seq FROM unreadable) ORDER BY seq LIMIT ?4",
    )?
    .query_map(
        params![
            query.demand.task_type.as_str(),
            query.priority.rank(),
            query.after,
            query.limit
        ],
        |row| lenient("tasks", row, rows::ready_task),
    )?
    .filter_map(Result::transpose)
    .collect()
}

pub(super) fn next_due(db: &Connection) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(
        "SELECT min(at) FROM (
             SELECT min(run_at) AS at FROM tasks INDEXED BY tasks_due WHERE status = 0 AND blocked_by = 0
                 AND seq NOT IN (SELECT seq FROM unreadable)
             UNION ALL SELECT min(expires_at) FROM tasks INDEXED BY tasks_expiry
                 WHERE expires_at IS NOT NULL AND status <= 1 AND attempt = 0
                 AND seq NOT IN (SELECT seq FROM unreadable)
             UNION ALL SELECT min(lease_expires_at) FROM tasks INDEXED BY tasks_lease_expiry
                 WHERE lease_expires_at IS NOT NULL
                 AND seq NOT IN (SELECT seq FROM unreadable)
             UNION ALL SELECT 0 WHERE EXISTS
                 (SELECT 1 FROM dependency_outbox WHERE parent NOT IN (SELECT seq FROM unreadable)))",
    )?
    .query_row([], |row| row.get(0))
}

pub(super) fn counts(db: &Connection) -> rusqlite::Result<StatusCounts> {
    let mut counts = StatusCounts::default();
    let mut all = db.prepare_cached("SELECT status, sum(n) FROM task_counts GROUP BY status")?;
    let mut found = all.query([])?;
    while let Some(row) = found.next()? {
        if let Some(status) = lenient("task_counts", row, |row| rows::status(row, 0))? {
            *counts.slot(status) = row.get::<_, i64>(1)?.max(0).unsigned_abs();
        }
    }
    Ok(counts)
}

pub(super) fn queue(db: &Connection) -> rusqlite::Result<QueueStatus> {
    let paused = pauses::pauses(db)?;
    let mut lanes: Vec<QueueLane> = Vec::new();
    let mut all = db.prepare_cached(
        "SELECT type, priority, status, n FROM task_counts WHERE status <= 2 AND n > 0 ORDER BY 1, 2, 3",
    )?;
    let mut found = all.query([])?;
    while let Some(row) = found.next()? {
        let lane = lenient("task_counts", row, |row| {
            Ok((rows::parsed::<TaskType>(row, 0)?, rows::priority(row, 1)?))
        })?;
        let Some((task_type, priority)) = lane else {
            continue;
        };
        let same = |lane: &QueueLane| lane.task_type == task_type && lane.priority == priority;
        if !lanes.last().is_some_and(same) {
            lanes.push(QueueLane {
                pending: 0,
                queued: 0,
                running: 0,
                oldest_queued_ms: oldest_queued_ms(db, &task_type, priority)?,
                paused: paused.iter().any(|pause| pause.holds(&task_type)),
                rates: Rates::default(),
                waits: Waits::default(),
                task_type,
                priority,
            });
        }
        let count = row.get::<_, i64>(3)?.unsigned_abs();
        if let Some(lane) = lanes.last_mut() {
            match rows::status(row, 2)? {
                TaskStatus::Pending => lane.pending = count,
                TaskStatus::Queued => lane.queued = count,
                _ => lane.running = count,
            }
        }
    }
    let running_by_bot = db
        .prepare_cached(
            "SELECT bot, count(*) FROM tasks INDEXED BY tasks_running WHERE status = 2 AND bot IS NOT NULL GROUP BY bot",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(QueueStatus {
        totals: counts(db)?,
        paused,
        oldest_queued_ms: lanes.iter().filter_map(|lane| lane.oldest_queued_ms).max(),
        rates: Rates::default(),
        waits: Waits::default(),
        lanes,
        running_by_bot,
        history: QueueHistory::default(),
    })
}

/// Returns the longest time for which one of the first in line has been ready: a task
/// that was requeued precedes others that have waited longer. The wait of a task that
/// was given back without a counted attempt continues.
fn oldest_queued_ms(
    db: &Connection,
    task_type: &TaskType,
    priority: Priority,
) -> rusqlite::Result<Option<u64>> {
    let ready_at: Option<i64> = db
        .prepare_cached(
            "SELECT min(coalesce(ready_since, run_at)) FROM
                 (SELECT ready_since, run_at FROM tasks INDEXED BY tasks_ready WHERE status = 1 AND pinned IS NULL AND type = ?1 AND priority = ?2
                  ORDER BY seq LIMIT 64)",
        )?
        .query_row(params![task_type.as_str(), priority.rank()], |row| row.get(0))?;
    Ok(ready_at.map(|at| Timestamp::now().millis_since(Timestamp::from_millis(at))))
}

pub(super) fn failures_24h(db: &Connection) -> rusqlite::Result<u64> {
    let since = Timestamp::now().as_millis() - 86_400_000;
    db.prepare_cached("SELECT count(*) FROM tasks INDEXED BY tasks_failed WHERE status = 4 AND completed_at >= ?1")?
        .query_row([since], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

pub(super) fn last_event_seq(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?
        .query_row([], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}
