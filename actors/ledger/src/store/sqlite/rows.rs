//! Conversion between rows and the model.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use deia_model::{
    DependencyFailure, Deployment, EventLevel, EventResult, FailureClass, NewTask, Priority,
    RetryOverride, SessionId, Task, TaskFilter, TaskId, TaskStatus, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::shares::Counted;
use crate::{Demand, ReadyTask};

/// A stored task.
pub(super) struct Stored {
    /// Position in the order of submission.
    pub(super) seq: i64,
    /// The events of the task.
    pub(super) history: TaskHistory,
    /// Bytes of content and metadata.
    pub(super) bytes: i64,
    /// The task, with its content if that is short.
    pub(super) task: Task,
}

impl Stored {
    /// Returns the task in the form that counters need.
    pub(super) fn counted(&self) -> Counted<'_> {
        Counted {
            task_type: &self.task.task_type,
            priority: self.task.priority,
            submitter: &self.task.submitter,
            bytes: self.bytes,
        }
    }
}

/// The columns that [`stored_task`] reads.
pub(super) const TASK_COLUMNS: &str = "seq, id, type, priority, status, submitter, content, extra, traceparent, created_at,
        run_at, started_at, completed_at, attempt, failures, max_attempts, bot_deaths, timeout_seconds, bot,
        execution_ms, cancel_requested_at, last_error, end_reason, expires_at, dedup_key, blocked_by, progress,
        last_event, suspicions, hive_deaths, erased_at, bytes, events, session";

/// The place of the session among [`TASK_COLUMNS`]. Fact: the order of these columns.
pub(super) const SESSION_COLUMN: usize = 33;

/// Selects one task by its id.
pub(super) const SELECT_TASK_BY_ID: &str = "SELECT seq, id, type, priority, status, submitter, content, extra, traceparent,
        created_at, run_at, started_at, completed_at, attempt, failures, max_attempts, bot_deaths, timeout_seconds, bot,
        execution_ms, cancel_requested_at, last_error, end_reason, expires_at, dedup_key, blocked_by, progress,
        last_event, suspicions, hive_deaths, erased_at, bytes, events, session FROM tasks WHERE id = ?1";

/// The events of a task so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TaskHistory {
    /// Sequence number of the newest.
    pub(super) last: Option<i64>,
    /// Number of events, including those that were pruned.
    pub(super) count: i64,
}

/// Rare properties of a task, stored together in one column.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Extra {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    estimate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retry: Option<RetryOverride>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<TaskId>,
    #[serde(default, skip_serializing_if = "DependencyFailure::is_default")]
    pub(super) on_dependency_failure: DependencyFailure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle_timeout: Option<u64>,
}

impl Extra {
    /// Collects the rare properties; `None` if there are none. `depends_on` has the ids
    /// that the places in the same batch stand for.
    pub(super) fn of(task: &NewTask, depends_on: Vec<TaskId>) -> Option<Self> {
        let some = !task.tags.is_empty()
            || !task.metadata.is_empty()
            || task.estimated_duration_seconds.is_some()
            || task.retry.is_some()
            || task.idempotency_key.is_some()
            || task.idle_timeout_seconds.is_some()
            || !depends_on.is_empty();
        some.then(|| Self {
            tags: task.tags.clone(),
            metadata: task.metadata.clone(),
            estimate: task.estimated_duration_seconds,
            retry: task.retry,
            on_dependency_failure: task.on_dependency_failure,
            idempotency_key: task.idempotency_key.clone(),
            idle_timeout: task.idle_timeout_seconds,
            depends_on,
        })
    }

    /// Returns whether the task matches the part of a filter that concerns these
    /// properties.
    pub(super) fn matches(&self, filter: &TaskFilter) -> bool {
        let has = |(key, wanted): &(String, String)| {
            self.metadata.get(key).is_some_and(|value| match value {
                serde_json::Value::String(text) => text == wanted,
                other => serde_json::to_string(other).is_ok_and(|text| text == *wanted),
            })
        };
        filter.tags.iter().all(|tag| self.tags.contains(tag)) && filter.metadata.iter().all(has)
    }
}

