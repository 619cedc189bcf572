//! Insertion of one accepted task: its row, its edges, its event, and its first attempt
//! if a bot takes it at once.

use deia_model::{
    Action, BotName, EventResult, NewTask, Submitted, TaskId, TaskStatus, TaskType, Timestamp,
};
use rusqlite::params;
use serde_json::json;

use super::{
    super::{
        claim, dependencies,
        edges::{self, Parent},
        entry::{OfTask, TaskEntry, Timing},
        rows::{self, Extra, TaskHistory},
        sessions,
        shares::Counted,
        transaction::Tx,
    },
    bytes_of,
};
use crate::{CommitNotice, Demand, ReadyTask, Slot, TaskPolicy};

/// Maximum size of content that is stored in the row of the task, in bytes. Fixed: a
/// quarter of a page, so that several rows share one.
const INLINE_CONTENT: usize = 1_024;

/// A task to be inserted, with the values that settings complete.
struct Accepted<'a> {
    id: TaskId,
    new: &'a NewTask,
    submitter: &'a str,
    extra: Option<Extra>,
    /// The status in the answer, even if a bot takes the task at once.
    status: TaskStatus,
    run_at: Timestamp,
    /// Number of tasks that it waits for.
    waits_for: usize,
    limits: Limits,
    bytes: i64,
    /// The bot that alone may run the task.
    pinned: Option<BotName>,
}

/// Limits of a task: its own, otherwise those of its type, otherwise the defaults.
struct Limits {
    max_attempts: u32,
    timeout_seconds: u64,
    expires_at: Option<Timestamp>,
}

impl Limits {
    fn of(task: &NewTask, run_at: Timestamp, policy: &TaskPolicy) -> Self {
        let of_type = policy.by_type.get(&task.task_type);
        let max_attempts = task.max_attempts.or_else(|| of_type?.max_attempts);
        let timeout_seconds = task.timeout_seconds.or_else(|| of_type?.timeout_seconds);
        let expires_at = task.expires_at.or_else(|| {
            let after = of_type?.expires_after?;
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            Some(run_at.plus_millis(millis))
        });
        Self {
            max_attempts: max_attempts.unwrap_or(policy.default_max_attempts),
            timeout_seconds: timeout_seconds.unwrap_or(policy.default_timeout_seconds),
            expires_at,
        }
    }
}

impl<'a> Accepted<'a> {
    fn new(tx: &Tx<'_>, new: &'a NewTask, submitter: &'a str, depends_on: &[Parent]) -> Self {
        let waits_for = depends_on
            .iter()
            .filter(|parent| waits(new, parent))
            .count();
        let run_at = dependencies::ready_at(new, tx.now);
        let status = if run_at > tx.now || waits_for > 0 {
            TaskStatus::Pending
        } else {
            TaskStatus::Queued
        };
        Self {
            id: TaskId::new(),
            new,
            submitter,
            extra: Extra::of(new, depends_on.iter().map(|parent| parent.id).collect()),
            status,
            run_at,
            waits_for,
            limits: Limits::of(new, run_at, tx.policy),
            bytes: i64::try_from(bytes_of(new)).unwrap_or(i64::MAX),
            pinned: None,
        }
    }

    fn task_type(&self) -> &'a TaskType {
        &self.new.task_type
    }

    fn demand(&self) -> Demand {
        Demand::of_type(self.task_type().clone()).on(self.pinned.clone())
    }

    /// Returns the task as it would be read back while it is queued.
    fn into_row(self) -> rows::NewRow<'a> {
        rows::NewRow {
            id: self.id,
            new: self.new,
            extra: self.extra.unwrap_or_default(),
            submitter: self.submitter,
            run_at: self.run_at,
            max_attempts: self.limits.max_attempts,
            timeout_seconds: self.limits.timeout_seconds,
            expires_at: self.limits.expires_at,
        }
    }
}

fn waits(task: &NewTask, parent: &Parent) -> bool {
    !dependencies::is_satisfied(task, parent)
}

/// Inserts a task. Returns its number and the answer to its submitter.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    task: &NewTask,
    submitter: &str,
    depends_on: &[Parent],
) -> rusqlite::Result<(i64, Submitted)> {
    let mut accepted = Accepted::new(tx, task, submitter, depends_on);
    if let Some(session) = task.session_id {
        accepted.pinned = sessions::joined_by_task(tx, session)?;
    }
    let slot = slot_for(tx, &accepted)?;
    if let (Some(session), Some(slot)) = (task.session_id, &slot) {
        sessions::bind(tx, session, &slot.bot)?;
        accepted.pinned = Some(slot.bot.clone());
    }
    let stored_status = match slot {
        Some(_) => TaskStatus::Running,
        None => accepted.status,
    };
    let submitted_event = tx.next_event();
    let last_event = submitted_event + i64::from(slot.is_some());
    let seq = write_row(tx, &accepted, stored_status, last_event, slot.as_ref())?;
    for parent in depends_on.iter().filter(|parent| waits(task, parent)) {
        edges::add_edge(tx, parent, seq)?;
    }
    count(tx, &accepted, stored_status)?;
    log(tx, &accepted)?;
    let submitted = Submitted {
        id: accepted.id,
        status: accepted.status,
        created_at: tx.now,
        deduplicated: false,
    };
    match slot {
        Some(slot) => {
            let task = accepted.into_row().into_task(tx.now);
            let before = TaskHistory {
                last: Some(submitted_event),
                count: 1,
            };
            claim::start_at_once(tx, task, slot, before)?;
        }
        None => notice(tx, &accepted, seq),
    }
    Ok((seq, submitted))
}

