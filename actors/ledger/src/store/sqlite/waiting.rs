//! Waiting tasks: they are cancelled, expire, or end because of a task that they depend
//! on.

use deia_model::{
    Action, BotName, DependencyFailure, EndReason, EventResult, Priority, SessionId, TaskId,
    TaskStatus, TaskType, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    edges,
    entry::{OfTask, TaskEntry, Timing},
    errors::ApplyError,
    rows,
    rows::TaskHistory,
    shares::Counted,
    transaction::Tx,
};
use crate::{Cancelling, CommitNotice, Demand, ReadyTask, Rejection, Reply};

/// The part of a waiting task needed to end it or to make it ready.
pub(super) struct Waiting {
    pub(super) seq: i64,
    pub(super) id: TaskId,
    pub(super) task_type: TaskType,
    pub(super) priority: Priority,
    pub(super) status: TaskStatus,
    pub(super) run_at: Timestamp,
    pub(super) traceparent: Option<String>,
    pub(super) blocked_by: u32,
    pub(super) dependents: u32,
    pub(super) history: TaskHistory,
    pub(super) on_failure: DependencyFailure,
    submitter: String,
    bytes: i64,
    bot: Option<BotName>,
    attempt: u32,
    tags: Option<String>,
    pub(super) session: Option<SessionId>,
    /// The bot that alone may run the task.
    pub(super) pinned: Option<BotName>,
}

pub(super) const SELECT_WAITING: &str =
    "SELECT seq, id, type, priority, status, run_at, traceparent, blocked_by, dependents,
        last_event, extra, submitter, bytes, bot, attempt, events, session, pinned FROM tasks";

impl Waiting {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let extra: rows::Extra = row
            .get::<_, Option<String>>(10)?
            .map(|text| rows::from_json(10, &text))
            .transpose()?
            .unwrap_or_default();
        Ok(Self {
            seq: row.get(0)?,
            id: rows::task_id(row, 1)?,
            task_type: rows::parsed(row, 2)?,
            priority: rows::priority(row, 3)?,
            status: rows::status(row, 4)?,
            run_at: rows::time(row, 5)?,
            traceparent: row.get(6)?,
            blocked_by: row.get(7)?,
            dependents: row.get(8)?,
            history: TaskHistory {
                last: row.get(9)?,
                count: row.get(15)?,
            },
            on_failure: extra.on_dependency_failure,
            submitter: row.get(11)?,
            bytes: row.get(12)?,
            bot: rows::optional_parsed(row, 13)?,
            attempt: row.get(14)?,
            tags: rows::tags_of(&extra.tags),
            session: rows::session_id(row, 16)?,
            pinned: rows::optional_parsed(row, 17)?,
        })
    }

    /// Returns the task with that number.
    pub(super) fn by_seq(db: &Connection, seq: i64) -> rusqlite::Result<Option<Self>> {
        let sql = format!("{SELECT_WAITING} WHERE seq = ?1");
        db.prepare_cached(&sql)?
            .query_row([seq], Self::read)
            .optional()
    }

    pub(super) fn ready(&self) -> ReadyTask {
        ReadyTask {
            id: self.id,
            order: self.seq,
            demand: Demand::of_type(self.task_type.clone()).on(self.pinned.clone()),
            priority: self.priority,
            ready_at: self.run_at.as_millis(),
            last_bot: self.bot.clone(),
        }
    }
}

/// The reason and the way in which a waiting task ends.
pub(super) struct End<'a> {
    pub(super) status: TaskStatus,
    pub(super) reason: EndReason,
    pub(super) actor: &'a str,
    pub(super) error: &'a str,
}

