//! Attempts end. What becomes of a task is decided by [`after_attempt`]; here
//! it is written down.

use std::time::Duration;

use rusqlite::{Row, params};

use super::{
    rows,
    shares::Counted,
    transaction::{Entry, Tx},
    waiting,
};
use crate::{
    ledger::{AttemptReport, FinishOutcome, Hint, Outcome, ProgressReport, ReadyTask},
    model::{
        Action, AttemptEnd, AttemptOutcomeKind, BotName, EndReason, EventResult, LeaseToken,
        NextStep, Priority, TaskId, TaskStatus, TaskType, Timestamp, Toll, TollLimits,
        after_attempt,
    },
};

/// What must be known of a running task to end its attempt.
struct Running {
    seq: i64,
    id: TaskId,
    task_type: TaskType,
    priority: Priority,
    attempt: u32,
    lease: LeaseToken,
    bot: BotName,
    toll: Toll,
    max_attempts: u32,
    cancel_requested: bool,
    started_at: Timestamp,
    traceparent: Option<String>,
    cancelled_by: Option<String>,
    dependents: u32,
    last_event: Option<i64>,
    submitter: String,
    bytes: i64,
}

const SELECT_RUNNING: &str =
    "SELECT seq, id, type, priority, attempt, lease, bot, failures, max_attempts, bot_deaths,
        cancel_requested_at IS NOT NULL, started_at, traceparent,
        CASE WHEN cancel_requested_at IS NOT NULL THEN last_error END, dependents, last_event, suspicions, hive_deaths,
        submitter, bytes FROM tasks";

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
            toll: Toll {
                failures: row.get(7)?,
                bot_deaths: row.get(9)?,
                suspicions: row.get(16)?,
                hive_deaths: row.get(17)?,
            },
            max_attempts: row.get(8)?,
            cancel_requested: row.get(10)?,
            started_at: Timestamp::from_millis(row.get(11)?),
            traceparent: row.get(12)?,
            cancelled_by: row.get(13)?,
            dependents: row.get(14)?,
            last_event: row.get(15)?,
            submitter: row.get(18)?,
            bytes: row.get(19)?,
        })
    }

    fn counted(&self) -> Counted<'_> {
        Counted {
            task_type: &self.task_type,
            priority: self.priority,
            submitter: &self.submitter,
            bytes: self.bytes,
        }
    }
}

/// Failed attempts that are kept of a task.
const EVIDENCE_MAX: i64 = 100;

pub(super) fn finish(tx: &mut Tx<'_>, reports: &[AttemptReport]) -> rusqlite::Result<Outcome> {
    let sql = format!("{SELECT_RUNNING} WHERE id = ?1 AND status = 2");
    let mut find = tx.db.prepare_cached(&sql)?;
    let mut outcomes = Vec::with_capacity(reports.len());
    for report in reports {
        let found = find.query_row([report.task.as_bytes()], Running::read);
        let running = tx.found_or_aside(report.task, found)?;
        outcomes.push(match running {
            Some(running) if running.lease == report.lease && running.attempt == report.attempt => {
                FinishOutcome::Recorded(end_attempt(tx, &running, report)?)
            }
            _ => FinishOutcome::Stale,
        });
    }
    Ok(Outcome::Finished(outcomes))
}

/// Tasks to take from bots, with the reason.
pub(super) struct Taken<'a> {
    pub(super) bots: &'a [BotName],
    pub(super) started_before: Option<Timestamp>,
    pub(super) end: AttemptEnd,
    pub(super) reason: &'a str,
}