/// Returns the slot of a bot that takes the task in this transaction, if one may.
fn slot_for(tx: &mut Tx<'_>, accepted: &Accepted<'_>) -> rusqlite::Result<Option<Slot>> {
    let is_valid = accepted.limits.expires_at.is_none_or(|at| at > tx.now);
    match accepted.status {
        TaskStatus::Queued if is_valid => claim::slot_for(tx, &accepted.demand()),
        _ => Ok(None),
    }
}

/// Writes the row of the task, and its content separately if it is long.
fn write_row(
    tx: &Tx<'_>,
    accepted: &Accepted<'_>,
    status: TaskStatus,
    last_event: i64,
    slot: Option<&Slot>,
) -> rusqlite::Result<i64> {
    let (task, limits) = (accepted.new, &accepted.limits);
    let inline = task.content.len() <= INLINE_CONTENT;
    tx.db
        .prepare_cached(
            "INSERT INTO tasks (id, type, priority, status, submitter, content, extra, traceparent, created_at, run_at,
                                max_attempts, timeout_seconds, expires_at, dedup_key, blocked_by, last_event,
                                attempt, bot, lease, started_at, bytes, lease_node, lease_incarnation, events,
                                lease_expires_at, session, pinned)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)",
        )?
        .execute(params![
            accepted.id.as_bytes(),
            task.task_type.as_str(),
            task.priority.rank(),
            rows::status_code(status),
            accepted.submitter,
            inline.then_some(task.content.as_str()),
            accepted.extra.as_ref().map(|extra| json!(extra).to_string()),
            task.traceparent,
            tx.now.as_millis(),
            accepted.run_at.as_millis(),
            limits.max_attempts,
            i64::try_from(limits.timeout_seconds).unwrap_or(i64::MAX),
            limits.expires_at.map(Timestamp::as_millis),
            task.dedup_key,
            accepted.waits_for,
            last_event,
            u8::from(slot.is_some()),
            slot.map(|slot| slot.bot.as_str()),
            slot.map(|slot| slot.lease.as_bytes()),
            slot.is_some().then_some(tx.now.as_millis()),
            accepted.bytes,
            slot.is_some().then_some(tx.node),
            slot.map(|slot| slot.incarnation.cast_signed()),
            // The submission is the first event of the task, the start the second.
            1 + u8::from(slot.is_some()),
            slot.and_then(|slot| slot.expires_after)
                .map(|after| tx.after(after).as_millis()),
            task.session_id.as_ref().map(|id| id.as_bytes()),
            accepted.pinned.as_ref().map(BotName::as_str),
        ])?;
    let seq = tx.db.last_insert_rowid();
    if !inline {
        tx.db
            .prepare_cached("INSERT INTO contents (seq, content) VALUES (?1, ?2)")?
            .execute(params![seq, task.content])?;
    }
    Ok(seq)
}

fn count(tx: &mut Tx<'_>, accepted: &Accepted<'_>, status: TaskStatus) -> rusqlite::Result<()> {
    let counted = Counted {
        task_type: accepted.task_type(),
        priority: accepted.new.priority,
        submitter: accepted.submitter,
        bytes: accepted.bytes,
    };
    tx.count_task(counted, None, Some(status))?;
    let lane = tx.lane(accepted.task_type(), accepted.new.priority);
    lane.flow.submitted += 1;
    Ok(())
}

/// Appends the event of the submission.
fn log(tx: &mut Tx<'_>, accepted: &Accepted<'_>) -> rusqlite::Result<()> {
    tx.log_task(
        TaskHistory::default(),
        TaskEntry {
            action: Action::TaskSubmitted,
            actor: accepted.submitter,
            id: accepted.id,
            owner: accepted.submitter,
            task: OfTask {
                task_type: accepted.task_type(),
                bot: None,
                attempt: 0,
                status: accepted.status,
                tags: rows::tags_of(&accepted.new.tags),
                session: accepted.new.session_id,
                timing: Timing::default(),
            },
            result: EventResult::Success,
            details: None,
            traceparent: accepted.new.traceparent.as_deref(),
        },
    )?;
    Ok(())
}

/// Sends the scheduler a notice of a task that no bot has taken yet.
fn notice(tx: &mut Tx<'_>, accepted: &Accepted<'_>, seq: i64) {
    if let Some(at) = accepted.limits.expires_at {
        tx.notice(CommitNotice::Due(at.as_millis()));
    }
    let run_at = accepted.run_at.as_millis();
    if accepted.status == TaskStatus::Queued {
        tx.notice(CommitNotice::Ready(ReadyTask {
            id: accepted.id,
            order: seq,
            demand: accepted.demand(),
            priority: accepted.new.priority,
            ready_at: run_at,
            last_bot: None,
        }));
    } else if accepted.waits_for == 0 {
        tx.notice(CommitNotice::Due(run_at));
    }
}
