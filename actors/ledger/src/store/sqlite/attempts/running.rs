//! The rows of running tasks.

use deia_model::{BotName, LeaseToken, Priority, SessionId, TaskId, TaskType, Timestamp, Toll};
use rusqlite::Row;

use crate::store::sqlite::{
    rows::{self, TaskHistory},
    shares::Counted,
};

/// The part of a running task needed to end its attempt.
pub(super) struct Running {
    pub(super) seq: i64,
    pub(super) id: TaskId,
    pub(super) task_type: TaskType,
    pub(super) priority: Priority,
    pub(super) attempt: u32,
    pub(super) lease: LeaseToken,
    pub(super) bot: BotName,
    pub(super) toll: Toll,
    pub(super) max_attempts: u32,
    pub(super) cancel_requested: bool,
    pub(super) started_at: Timestamp,
    pub(super) traceparent: Option<String>,
    pub(super) cancelled_by: Option<String>,
    pub(super) dependents: u32,
    pub(super) history: TaskHistory,
    pub(super) submitter: String,
    pub(super) bytes: i64,
    pub(super) run_at: Timestamp,
    pub(super) tags: Option<String>,
    pub(super) session: Option<SessionId>,
    /// The bot that alone may run the task.
    pub(super) pinned: Option<BotName>,
}

pub(super) const SELECT_RUNNING: &str =
    "SELECT seq, id, type, priority, attempt, lease, bot, failures, max_attempts, bot_deaths,
        cancel_requested_at IS NOT NULL, started_at, traceparent,
        CASE WHEN cancel_requested_at IS NOT NULL THEN last_error END, dependents, last_event, suspicions, hive_deaths,
        submitter, bytes, run_at, extra, events, session, pinned FROM tasks";

impl Running {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
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
            history: TaskHistory {
                last: row.get(15)?,
                count: row.get(22)?,
            },
            submitter: row.get(18)?,
            bytes: row.get(19)?,
            run_at: Timestamp::from_millis(row.get(20)?),
            tags: rows::tags_in(row.get::<_, Option<String>>(21)?.as_deref()),
            session: rows::session_id(row, 23)?,
            pinned: rows::optional_parsed(row, 24)?,
        })
    }

    pub(super) fn counted(&self) -> Counted<'_> {
        Counted {
            task_type: &self.task_type,
            priority: self.priority,
            submitter: &self.submitter,
            bytes: self.bytes,
        }
    }
}
