//! Messages to a program.

use deia_ledger::ClaimedTask;
use deia_model::{SessionId, TaskId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::bots::bot::AttemptKey;

/// A message to a program.
#[derive(Debug)]
pub(in super::super) enum Order {
    /// An attempt to carry out, and the time at which it times out.
    Task(Box<ClaimedTask>, Timestamp),
    /// The end of an attempt before its answer.
    Cancel { key: AttemptKey, reason: String },
    /// A question whether the program lives.
    Ping(u64),
    /// A line of a person.
    Input { id: Option<TaskId>, text: String },
    /// The end of the program.
    Shutdown,
}

/// The form of an order on the wire.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire<'a> {
    Task {
        id: TaskId,
        attempt: u32,
        task_type: &'a str,
        content: &'a str,
        metadata: &'a BTreeMap<String, Value>,
        tags: &'a [String],
        priority: String,
        deadline_at: Timestamp,
        timeout_seconds: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<SessionId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<&'a str>,
    },
    Cancel {
        id: TaskId,
        attempt: u32,
        reason: &'a str,
    },
    Ping {
        n: u64,
    },
    Input {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<TaskId>,
        text: &'a str,
    },
    Shutdown,
}

impl Order {
    /// Returns the line to write, with its end.
    pub(in super::super) fn line(&self) -> Vec<u8> {
        // Strings, numbers and parsed JSON always serialise.
        let mut line = serde_json::to_vec(&self.wire()).unwrap_or_default();
        line.push(b'\n');
        line
    }

    fn wire(&self) -> Wire<'_> {
        match self {
            Self::Task(claimed, deadline_at) => {
                let task = &claimed.task;
                Wire::Task {
                    id: task.id,
                    attempt: task.attempt,
                    task_type: task.task_type.as_str(),
                    content: task.content.as_deref().unwrap_or_default(),
                    metadata: &task.metadata,
                    tags: &task.tags,
                    priority: format!("P{}", task.priority.rank()),
                    deadline_at: *deadline_at,
                    timeout_seconds: task.timeout_seconds,
                    session_id: task.session_id,
                    traceparent: task.traceparent.as_deref(),
                }
            }
            Self::Cancel { key, reason } => Wire::Cancel {
                id: key.task,
                attempt: key.number,
                reason,
            },
            Self::Ping(n) => Wire::Ping { n: *n },
            Self::Input { id, text } => Wire::Input { id: *id, text },
            Self::Shutdown => Wire::Shutdown,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bots::command::tests::claimed;

    #[test]
    fn orders_are_one_line_each() {
        let claimed = claimed("two\nlines");
        let session = claimed.task.session_id;
        let (id, attempt) = (claimed.task.id, claimed.task.attempt);
        let key = AttemptKey {
            task: id,
            number: attempt,
        };
        let reason = "cancelled by ada".to_owned();
        let line = |order: Order| {
            let line = String::from_utf8(order.line()).unwrap();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            serde_json::from_str::<Value>(&line).unwrap()
        };
        let task = line(Order::Task(
            Box::new(claimed),
            Timestamp::from_millis(1_000),
        ));
        assert_eq!(task["type"], "task");
        assert_eq!(
            (&task["id"], &task["attempt"]),
            (&json!(id), &json!(attempt))
        );
        assert_eq!(task["session_id"], json!(session));
        assert_eq!(task["content"], "two\nlines");
        assert_eq!(task["deadline_at"], "1970-01-01T00:00:01.000Z");
        assert_eq!(
            line(Order::Cancel { key, reason }),
            json!({"type": "cancel", "id": id, "attempt": attempt, "reason": "cancelled by ada"})
        );
        assert_eq!(line(Order::Ping(3)), json!({"type": "ping", "n": 3}));
        assert_eq!(
            line(Order::Input {
                id: None,
                text: "hi".into()
            }),
            json!({"type": "input", "text": "hi"})
        );
        assert_eq!(line(Order::Shutdown), json!({"type": "shutdown"}));
    }
}
