//! Ends of attempts, and their progress. [`after_attempt`] decides the next step of a
//! task; [`record`] writes it.

mod record;
mod running;

use std::{borrow::Cow, time::Duration};

use deia_model::{
    Action, AttemptEnd, BotName, EndReason, LeaseToken, NextStep, TaskStatus, Timestamp, Toll,
    TollLimits, after_attempt,
};
use rusqlite::{OptionalExtension, Row, params};

use self::{
    record::{EndEvent, StatusChange, log_end, note_failed_attempt, write_result, write_status},
    running::{Running, SELECT_RUNNING},
};
use super::{edges, rows, sessions, transaction::Tx};
use crate::{
    AttemptReport, CommitNotice, Demand, ExtendLeases, FinishHeld, HeldAck, HeldLease, HoldLease,
    ProgressReport, ReadyTask, Reply, ReportAck,
};

pub(super) fn finish(tx: &mut Tx<'_>, reports: &[AttemptReport]) -> rusqlite::Result<Reply> {
    let sql = format!("{SELECT_RUNNING} WHERE id = ?1 AND status = 2");
    let mut find = tx.db.prepare_cached(&sql)?;
    let mut outcomes = Vec::with_capacity(reports.len());
    for report in reports {
        let found = find.query_row([report.task.as_bytes()], Running::read);
        let running = tx.found_or_aside(report.task, found)?;
        outcomes.push(match running {
            Some(running) if running.lease == report.lease && running.attempt == report.attempt => {
                ReportAck::Recorded(end_attempt(tx, &running, report)?)
            }
            _ => ReportAck::Stale,
        });
    }
    Ok(Reply::Finished(outcomes))
}

/// Ends an attempt that its bot reports from outside, unless it was reported before.
pub(super) fn finish_held(tx: &mut Tx<'_>, command: &FinishHeld) -> rusqlite::Result<Reply> {
    let FinishHeld { bot, report } = command;
    let stored = tx
        .db
        .prepare_cached("SELECT status, lease, attempt, bot FROM tasks WHERE id = ?1")?
        .query_row([report.task.as_bytes()], Held::read)
        .optional()?;
    let is_it = |held: &Held| {
        let names_it = held.attempt == report.attempt && held.lease == Some(report.lease);
        names_it && held.bot.as_deref() == Some(bot.as_str())
    };
    Ok(Reply::HeldFinished(match stored.filter(is_it) {
        None => HeldAck::Stale,
        Some(held) if held.status != TaskStatus::Running => HeldAck::Repeated(held.status),
        Some(_) => {
            let sql = format!("{SELECT_RUNNING} WHERE id = ?1 AND status = 2");
            let found = tx
                .db
                .prepare_cached(&sql)?
                .query_row([report.task.as_bytes()], Running::read);
            match tx.found_or_aside(report.task, found)? {
                Some(running) => {
                    let status = end_attempt(tx, &running, report)?;
                    keep_lease(tx, &running)?;
                    HeldAck::Recorded(status)
                }
                None => HeldAck::Stale,
            }
        }
    }))
}

/// The part of a task by which a report about it is recognised.
struct Held {
    status: TaskStatus,
    lease: Option<LeaseToken>,
    attempt: u32,
    bot: Option<String>,
}

impl Held {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            status: rows::status(row, 0)?,
            lease: row.get::<_, Option<_>>(1)?.map(LeaseToken::from_bytes),
            attempt: row.get(2)?,
            bot: row.get(3)?,
        })
    }
}

/// Keeps the lease of an ended attempt until the next attempt, so that its report can be
/// repeated.
fn keep_lease(tx: &Tx<'_>, ended: &Running) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("UPDATE tasks SET lease = ?2 WHERE seq = ?1")?
        .execute(params![ended.seq, ended.lease.as_bytes()])?;
    Ok(())
}

/// Tasks to release from bots, with the reason.
pub(super) struct Taken<'a> {
    pub(super) bots: &'a [BotName],
    pub(super) started_before: Option<Timestamp>,
    pub(super) end: AttemptEnd,
    pub(super) reason: &'a str,
}

