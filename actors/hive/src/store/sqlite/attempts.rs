//! Attempts begin and end. What becomes of a task is decided by
//! [`after_attempt`]; here it is written down.

use rusqlite::{CachedStatement, OptionalExtension, Row, params};

use super::{
    apply::ApplyError,
    rows,
    transaction::{Entry, Tx},
};
use crate::{
    ledger::{AttemptReport, Claim, ClaimedTask, FinishOutcome, Hint, Outcome, ReadyTask, Refusal},
    model::{
        Action, AttemptEnd, BotName, EventResult, LeaseToken, NextStep, Priority, TaskId,
        TaskStatus, TaskType, Timestamp, after_attempt,
    },
};

pub(super) fn claim(tx: &mut Tx<'_>, claims: &[Claim]) -> rusqlite::Result<Outcome> {
    let mut claimed = Vec::with_capacity(claims.len());
    let mut find = tx.db.prepare_cached(rows::SELECT_TASK_BY_ID)?;
    let mut take = tx.db.prepare_cached(
        "UPDATE tasks SET status = 2, attempt = attempt + 1, bot = ?2, lease = ?3, started_at = ?4, execution_ms = NULL
         WHERE seq = ?1",
    )?;
    for claim in claims {
        let Some((seq, mut task)) = find
            .query_row([claim.task.as_bytes()], rows::task_with_seq)
            .optional()?
        else {
            continue;
        };
        if task.status != TaskStatus::Queued {
            continue;
        }
        take.execute(params![
            seq,
            claim.bot.as_str(),
            claim.lease.as_bytes(),
            tx.now.as_millis()
        ])?;
        if task.content.is_none() {
            task.content = rows::stored_content(tx.db, seq)?;
        }
        task.status = TaskStatus::Running;
        task.attempt += 1;
        task.assigned_bot = Some(claim.bot.clone());
        task.started_at = Some(tx.now);
        tx.moved(
            &task.task_type,
            task.priority,
            Some(TaskStatus::Queued),
            TaskStatus::Running,
        );
        tx.log(&Entry {
            action: Action::TaskStarted,
            actor: claim.bot.as_str(),
            target: &task.id.to_string(),
            result: EventResult::Success,
            details: Some(&format!("{{\"attempt\":{}}}", task.attempt)),
            trace_id: task.traceparent.as_deref().and_then(rows::trace_id),
        })?;
        claimed.push(ClaimedTask {
            task,
            bot: claim.bot.clone(),
            lease: claim.lease,
        });
    }
    Ok(Outcome::Claimed(claimed))
}

/// What must be known of a running task to end its attempt.
struct Running {
    seq: i64,
    id: TaskId,
    task_type: TaskType,
    priority: Priority,
    attempt: u32,
    lease: LeaseToken,
    bot: BotName,
    failures: u32,
    max_attempts: u32,
    bot_deaths: u32,
    cancel_requested: bool,
    started_at: Timestamp,
    traceparent: Option<String>,
    cancelled_by: Option<String>,
}

const SELECT_RUNNING: &str =
    "SELECT seq, id, type, priority, attempt, lease, bot, failures, max_attempts, bot_deaths,
        cancel_requested_at IS NOT NULL, started_at, traceparent,
        CASE WHEN cancel_requested_at IS NOT NULL THEN last_error END FROM tasks";

impl Running {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            id: rows::task_id(row, 1)?,
            task_type: rows::parsed(row, 2)?,
            priority: rows::priority(row, 3)?,
            attempt: row.get(4)?,
            lease: LeaseToken::from_bytes(row.get(5)?),
            bot: rows::parsed(row, 6)?,
            failures: row.get(7)?,
            max_attempts: row.get(8)?,
            bot_deaths: row.get(9)?,
            cancel_requested: row.get(10)?,
            started_at: Timestamp::from_millis(row.get(11)?),
            traceparent: row.get(12)?,
            cancelled_by: row.get(13)?,
        })
    }
}

pub(super) fn finish(tx: &mut Tx<'_>, reports: &[AttemptReport]) -> rusqlite::Result<Outcome> {
    let sql = format!("{SELECT_RUNNING} WHERE id = ?1 AND status = 2");
    let mut find = tx.db.prepare_cached(&sql)?;
    let mut outcomes = Vec::with_capacity(reports.len());
    for report in reports {
        let running = find
            .query_row([report.task.as_bytes()], Running::read)
            .optional()?;
        outcomes.push(match running {
            Some(running) if running.lease == report.lease && running.attempt == report.attempt => {
                FinishOutcome::Recorded(end_attempt(tx, &running, report)?)
            }
            _ => FinishOutcome::Stale,
        });
    }
    Ok(Outcome::Finished(outcomes))
}

