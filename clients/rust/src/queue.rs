//! The queue as a whole.

use std::{collections::BTreeMap, time::Duration};

use deia_model::{
    EndReason, Priority, QueueStatus, SessionId, TaskFilter, TaskId, TaskStatus, TaskType,
    Timestamp,
};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    Changed, Client, ClientError, Drained,
    tasks::{PAUSE, POLL, SHORT_POLL},
};

/// Additional time-out of requests that change many tasks. Fixed: of the client library,
/// whose callers do not depend on it.
const BULK: Duration = Duration::from_secs(600);

/// A selection of tasks for a bulk change. Absent fields do not restrict it, but a
/// selection without any field is refused unless `all` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Tasks in this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// Tasks of this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub task_type: Option<TaskType>,
    /// Tasks of this priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Tasks submitted by this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
    /// Tasks that failed for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// Tasks with all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Tasks with these values in their metadata, as text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Tasks of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Tasks with this `dedup_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// Tasks accepted at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Tasks accepted before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
    /// Selects all tasks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl Selection {
    /// Returns whether nothing is set, not even `all`.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A selection has no field for bots.
impl From<TaskFilter> for Selection {
    fn from(filter: TaskFilter) -> Self {
        Self {
            status: filter.status,
            task_type: filter.task_type,
            priority: filter.priority,
            submitter: filter.submitter,
            reason: filter.end_reason,
            tags: filter.tags,
            metadata: filter.metadata.into_iter().collect(),
            session_id: filter.session,
            dedup_key: filter.dedup_key,
            created_after: filter.created_after,
            created_before: filter.created_before,
            all: false,
        }
    }
}

impl Client {
    /// Returns the state of the queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn queue(&self) -> Result<QueueStatus, ClientError> {
        self.get(&["api", "v1", "queue"]).answer().await
    }

    /// Pauses a task type, or the whole queue; running tasks continue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pause_queue(
        &self,
        task_type: Option<&TaskType>,
        reason: Option<&str>,
    ) -> Result<QueueStatus, ClientError> {
        self.post(&["api", "v1", "queue", "pause"])
            .json(&without_nulls(
                json!({ "type": task_type, "reason": reason }),
            ))?
            .answer()
            .await
    }

    /// Ends the pause of a task type, or of the whole queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume_queue(
        &self,
        task_type: Option<&TaskType>,
    ) -> Result<QueueStatus, ClientError> {
        self.post(&["api", "v1", "queue", "resume"])
            .json(&without_nulls(json!({ "type": task_type })))?
            .answer()
            .await
    }

    /// Pauses, and waits `within` that time until nothing (of the type) runs, with as
    /// many polls as necessary. Returns the number of tasks that still run then.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain_queue(
        &self,
        task_type: Option<&TaskType>,
        reason: Option<&str>,
        within: Duration,
    ) -> Result<Drained, ClientError> {
        let (start, mut longest) = (Instant::now(), POLL);
        loop {
            let wait = within.saturating_sub(start.elapsed()).min(longest);
            let asked_at = Instant::now();
            match self.drain_once(task_type, reason, wait).await {
                Ok(drained) if drained.drained || start.elapsed() >= within => return Ok(drained),
                Ok(_) if asked_at.elapsed() < wait / 2 => sleep(PAUSE).await,
                Ok(_) => {}
                // More than `server.max_wait`.
                Err(error) if is_refused_input(&error) && wait > SHORT_POLL => longest = SHORT_POLL,
                Err(error) => return Err(error),
            }
        }
    }

    async fn drain_once(
        &self,
        task_type: Option<&TaskType>,
        reason: Option<&str>,
        wait: Duration,
    ) -> Result<Drained, ClientError> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.post(&["api", "v1", "queue", "drain"])
            .json(&without_nulls(
                json!({ "type": task_type, "reason": reason, "wait_ms": wait_ms }),
            ))?
            .waiting(wait)
            .answer()
            .await
    }

    /// Cancels the selected waiting tasks.
    ///
    /// # Errors
    /// [`ClientError`]; tasks cancelled before the error stay cancelled.
    pub async fn purge_queue(&self, which: &Selection) -> Result<Changed, ClientError> {
        self.post(&["api", "v1", "queue", "purge"])
            .json(which)?
            .waiting(BULK)
            .answer()
            .await
    }

    /// Puts the selected failed tasks back into the queue.
    ///
    /// # Errors
    /// [`ClientError`]; tasks put back before the error stay in the queue.
    pub async fn requeue_dead(&self, which: &Selection) -> Result<Changed, ClientError> {
        self.requeue(which).await
    }

    /// Puts these failed tasks back into the queue. Skips those that have not failed or
    /// do not exist.
    ///
    /// # Errors
    /// [`ClientError`]; tasks put back before the error stay in the queue.
    pub async fn requeue_these(&self, ids: &[TaskId]) -> Result<Changed, ClientError> {
        self.requeue(&json!({ "ids": ids })).await
    }

    async fn requeue(&self, body: &impl Serialize) -> Result<Changed, ClientError> {
        self.post(&["api", "v1", "queue", "dead", "requeue"])
            .json(body)?
            .waiting(BULK)
            .answer()
            .await
    }
}

fn is_refused_input(error: &ClientError) -> bool {
    error
        .problem()
        .is_some_and(|problem| matches!(problem.status, 400 | 422))
}

/// Removes fields that are null: the API expects absent ones.
pub(super) fn without_nulls(mut body: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_says_only_what_it_names() {
        let none = Selection::default();
        assert!(none.is_empty());
        assert_eq!(serde_json::to_value(&none).unwrap(), json!({}));
        let filter = TaskFilter {
            task_type: Some("general".parse().unwrap()),
            end_reason: Some(EndReason::Poison),
            metadata: vec![("k".into(), "v".into())],
            created_after: Some(Timestamp::from_millis(0)),
            ..TaskFilter::default()
        };
        let some = Selection::from(filter);
        assert!(!some.is_empty());
        assert_eq!(
            serde_json::to_value(some).unwrap(),
            json!({
                "type": "general", "reason": "poison", "metadata": {"k": "v"},
                "created_after": "1970-01-01T00:00:00.000Z",
            })
        );
        let all = Selection {
            all: true,
            ..Selection::default()
        };
        assert!(!all.is_empty());
        assert_eq!(serde_json::to_value(all).unwrap(), json!({"all": true}));
    }

    #[test]
    fn absent_fields_are_left_out() {
        let body = without_nulls(json!({"type": null, "wait_ms": 0}));
        assert_eq!(body, json!({"wait_ms": 0}));
    }
}