/// Ends a task that no bot runs.
pub(super) fn end(tx: &mut Tx<'_>, task: &Waiting, end: &End<'_>) -> rusqlite::Result<()> {
    let cancelled = end.status == TaskStatus::Cancelled;
    tx.db
        .prepare_cached(
            "UPDATE tasks SET status = ?2, completed_at = ?3, cancel_requested_at = ?4, last_error = ?5,
                              end_reason = ?6, blocked_by = 0, pinned = NULL, last_event = ?7, events = events + 1 WHERE seq = ?1",
        )?
        .execute(params![
            task.seq,
            rows::status_code(end.status),
            tx.now.as_millis(),
            cancelled.then_some(tx.now.as_millis()),
            end.error,
            end.reason.as_str(),
            tx.next_event(),
        ])?;
    tx.db
        .prepare_cached("INSERT OR REPLACE INTO results (seq, success, error) VALUES (?1, 0, ?2)")?
        .execute(params![task.seq, end.error])?;
    if task.blocked_by > 0 {
        edges::remove_edges_of(tx, task.seq)?;
    }
    edges::settle_later(tx, task.seq, task.dependents)?;
    let counted = Counted {
        task_type: &task.task_type,
        priority: task.priority,
        submitter: &task.submitter,
        bytes: task.bytes,
    };
    tx.count_task(counted, Some(task.status), Some(end.status))?;
    let lane = tx.lane(&task.task_type, task.priority);
    lane.flow.ended(end.status);
    tx.notice(CommitNotice::Finished(task.id));
    let (action, result) = match cancelled {
        true => (Action::TaskCancelled, EventResult::Success),
        false => (Action::TaskFailed, EventResult::Failure),
    };
    let details = serde_json::json!({"reason": end.reason, "error": end.error}).to_string();
    tx.log_task(
        task.history,
        TaskEntry {
            action,
            actor: end.actor,
            id: task.id,
            owner: &task.submitter,
            task: OfTask {
                task_type: &task.task_type,
                bot: task.bot.as_ref(),
                attempt: task.attempt,
                status: end.status,
                tags: task.tags.clone(),
                session: task.session,
                timing: Timing::default(),
            },
            result,
            details: Some(&details),
            traceparent: task.traceparent.as_deref(),
        },
    )
}

/// Makes a pending task ready.
pub(super) fn make_ready(tx: &mut Tx<'_>, task: &Waiting) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("UPDATE tasks SET status = 1, run_at = ?2 WHERE seq = ?1")?
        .execute(params![task.seq, task.run_at.as_millis()])?;
    tx.lane(&task.task_type, task.priority)
        .moved(Some(TaskStatus::Pending), TaskStatus::Queued);
    tx.notice(CommitNotice::Ready(task.ready()));
    Ok(())
}

/// Fails a task that waited too long.
pub(super) fn expire(tx: &mut Tx<'_>, task: &Waiting) -> rusqlite::Result<()> {
    let fate = End {
        status: TaskStatus::Failed,
        reason: EndReason::Expired,
        actor: "deia",
        error: "it did not start before it expired",
    };
    end(tx, task, &fate)
}

pub(super) fn cancel(
    tx: &mut Tx<'_>,
    id: TaskId,
    actor: &str,
    only_waiting: bool,
) -> Result<Reply, ApplyError> {
    let mut find = tx.db.prepare_cached(rows::SELECT_TASK_BY_ID)?;
    let rows::Stored {
        seq, task, history, ..
    } = find
        .query_row([id.as_bytes()], rows::stored_task)
        .optional()?
        .ok_or(Rejection::NoSuchTask(id))?;
    let reason = format!("cancelled by {actor}");
    if task.status.is_final() {
        return Err(Rejection::TaskIsFinal {
            task: id,
            status: task.status,
        }
        .into());
    }
    if task.status == TaskStatus::Running {
        if only_waiting {
            return Err(Rejection::TaskIsRunning(id).into());
        }
        if task.cancel_requested_at.is_none() {
            tx.db
                .prepare_cached(
                    "UPDATE tasks SET cancel_requested_at = ?2, last_error = ?3, last_event = ?4, events = events + 1 WHERE seq = ?1",
                )?
                .execute(params![seq, tx.now.as_millis(), reason, tx.next_event()])?;
            tx.log_task(
                history,
                TaskEntry {
                    action: Action::TaskCancelRequested,
                    actor,
                    id,
                    owner: &task.submitter,
                    task: OfTask::of(&task, task.status),
                    result: EventResult::Success,
                    details: None,
                    traceparent: task.traceparent.as_deref(),
                },
            )?;
        }
        if let Some(bot) = task.assigned_bot {
            tx.notice(CommitNotice::CancelRequested(Cancelling {
                task: id,
                attempt: task.attempt,
                bot,
                words: reason,
            }));
        }
    } else if let Some(waiting) = Waiting::by_seq(tx.db, seq)? {
        let called_off = End {
            status: TaskStatus::Cancelled,
            reason: EndReason::Cancelled,
            actor,
            error: &reason,
        };
        end(tx, &waiting, &called_off)?;
    }
    let now = find.query_row([id.as_bytes()], rows::stored_task)?;
    Ok(Reply::Task(Box::new(now.task)))
}