pub(super) fn give_back(
    tx: &mut Tx<'_>,
    bots: &[BotName],
    end: AttemptEnd,
    reason: &str,
) -> rusqlite::Result<Outcome> {
    let sql = format!("{SELECT_RUNNING} INDEXED BY tasks_running WHERE status = 2 AND bot = ?1");
    let mut find = tx.db.prepare_cached(&sql)?;
    let mut count = 0;
    for bot in bots {
        for running in running_of(&mut find, bot)? {
            let report = AttemptReport {
                task: running.id,
                attempt: running.attempt,
                lease: running.lease,
                end,
                output: None,
                error: Some(reason.to_owned()),
                exit_code: None,
                execution_time_ms: tx.now.millis_since(running.started_at),
                tokens_used: None,
                cost_cents: None,
            };
            end_attempt(tx, &running, &report)?;
            count += 1;
        }
    }
    Ok(Outcome::Done(count))
}

fn running_of(find: &mut CachedStatement<'_>, bot: &BotName) -> rusqlite::Result<Vec<Running>> {
    find.query_map([bot.as_str()], Running::read)?.collect()
}

/// Ends one attempt: the task's new status, its result when it is final, and
/// the event that tells of it.
fn end_attempt(
    tx: &mut Tx<'_>,
    running: &Running,
    report: &AttemptReport,
) -> rusqlite::Result<TaskStatus> {
    let failures = running.failures + u32::from(report.end == AttemptEnd::Failed);
    let bot_deaths = running.bot_deaths + u32::from(report.end == AttemptEnd::BotDied);
    let step = after_attempt(
        report.end,
        running.cancel_requested,
        (failures, running.max_attempts),
        (bot_deaths, tx.policy.poison_after),
        tx.policy.retry.delay(failures, spread(&running.lease)),
    );
    let (status, action) = match step {
        NextStep::Complete => (TaskStatus::Completed, Some(Action::TaskCompleted)),
        NextStep::Fail => (TaskStatus::Failed, Some(Action::TaskFailed)),
        NextStep::GiveUpAsPoison => (TaskStatus::Failed, Some(Action::TaskDead)),
        NextStep::Cancel => (TaskStatus::Cancelled, Some(Action::TaskCancelled)),
        NextStep::RetryAfter(_) => (TaskStatus::Pending, Some(Action::TaskRetrying)),
        NextStep::Requeue => (TaskStatus::Queued, Some(Action::TaskRetrying)),
    };
    let run_at = match step {
        NextStep::RetryAfter(delay) => tx
            .now
            .plus_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        _ => tx.now,
    };
    let cancelled;
    let report = if step == NextStep::Cancel {
        let error = running.cancelled_by.clone();
        cancelled = AttemptReport {
            error: error.or_else(|| report.error.clone()),
            ..report.clone()
        };
        &cancelled
    } else {
        report
    };
    write_status(tx, running, report, (status, run_at, failures, bot_deaths))?;
    if status.is_final() {
        write_result(tx, running.seq, report, step == NextStep::Complete)?;
    }
    if matches!(
        report.end,
        AttemptEnd::Succeeded | AttemptEnd::Failed | AttemptEnd::BotDied
    ) {
        tx.count_attempt(&running.bot, report.end == AttemptEnd::Succeeded);
    }
    tx.moved(
        &running.task_type,
        running.priority,
        Some(TaskStatus::Running),
        status,
    );
    if let Some(action) = action {
        log_end(tx, running, report, action, run_at)?;
    }
    tx.hint(match status {
        TaskStatus::Pending => Hint::Due(run_at.as_millis()),
        TaskStatus::Queued => Hint::Ready(ReadyTask {
            id: running.id,
            order: running.seq,
            task_type: running.task_type.clone(),
            priority: running.priority,
        }),
        _ => Hint::Finished(running.id),
    });
    Ok(status)
}

fn write_status(
    tx: &Tx<'_>,
    running: &Running,
    report: &AttemptReport,
    (status, run_at, failures, bot_deaths): (TaskStatus, Timestamp, u32, u32),
) -> rusqlite::Result<()> {
    let execution_ms = i64::try_from(report.execution_time_ms).unwrap_or(i64::MAX);
    if status == TaskStatus::Completed {
        tx.db
            .prepare_cached(
                "UPDATE tasks SET status = 3, completed_at = ?2, execution_ms = ?3, lease = NULL,
                                  last_error = NULL WHERE seq = ?1",
            )?
            .execute(params![running.seq, tx.now.as_millis(), execution_ms])?;
        return Ok(());
    }
    tx.db
        .prepare_cached(
            "UPDATE tasks SET status = ?2, completed_at = ?3, execution_ms = ?4, lease = NULL, run_at = ?5,
                              failures = ?6, bot_deaths = ?7, last_error = ?8 WHERE seq = ?1",
        )?
        .execute(params![
            running.seq,
            rows::status_code(status),
            status.is_final().then_some(tx.now.as_millis()),
            execution_ms,
            run_at.as_millis(),
            failures,
            bot_deaths,
            report.error,
        ])?;
    Ok(())
}