pub(super) fn give_back(tx: &mut Tx<'_>, taken: &Taken<'_>) -> rusqlite::Result<Reply> {
    let sql = format!(
        "{SELECT_RUNNING} INDEXED BY tasks_running WHERE status = 2 AND bot = ?1
         AND lease_node = ?2 AND lease_expires_at IS NULL"
    );
    let mut count = 0;
    let is_newer = |running: &Running| {
        let started_before = taken.started_before;
        started_before.is_some_and(|before| running.started_at >= before)
    };
    let node = tx.node;
    for bot in taken.bots {
        for running in tx.read_tasks(&sql, params![bot.as_str(), node], Running::read)? {
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
                failure_class: None,
            };
            end_attempt(tx, &running, &report)?;
            count += 1;
        }
    }
    Ok(Reply::Done(count))
}

/// Ends one attempt: writes the new status of the task, its result if it is final, and
/// the event.
fn end_attempt(
    tx: &mut Tx<'_>,
    running: &Running,
    report: &AttemptReport,
) -> rusqlite::Result<TaskStatus> {
    let end = report.end.judged(running.cancel_requested);
    let mut report = Cow::Borrowed(report);
    if end != report.end {
        report.to_mut().end = end;
    }
    let toll = running.toll.after(end);
    let delay = delay_before_next(tx, running, end, toll)?;
    let step = after_attempt(
        end,
        running.cancel_requested,
        toll,
        limits_of(tx, running),
        delay,
    );
    let Course {
        status,
        action,
        reason,
    } = Course::of(step);
    let run_at = match step {
        NextStep::RetryAfter(delay) => tx
            .now
            .plus_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        _ => tx.now,
    };
    if step != NextStep::Complete {
        note_failed_attempt(tx, running, &report)?;
    }
    if step == NextStep::Cancel
        && let Some(by) = &running.cancelled_by
    {
        report.to_mut().error = Some(by.clone());
    }
    let change = StatusChange {
        status,
        reason,
        run_at,
        toll,
    };
    write_status(tx, running, &report, change)?;
    if status.is_final() {
        write_result(tx, running.seq, &report, step == NextStep::Complete)?;
        edges::settle_later(tx, running.seq, running.dependents)?;
        if running.pinned.is_some() {
            sessions::unpin(tx, running.seq)?;
        }
    }
    count_end(tx, running, &report, step, status)?;
    let event = EndEvent {
        action,
        status,
        run_at,
    };
    log_end(tx, running, &report, event)?;
    tx.notice(notice_of(running, status, run_at));
    Ok(status)
}

fn limits_of(tx: &Tx<'_>, running: &Running) -> TollLimits {
    TollLimits {
        failures: running.max_attempts,
        bot_deaths: tx.policy.poison_after,
        hive_deaths: tx.policy.poison_after_hive_deaths,
    }
}

/// The next step of a task after an attempt.
struct Course {
    status: TaskStatus,
    action: Action,
    reason: Option<EndReason>,
}

