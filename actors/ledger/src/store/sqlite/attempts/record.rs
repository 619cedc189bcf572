//! The record of an attempt that ended: the task's new status, its result, the
//! evidence of a failure, and the event.

use deia_model::{
    Action, AttemptOutcomeKind, EndReason, EventResult, FailureClass, TaskStatus, Timestamp, Toll,
};
use rusqlite::params;

use super::running::Running;
use crate::{
    AttemptReport,
    store::sqlite::{
        entry::{OfTask, TaskEntry, Timing},
        rows,
        transaction::Tx,
    },
};

/// Maximum number of failed attempts that are stored with a task. Fixed: more than
/// tasks.max_attempts commonly allows; the events have them all.
const EVIDENCE_MAX: i64 = 100;

/// Stores the evidence of an attempt that did not succeed.
pub(super) fn note_failed_attempt(
    tx: &Tx<'_>,
    running: &Running,
    report: &AttemptReport,
) -> rusqlite::Result<()> {
    let Some(outcome) = AttemptOutcomeKind::of(report.end) else {
        return Ok(());
    };
    tx.db
        .prepare_cached(
            "INSERT OR REPLACE INTO failed_attempts (seq, attempt, bot, outcome, error, exit_code, started_at, ended_at, failure_class)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
            report.failure_class.map(FailureClass::as_str),
        ])?;
    // A task may be given back any number of times; its evidence must not grow with it.
    tx.db
        .prepare_cached("DELETE FROM failed_attempts WHERE seq = ?1 AND attempt <= ?2")?
        .execute(params![
            running.seq,
            i64::from(running.attempt) - EVIDENCE_MAX
        ])?;
    Ok(())
}

/// New state of a task whose attempt ended.
pub(super) struct StatusChange {
    pub(super) status: TaskStatus,
    pub(super) reason: Option<EndReason>,
    pub(super) run_at: Timestamp,
    pub(super) toll: Toll,
}

pub(super) fn write_status(
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
                "UPDATE tasks SET status = 3, completed_at = ?2, execution_ms = ?3, lease = NULL, lease_expires_at = NULL,
                                  last_error = NULL, last_event = ?4, events = events + 1 WHERE seq = ?1",
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
            "UPDATE tasks SET status = ?2, completed_at = ?3, execution_ms = ?4, lease = NULL, lease_expires_at = NULL, run_at = ?5,
                              failures = ?6, bot_deaths = ?7, last_error = ?8, end_reason = ?9, last_event = ?10, events = events + 1,
                              suspicions = ?11, hive_deaths = ?12,
                              ready_since = CASE WHEN ?13 THEN NULL ELSE coalesce(ready_since, run_at) END
             WHERE seq = ?1",
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
            // An attempt that does not count does not end the wait.
            toll != running.toll,
        ])?;
    Ok(())
}

pub(super) fn write_result(
    tx: &Tx<'_>,
    seq: i64,
    report: &AttemptReport,
    success: bool,
) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT OR REPLACE INTO results (seq, success, output, error, tokens_used, cost_cents, exit_code, output_bytes, failure_class)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
            report.failure_class.map(FailureClass::as_str),
        ])?;
    Ok(())
}

/// The event of an attempt's end.
pub(super) struct EndEvent {
    pub(super) action: Action,
    /// Status of the task after the attempt.
    pub(super) status: TaskStatus,
    /// Time from which the next attempt may begin.
    pub(super) run_at: Timestamp,
}

pub(super) fn log_end(
    tx: &mut Tx<'_>,
    running: &Running,
    report: &AttemptReport,
    event: EndEvent,
) -> rusqlite::Result<()> {
    let timing = Timing {
        wait_ms: Some(running.started_at.millis_since(running.run_at)),
        run_ms: Some(report.execution_time_ms),
    };
    // The action does not say why a task was requeued or has ended.
    let outcome = AttemptOutcomeKind::of(report.end);
    let details = match event.action {
        Action::TaskCompleted => None,
        Action::TaskRetrying => Some(serde_json::json!({
            "outcome": outcome, "failure_class": report.failure_class, "error": report.error,
            "retry_at": event.run_at,
        })),
        _ => Some(serde_json::json!({
            "outcome": outcome, "failure_class": report.failure_class, "error": report.error,
            "exit_code": report.exit_code,
        })),
    };
    let details = details.map(|details| details.to_string());
    let succeeded = event.action == Action::TaskCompleted;
    tx.log_task(
        running.history,
        TaskEntry {
            action: event.action,
            actor: running.bot.as_str(),
            id: running.id,
            owner: &running.submitter,
            task: OfTask {
                task_type: &running.task_type,
                bot: Some(&running.bot),
                attempt: running.attempt,
                status: event.status,
                tags: running.tags.clone(),
                session: running.session,
                timing,
            },
            result: if succeeded {
                EventResult::Success
            } else {
                EventResult::Failure
            },
            details: details.as_deref(),
            traceparent: running.traceparent.as_deref(),
        },
    )
}