fn write_result(
    tx: &Tx<'_>,
    seq: i64,
    report: &AttemptReport,
    success: bool,
) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT OR REPLACE INTO results (seq, success, output, error, tokens_used, cost_cents, exit_code)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            seq,
            success,
            report.output,
            report.error,
            report.tokens_used.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            report.cost_cents.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            report.exit_code,
        ])?;
    Ok(())
}

fn log_end(
    tx: &mut Tx<'_>,
    running: &Running,
    report: &AttemptReport,
    action: Action,
    run_at: Timestamp,
) -> rusqlite::Result<()> {
    let details = match action {
        Action::TaskCompleted => {
            format!(
                "{{\"attempt\":{},\"execution_time_ms\":{}}}",
                running.attempt, report.execution_time_ms
            )
        }
        Action::TaskRetrying => serde_json::json!({
            "attempt": running.attempt, "error": report.error, "retry_at": run_at,
        })
        .to_string(),
        _ => serde_json::json!({
            "attempt": running.attempt, "error": report.error, "exit_code": report.exit_code,
        })
        .to_string(),
    };
    tx.log(&Entry {
        action,
        actor: running.bot.as_str(),
        target: &running.id.to_string(),
        result: if action == Action::TaskCompleted {
            EventResult::Success
        } else {
            EventResult::Failure
        },
        details: Some(&details),
        trace_id: running.traceparent.as_deref().and_then(rows::trace_id),
    })
}

/// A number in 0..1 from the random part of a lease: good enough to spread retries.
fn spread(lease: &LeaseToken) -> f64 {
    let bytes = lease.as_bytes();
    f64::from(u32::from_be_bytes([
        bytes[12], bytes[13], bytes[14], bytes[15],
    ])) / f64::from(u32::MAX)
}

pub(super) fn cancel(tx: &mut Tx<'_>, id: TaskId, actor: &str) -> Result<Outcome, ApplyError> {
    let mut find = tx.db.prepare_cached(rows::SELECT_TASK_BY_ID)?;
    let (seq, mut task) = find
        .query_row([id.as_bytes()], rows::task_with_seq)
        .optional()?
        .ok_or(Refusal::NoSuchTask(id))?;
    if task.status.is_final() {
        return Err(Refusal::TaskIsFinal {
            task: id,
            status: task.status,
        }
        .into());
    }
    let reason = format!("cancelled by {actor}");
    let again = task.cancel_requested_at.is_some();
    task.cancel_requested_at.get_or_insert(tx.now);
    if task.status == TaskStatus::Running {
        if !again {
            tx.db
                .prepare_cached(
                    "UPDATE tasks SET cancel_requested_at = ?2, last_error = ?3 WHERE seq = ?1",
                )?
                .execute(params![seq, tx.now.as_millis(), reason])?;
        }
        if let Some(bot) = task.assigned_bot.clone() {
            tx.hint(Hint::CancelRequested { task: id, bot });
        }
    } else {
        tx.db
            .prepare_cached(
                "UPDATE tasks SET status = 5, completed_at = ?2, cancel_requested_at = ?2, last_error = ?3 WHERE seq = ?1",
            )?
            .execute(params![seq, tx.now.as_millis(), reason])?;
        tx.db
            .prepare_cached("INSERT INTO results (seq, success, error) VALUES (?1, 0, ?2)")?
            .execute(params![seq, reason])?;
        tx.moved(
            &task.task_type,
            task.priority,
            Some(task.status),
            TaskStatus::Cancelled,
        );
        task.status = TaskStatus::Cancelled;
        task.completed_at = Some(tx.now);
        task.last_error = Some(reason);
        tx.hint(Hint::Finished(id));
        tx.log(&Entry {
            action: Action::TaskCancelled,
            actor,
            target: &id.to_string(),
            result: EventResult::Success,
            details: None,
            trace_id: task.traceparent.as_deref().and_then(rows::trace_id),
        })?;
    }
    Ok(Outcome::Task(Box::new(task)))
}