impl Course {
    fn of(step: NextStep) -> Self {
        let (status, action, reason) = match step {
            NextStep::Complete => (TaskStatus::Completed, Action::TaskCompleted, None),
            NextStep::Fail => (
                TaskStatus::Failed,
                Action::TaskFailed,
                Some(EndReason::Attempts),
            ),
            NextStep::FailForGood => (
                TaskStatus::Failed,
                Action::TaskFailed,
                Some(EndReason::Permanent),
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
        Self {
            status,
            action,
            reason,
        }
    }
}

/// Counts the end for the bot, the queue and the rates.
fn count_end(
    tx: &mut Tx<'_>,
    running: &Running,
    report: &AttemptReport,
    step: NextStep,
    status: TaskStatus,
) -> rusqlite::Result<()> {
    if matches!(
        report.end,
        AttemptEnd::Succeeded
            | AttemptEnd::Failed
            | AttemptEnd::FailedForGood
            | AttemptEnd::BotDied
    ) {
        tx.count_attempt(&running.bot, report.end == AttemptEnd::Succeeded);
    }
    tx.count_task(running.counted(), Some(TaskStatus::Running), Some(status))?;
    let lane = tx.lane(&running.task_type, running.priority);
    lane.flow
        .attempt_ended(report.end, status, report.execution_time_ms);
    lane.flow.dead += u32::from(step == NextStep::GiveUpAsPoison);
    Ok(())
}

/// Returns the notice about a task that has that status after an attempt.
fn notice_of(running: &Running, status: TaskStatus, run_at: Timestamp) -> CommitNotice {
    match status {
        TaskStatus::Pending => CommitNotice::Due(run_at.as_millis()),
        TaskStatus::Queued => CommitNotice::Ready(ReadyTask {
            id: running.id,
            order: running.seq,
            demand: Demand::of_type(running.task_type.clone()).on(running.pinned.clone()),
            priority: running.priority,
            ready_at: run_at.as_millis(),
            last_bot: Some(running.bot.clone()),
        }),
        _ => CommitNotice::Finished(running.id),
    }
}

/// Returns the delay before the next attempt, in case there is one.
fn delay_before_next(
    tx: &Tx<'_>,
    running: &Running,
    end: AttemptEnd,
    toll: Toll,
) -> rusqlite::Result<Duration> {
    match end {
        AttemptEnd::Failed => {}
        // The bot takes no tasks for longer than this, so another bot comes first.
        AttemptEnd::BotFault => return Ok(tx.policy.bot_fault_delay),
        _ => return Ok(Duration::ZERO),
    }
    let extra: Option<String> = tx
        .db
        .prepare_cached("SELECT extra FROM tasks WHERE seq = ?1")?
        .query_row([running.seq], |row| row.get(0))?;
    // Settings that cannot be decoded must not prevent the end from being recorded.
    let extra: Option<rows::Extra> = extra.and_then(|text| rows::from_json(0, &text).ok());
    let of_task = extra.and_then(|extra| extra.retry);
    let policy = tx.policy.retry_of(&running.task_type, of_task.as_ref());
    Ok(policy.delay(toll.failures, running.lease.spread()))
}

/// Extends leases that are still in force and expire.
pub(super) fn extend(tx: &Tx<'_>, command: &ExtendLeases) -> rusqlite::Result<Reply> {
    let until = tx.after(command.expires_after).as_millis();
    let mut extend = tx.db.prepare_cached(
        "UPDATE tasks SET lease_expires_at = max(lease_expires_at, ?4)
         WHERE id = ?1 AND status = 2 AND attempt = ?2 AND lease = ?3 AND lease_expires_at IS NOT NULL",
    )?;
    let extended = command.leases.iter().map(|held| {
        let changed = extend.execute(params![
            held.task.as_bytes(),
            held.attempt,
            held.lease.as_bytes(),
            until
        ])?;
        Ok(changed > 0)
    });
    Ok(Reply::Extended(extended.collect::<rusqlite::Result<_>>()?))
}

/// Makes a lease one that expires by time.
pub(super) fn hold(tx: &Tx<'_>, command: &HoldLease) -> rusqlite::Result<Reply> {
    let until = tx.after(command.expires_after).as_millis();
    let HeldLease {
        task,
        attempt,
        lease,
    } = command.lease;
    let mut hold = tx.db.prepare_cached(
        "UPDATE tasks SET lease_expires_at = max(coalesce(lease_expires_at, 0), ?4)
         WHERE id = ?1 AND status = 2 AND attempt = ?2 AND lease = ?3",
    )?;
    let held = hold.execute(params![task.as_bytes(), attempt, lease.as_bytes(), until])?;
    Ok(Reply::Done(held as u64))
}

/// Releases tasks whose lease has expired: its holder has given no sign of life. The
/// holder may have died of the task, so this is counted as a suspicion.
pub(super) fn expire_leases(tx: &mut Tx<'_>, limit: u32) -> rusqlite::Result<u64> {
    let sql = format!(
        "{SELECT_RUNNING} INDEXED BY tasks_lease_expiry
         WHERE lease_expires_at IS NOT NULL AND lease_expires_at <= ?1 AND status = 2
         AND seq NOT IN (SELECT seq FROM unreadable) ORDER BY lease_expires_at LIMIT ?2"
    );
    let now = tx.now.as_millis();
    let expired = tx.read_tasks(&sql, params![now, limit], Running::read)?;
    for running in &expired {
        let report = AttemptReport {
            task: running.id,
            attempt: running.attempt,
            lease: running.lease,
            end: AttemptEnd::Suspected,
            output: None,
            output_bytes: None,
            error: Some("its lease expired: its bot gave no sign of life".to_owned()),
            exit_code: None,
            execution_time_ms: tx.now.millis_since(running.started_at),
            tokens_used: None,
            cost_cents: None,
            failure_class: None,
        };
        end_attempt(tx, running, &report)?;
    }
    Ok(expired.len() as u64)
}

/// Records the progress of attempts. Stale reports are ignored.
pub(super) fn progress(tx: &Tx<'_>, reports: &[ProgressReport]) -> rusqlite::Result<Reply> {
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
    Ok(Reply::Done(noted))
}