pub(super) fn give_back(tx: &mut Tx<'_>, taken: &Taken<'_>) -> rusqlite::Result<Outcome> {
    let sql = format!("{SELECT_RUNNING} INDEXED BY tasks_running WHERE status = 2 AND bot = ?1");
    let mut count = 0;
    let is_newer = |running: &Running| {
        let started_before = taken.started_before;
        started_before.is_some_and(|before| running.started_at >= before)
    };
    for bot in taken.bots {
        for running in tx.read_tasks(&sql, [bot.as_str()], Running::read)? {
            if is_newer(&running) {
                continue;
            }
            let report = AttemptReport {
                task: running.id,
                attempt: running.attempt,
                lease: running.lease,
                end: taken.end,
                output: None,
                output_bytes: None,
                error: Some(taken.reason.to_owned()),
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

/// Ends one attempt: the task's new status, its result when it is final, and
/// the event that tells of it.
fn end_attempt(
    tx: &mut Tx<'_>,
    running: &Running,
    report: &AttemptReport,
) -> rusqlite::Result<TaskStatus> {
    let judged;
    let report = match report.end.judged(running.cancel_requested) {
        end if end == report.end => report,
        end => {
            judged = AttemptReport {
                end,
                ..report.clone()
            };
            &judged
        }
    };
    let toll = running.toll.after(report.end);
    let limits = TollLimits {
        failures: running.max_attempts,
        bot_deaths: tx.policy.poison_after,
        hive_deaths: tx.policy.poison_after_hive_deaths,
    };
    let delay = delay_before_next(tx, running, report.end, toll)?;
    let step = after_attempt(report.end, running.cancel_requested, toll, limits, delay);
    let (status, action, reason) = match step {
        NextStep::Complete => (TaskStatus::Completed, Action::TaskCompleted, None),
        NextStep::Fail => (
            TaskStatus::Failed,
            Action::TaskFailed,
            Some(EndReason::Attempts),
        ),
        NextStep::GiveUpAsPoison => (
            TaskStatus::Failed,
            Action::TaskDead,
            Some(EndReason::Poison),
        ),
        NextStep::Cancel => (
            TaskStatus::Cancelled,
            Action::TaskCancelled,
            Some(EndReason::Cancelled),
        ),
        NextStep::RetryAfter(_) => (TaskStatus::Pending, Action::TaskRetrying, None),
        NextStep::Requeue => (TaskStatus::Queued, Action::TaskRetrying, None),
    };
    let run_at = match step {
        NextStep::RetryAfter(delay) => tx
            .now
            .plus_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        _ => tx.now,
    };
    if step != NextStep::Complete {
        note_failed_attempt(tx, running, report)?;
    }
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
    let change = StatusChange {
        status,
        reason,
        run_at,
        toll,
    };
    write_status(tx, running, report, change)?;
    if status.is_final() {
        write_result(tx, running.seq, report, step == NextStep::Complete)?;
        waiting::settle_later(tx, running.seq, running.dependents)?;
    }
    if matches!(
        report.end,
        AttemptEnd::Succeeded | AttemptEnd::Failed | AttemptEnd::BotDied
    ) {
        tx.count_attempt(&running.bot, report.end == AttemptEnd::Succeeded);
    }
    tx.count_task(running.counted(), Some(TaskStatus::Running), Some(status))?;
    let lane = tx.lane(&running.task_type, running.priority);
    lane.flow
        .attempt_ended(report.end, status, report.execution_time_ms);
    lane.flow.dead += u32::from(step == NextStep::GiveUpAsPoison);
    log_end(tx, running, report, action, run_at)?;
    tx.hint(match status {
        TaskStatus::Pending => Hint::Due(run_at.as_millis()),
        TaskStatus::Queued => Hint::Ready(ReadyTask {
            id: running.id,
            order: running.seq,
            task_type: running.task_type.clone(),
            priority: running.priority,
            ready_at: run_at.as_millis(),
        }),
        _ => Hint::Finished(running.id),
    });
    Ok(status)
}

/// Returns the wait before the next attempt, should there be one.
fn delay_before_next(
    tx: &Tx<'_>,
    running: &Running,
    end: AttemptEnd,
    toll: Toll,
) -> rusqlite::Result<Duration> {
    match end {
        AttemptEnd::Failed => {}
        // The bot holds back for longer than this, so another one comes first.
        AttemptEnd::BotFault => return Ok(tx.policy.bot_fault_delay),
        _ => return Ok(Duration::ZERO),
    }
    let extra: Option<String> = tx
        .db
        .prepare_cached("SELECT extra FROM tasks WHERE seq = ?1")?
        .query_row([running.seq], |row| row.get(0))?;
    // One that cannot be read must not keep the end from being recorded.
    let extra: Option<rows::Extra> = extra.and_then(|text| rows::from_json(0, &text).ok());
    let of_task = extra.and_then(|extra| extra.retry);
    let policy = tx.policy.retry_of(&running.task_type, of_task.as_ref());
    Ok(policy.delay(toll.failures, running.lease.spread()))
}

/// Keeps the evidence of an attempt that came to nothing.
fn note_failed_attempt(
    tx: &Tx<'_>,
    running: &Running,
    report: &AttemptReport,
) -> rusqlite::Result<()> {
    let Some(outcome) = AttemptOutcomeKind::of(report.end) else {
        return Ok(());
    };
    tx.db
        .prepare_cached(
            "INSERT OR REPLACE INTO failed_attempts (seq, attempt, bot, outcome, error, exit_code, started_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            running.seq,
            running.attempt,
            running.bot.as_str(),
            outcome.as_str(),
            report.error,
            report.exit_code,
            running.started_at.as_millis(),
            tx.now.as_millis(),
        ])?;
    // A task may be given back without end; its evidence may not grow so.
    tx.db
        .prepare_cached("DELETE FROM failed_attempts WHERE seq = ?1 AND attempt <= ?2")?
        .execute(params![
            running.seq,
            i64::from(running.attempt) - EVIDENCE_MAX
        ])?;
    Ok(())
}

/// New state of a task whose attempt ended.
struct StatusChange {
    status: TaskStatus,
    reason: Option<EndReason>,
    run_at: Timestamp,
    toll: Toll,
}

fn write_status(
    tx: &Tx<'_>,
    running: &Running,
    report: &AttemptReport,
    change: StatusChange,
) -> rusqlite::Result<()> {
    let StatusChange {
        status,
        reason,
        run_at,
        toll,
    } = change;
    let execution_ms = i64::try_from(report.execution_time_ms).unwrap_or(i64::MAX);
    if status == TaskStatus::Completed {
        tx.db
            .prepare_cached(
                "UPDATE tasks SET status = 3, completed_at = ?2, execution_ms = ?3, lease = NULL,
                                  last_error = NULL, last_event = ?4 WHERE seq = ?1",
            )?
            .execute(params![
                running.seq,
                tx.now.as_millis(),
                execution_ms,
                tx.next_event()
            ])?;
        return Ok(());
    }
    tx.db
        .prepare_cached(
            "UPDATE tasks SET status = ?2, completed_at = ?3, execution_ms = ?4, lease = NULL, run_at = ?5,
                              failures = ?6, bot_deaths = ?7, last_error = ?8, end_reason = ?9, last_event = ?10,
                              suspicions = ?11, hive_deaths = ?12 WHERE seq = ?1",
        )?
        .execute(params![
            running.seq,
            rows::status_code(status),
            status.is_final().then_some(tx.now.as_millis()),
            execution_ms,
            run_at.as_millis(),
            toll.failures,
            toll.bot_deaths,
            report.error,
            reason.map(EndReason::as_str),
            tx.next_event(),
            toll.suspicions,
            toll.hive_deaths,
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
            "INSERT OR REPLACE INTO results (seq, success, output, error, tokens_used, cost_cents, exit_code, output_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            seq,
            success,
            report.output,
            report.error,
            report.tokens_used.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            report.cost_cents.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            report.exit_code,
            report.output_bytes.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
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
    tx.log_after(
        running.last_event,
        &Entry {
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
        },
    )
}

/// Notes how far attempts are. What is stale is left out.
pub(super) fn progress(tx: &Tx<'_>, reports: &[ProgressReport]) -> rusqlite::Result<Outcome> {
    let mut note = tx.db.prepare_cached(
        "UPDATE tasks SET progress = ?4 WHERE id = ?1 AND status = 2 AND attempt = ?2 AND lease = ?3",
    )?;
    let mut noted = 0;
    for report in reports {
        noted += note.execute(params![
            report.task.as_bytes(),
            report.attempt,
            report.lease.as_bytes(),
            report.progress.clamp(0.0, 1.0),
        ])? as u64;
    }
    Ok(Outcome::Done(noted))
}