/// Returns tags in the form that events store.
pub(super) fn tags_of(tags: &[String]) -> Option<String> {
    let some = Some(tags).filter(|tags| !tags.is_empty());
    some.and_then(|tags| serde_json::to_string(tags).ok())
}

/// Returns the tags in the column `extra`, in the form that events store. Text that
/// cannot be decoded must not prevent anything from being recorded.
pub(super) fn tags_in(extra: Option<&str>) -> Option<String> {
    let extra = extra.filter(|text| text.contains("\"tags\""))?;
    let extra: Extra = serde_json::from_str(extra).ok()?;
    tags_of(&extra.tags)
}

/// Decodes a row in the order of [`TASK_COLUMNS`].
pub(super) fn stored_task(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let extra: Option<String> = row.get(7)?;
    let extra: Extra = extra
        .map(|text| from_json(7, &text))
        .transpose()?
        .unwrap_or_default();
    let status = status(row, 4)?;
    let execution_ms: Option<i64> = row.get(19)?;
    let erased_at = optional_time(row, 30)?;
    let task = Task {
        id: task_id(row, 1)?,
        task_type: parsed(row, 2)?,
        priority: priority(row, 3)?,
        status,
        submitter: row.get(5)?,
        content: match erased_at {
            None => row.get(6)?,
            Some(_) => None,
        },
        tags: extra.tags,
        metadata: extra.metadata,
        assigned_bot: optional_parsed(row, 18)?,
        created_at: time(row, 9)?,
        run_at: time(row, 10)?,
        started_at: optional_time(row, 11)?,
        completed_at: optional_time(row, 12)?,
        attempt: row.get(13)?,
        failures: row.get(14)?,
        max_attempts: row.get(15)?,
        bot_deaths: row.get(16)?,
        suspicions: row.get(28)?,
        hive_deaths: row.get(29)?,
        timeout_seconds: row.get::<_, i64>(17)?.unsigned_abs(),
        idle_timeout_seconds: extra.idle_timeout,
        estimated_duration_seconds: extra.estimate,
        #[allow(
            clippy::cast_precision_loss,
            reason = "milliseconds to fractions of a second"
        )]
        actual_duration_seconds: execution_ms.map(|ms| ms as f64 / 1_000.0),
        progress: match row.get::<_, Option<f64>>(26)? {
            _ if status == TaskStatus::Completed => 1.0,
            reported => reported.unwrap_or(0.0),
        },
        deployment: Deployment::Blue,
        cancel_requested_at: optional_time(row, 20)?,
        last_error: row.get(21)?,
        traceparent: row.get(8)?,
        end_reason: optional_parsed(row, 22)?,
        expires_at: optional_time(row, 23)?,
        dedup_key: row.get(24)?,
        session_id: session_id(row, SESSION_COLUMN)?,
        idempotency_key: extra.idempotency_key,
        depends_on: extra.depends_on,
        on_dependency_failure: extra.on_dependency_failure,
        erased_at,
        waiting_for: row.get(25)?,
        retry: extra.retry,
        failed_attempts: Vec::new(),
    };
    Ok(Stored {
        seq: row.get(0)?,
        history: TaskHistory {
            last: row.get(27)?,
            count: row.get(32)?,
        },
        bytes: row.get(31)?,
        task,
    })
}

/// A task to be inserted, with all decisions about it.
pub(super) struct NewRow<'a> {
    pub(super) id: TaskId,
    pub(super) new: &'a NewTask,
    pub(super) extra: Extra,
    pub(super) submitter: &'a str,
    pub(super) run_at: Timestamp,
    pub(super) max_attempts: u32,
    pub(super) timeout_seconds: u64,
    pub(super) expires_at: Option<Timestamp>,
}

impl NewRow<'_> {
    /// Returns the task as it would be read back while it is queued.
    pub(super) fn into_task(self, now: Timestamp) -> Task {
        let new = self.new;
        Task {
            id: self.id,
            task_type: new.task_type.clone(),
            priority: new.priority,
            status: TaskStatus::Queued,
            submitter: self.submitter.to_owned(),
            content: Some(new.content.clone()),
            tags: self.extra.tags,
            metadata: self.extra.metadata,
            assigned_bot: None,
            created_at: now,
            run_at: self.run_at,
            started_at: None,
            completed_at: None,
            attempt: 0,
            failures: 0,
            max_attempts: self.max_attempts,
            bot_deaths: 0,
            suspicions: 0,
            hive_deaths: 0,
            timeout_seconds: self.timeout_seconds,
            idle_timeout_seconds: self.extra.idle_timeout,
            estimated_duration_seconds: self.extra.estimate,
            actual_duration_seconds: None,
            progress: 0.0,
            deployment: Deployment::Blue,
            cancel_requested_at: None,
            last_error: None,
            end_reason: None,
            expires_at: self.expires_at,
            dedup_key: new.dedup_key.clone(),
            session_id: new.session_id,
            idempotency_key: self.extra.idempotency_key,
            depends_on: self.extra.depends_on,
            on_dependency_failure: self.extra.on_dependency_failure,
            erased_at: None,
            waiting_for: 0,
            retry: self.extra.retry,
            failed_attempts: Vec::new(),
            traceparent: new.traceparent.clone(),
        }
    }
}

/// Returns content that is not stored in the row of the task.
pub(super) fn stored_content(db: &Connection, seq: i64) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT content FROM contents WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))
        .optional()
}

/// Decodes `seq, id, type, priority, run_at, bot`.
pub(super) fn ready_task(row: &Row<'_>) -> rusqlite::Result<ReadyTask> {
    Ok(ReadyTask {
        order: row.get(0)?,
        id: task_id(row, 1)?,
        demand: Demand::of_type(parsed(row, 2)?),
        priority: priority(row, 3)?,
        ready_at: row.get(4)?,
        last_bot: optional_parsed(row, 5)?,
    })
}

pub(super) fn task_id(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskId> {
    Ok(TaskId::from_bytes(row.get(column)?))
}

pub(super) fn session_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<SessionId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(SessionId::from_bytes))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

/// Returns a duration in the form of its column.
pub(super) fn millis(duration: u64) -> i64 {
    i64::try_from(duration).unwrap_or(i64::MAX)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row
        .get::<_, Option<i64>>(column)?
        .map(Timestamp::from_millis))
}

pub(super) fn priority(row: &Row<'_>, column: usize) -> rusqlite::Result<Priority> {
    let rank: u8 = row.get(column)?;
    Priority::from_rank(rank).ok_or_else(|| broken(column, format!("{rank} is no priority")))
}

pub(super) fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskStatus> {
    let code: u8 = row.get(column)?;
    TaskStatus::ALL
        .get(usize::from(code))
        .copied()
        .ok_or_else(|| broken(column, format!("{code} is no status")))
}

/// Parses a text column that holds one of the model's names.
pub(super) fn parsed<T: FromStr<Err: Display>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(|error| broken(column, error))?;
    text.parse().map_err(|error: T::Err| broken(column, error))
}

/// Returns the class of a failure. A class of a later version must not hide its row.
pub(super) fn failure_class(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<FailureClass>> {
    let name: Option<String> = row.get(column)?;
    Ok(name.as_deref().map(FailureClass::from_stored))
}

pub(super) fn optional_parsed<T: FromStr<Err: Display>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

/// Parses JSON that this store wrote.
pub(super) fn from_json<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| broken(column, error))
}

pub(super) fn broken(column: usize, reason: impl Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.to_string().into())
}

/// Returns the position in [`TaskStatus::ALL`]; the schema's indexes contain these
/// numbers.
pub(super) fn status_code(status: TaskStatus) -> u8 {
    status as u8
}

pub(super) fn level_code(level: EventLevel) -> u8 {
    level as u8
}

pub(super) fn result_code(result: EventResult) -> u8 {
    result as u8
}

/// Returns the trace id of a `traceparent` (W3C Trace Context:
/// version-trace-parent-flags).
pub(super) fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_schema() {
        let codes: Vec<_> = TaskStatus::ALL.into_iter().map(status_code).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5]);
        assert_eq!(status_code(TaskStatus::Queued), 1);
        assert!(
            SELECT_TASK_BY_ID
                .split_whitespace()
                .collect::<String>()
                .contains(&TASK_COLUMNS.split_whitespace().collect::<String>())
        );
    }
}
