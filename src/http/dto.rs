//! Shapes of the wire that the model does not have.

mod access;

pub(super) use access::{
    CanIAnswer, CanIBody, CreatedKey, EndedSessions, NewKeyBody, NewUserBody, RoleInfo,
    RotateKeyBody, SessionView, UserChangeBody, WhoAmI,
};
use deia_model::{
    BotName, BotSpec, Capabilities, CommandExecutor, Executor, NewTask, SecretRefs,
    SimulatedExecutor, Task, TaskId, TaskStatus, Timestamp, Violation, schema::Entity,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    catalogue::Code,
    json::{Object, decode_part, given},
    schemas::summary,
};

/// Tasks to be accepted, all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskBatch {
    /// 1 to `tasks.max_batch` of them.
    #[schema(value_type = Vec<NewTask>, min_items = 1)]
    pub(super) tasks: Vec<Object<NewTask>>,
}

/// The tasks of a batch that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchAccepted {
    /// One for each task, in order.
    pub(super) ids: Vec<TaskId>,
}

/// Where a task is in its life.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskState {
    /// The task.
    id: TaskId,
    /// Where it is in its life.
    status: TaskStatus,
    /// How far it is, 0 to 1.
    progress: f64,
    /// The number of the last attempt, from 1; 0 before the first.
    attempt: u32,
    /// How many attempts may fail.
    max_attempts: u32,
    /// The bot that has it, or had it last.
    assigned_bot: Option<BotName>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Not before then.
    #[schema(value_type = String, format = DateTime)]
    run_at: Timestamp,
    /// When the last attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When its end was recorded.
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Timestamp>,
    /// When its cancellation was asked for while it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    cancel_requested_at: Option<Timestamp>,
}

impl From<Task> for TaskState {
    fn from(task: Task) -> Self {
        Self {
            id: task.id,
            status: task.status,
            progress: task.progress,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            assigned_bot: task.assigned_bot,
            created_at: task.created_at,
            run_at: task.run_at,
            started_at: task.started_at,
            completed_at: task.completed_at,
            cancel_requested_at: task.cancel_requested_at,
        }
    }
}

/// A bot's specification as it comes in. The executor is read in a second step:
/// its kind decides what it may have, and so each wrong field has its place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BotSpecBody {
    executor: Map<String, Value>,
    #[serde(default, deserialize_with = "given")]
    capabilities: Option<Object<Capabilities>>,
    #[serde(default, deserialize_with = "given")]
    secrets: Option<Map<String, Value>>,
}

impl TryFrom<BotSpecBody> for BotSpec {
    type Error = Violation;

    fn try_from(body: BotSpecBody) -> Result<Self, Violation> {
        const AT: &str = "/executor";
        let BotSpecBody {
            mut executor,
            capabilities,
            secrets,
        } = body;
        let kind = executor.remove("kind");
        let fields = Value::Object(executor);
        let executor = match kind.as_ref().and_then(Value::as_str) {
            Some("command") => decode_part::<CommandExecutor>(fields, AT).map(Executor::Command)?,
            Some("simulated") => {
                decode_part::<SimulatedExecutor>(fields, AT).map(Executor::Simulated)?
            }
            _ => {
                return Err(Violation {
                    pointer: format!("{AT}/kind"),
                    detail: "must be \"command\" or \"simulated\"".into(),
                });
            }
        };
        Ok(Self {
            executor,
            capabilities: capabilities.map(|object| object.0).unwrap_or_default(),
            secrets: match secrets {
                Some(secrets) => references(secrets)?,
                None => SecretRefs::new(),
            },
        })
    }
}

/// Reads references to secrets. A malformed one is not repeated in the error: it may be
/// a secret itself.
fn references(secrets: Map<String, Value>) -> Result<SecretRefs, Violation> {
    let read = |(name, value): (String, Value)| {
        match serde_json::from_value(value) {
        Ok(reference) => Ok((name, reference)),
        Err(_) => Err(Violation {
            pointer: format!("/secrets/{}", name.replace('~', "~0").replace('/', "~1")),
            detail: "must be {\"file\": PATH}, {\"env\": NAME} or {\"store\": NAME}: a reference, not the secret".into(),
        }),
    }
    };
    secrets.into_iter().map(read).collect()
}

/// The value of a secret that is put into the store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "a schema; read by hand, so that no error repeats it"
)]
pub(super) struct SecretBody {
    /// The value. It is answered, listed and logged nowhere.
    #[schema(min_length = 1, example = "the value of the secret")]
    value: String,
}

impl SecretBody {
    /// Reads the value. Errors describe the fault without repeating the value.
    pub(super) fn value_of(body: Value) -> Result<String, Violation> {
        let only = |mut fields: Map<String, Value>| match fields.remove("value") {
            Some(Value::String(value)) if fields.is_empty() => Some(value),
            _ => None,
        };
        let value = match body {
            Value::Object(fields) => only(fields),
            _ => None,
        };
        value.ok_or_else(|| Violation {
            pointer: "/value".into(),
            detail: "must be a string, and all that the body has: {\"value\": \"...\"}".into(),
        })
    }
}

/// The end of a bot's log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogLines {
    /// The last lines, the oldest first.
    pub(super) lines: Vec<String>,
}

/// An event of a log that is followed.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; events are written by hand")]
pub(super) struct LogEvent {
    /// The position in the log after it; absent from an `error`.
    id: Option<String>,
    /// Absent: a line. `gap`: lines are not there any more. `error`: the log cannot be
    /// read.
    #[schema(example = "gap")]
    event: Option<String>,
    /// The line; of a `gap` an object with `position` and `missed_bytes`, as text.
    data: String,
}

/// An entry of the catalogue of errors.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorEntry {
    /// The stable code.
    #[schema(example = "task_not_finished")]
    code: &'static str,
    /// The HTTP status that it comes with.
    #[schema(example = 409)]
    status: u16,
    /// What it is, in a few words.
    title: &'static str,
    /// What to do about it.
    hint: &'static str,
}

impl From<Code> for ErrorEntry {
    fn from(code: Code) -> Self {
        Self {
            code: code.as_str(),
            status: code.status().as_u16(),
            title: code.title(),
            hint: code.hint(),
        }
    }
}

/// A schema that can be read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SchemaEntry {
    /// The name of the entity.
    #[schema(example = "Task")]
    name: &'static str,
    /// What the entity is.
    description: String,
    /// Where its schema is.
    #[schema(example = "/api/schemas/Task")]
    url: String,
}

impl From<&Entity> for SchemaEntry {
    fn from(entity: &Entity) -> Self {
        Self {
            name: entity.name,
            description: summary(entity),
            url: format!("/api/schemas/{}", entity.name),
        }
    }
}

/// All schemas.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SchemaList {
    /// The version that all of them have.
    #[schema(example = "1.0.0")]
    pub(super) schema_version: &'static str,
    /// The schemas, those of the model first.
    pub(super) items: Vec<SchemaEntry>,
}

/// The answer of a probe.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Probe {
    /// `alive`, `ready` or `healthy`.
    #[schema(example = "ready")]
    pub(super) status: &'static str,
}

/// All of a list that is never long.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items<T> {
    /// The items, in a stable order.
    pub(super) items: Vec<T>,
}

/// A thread that actors run on.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "a schema; its status is serialised by the supervision runtime"
)]
pub(super) struct Arbiter {
    /// `tree` for that of the supervisors, else that of its group and a number.
    #[schema(example = "bots-1")]
    name: String,
    /// The group that it belongs to; absent for that of the supervisors.
    #[schema(example = "bots")]
    group: Option<String>,
    /// Actors that run there.
    children: u64,
    /// Share of the last second or more that they have worked, 0 to 1. An estimate.
    busy_share: f64,
    /// Since when it has given no sign of life; absent while it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    silent_since: Option<String>,
    /// Whether that has been too long: no actor is placed there any more.
    blocked: bool,
}

/// One child of the supervision tree and all below it, at one moment. There is
/// more in it than is named here.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "a schema; the tree itself is serialised by the supervision runtime"
)]
pub(super) struct SupervisorNode {
    /// Name among its siblings.
    name: String,
    /// Names from the root on, separated by `/`.
    #[schema(example = "hive/core/scheduler")]
    path: String,
    /// `worker` or `supervisor`.
    kind: String,
    /// Of a supervisor: `one_for_one`, `one_for_all`, `rest_for_one` or `dynamic`.
    strategy: Option<String>,
    /// What it is doing: `running`, `restarting`, `suspended`, ...
    #[schema(example = "running")]
    state: String,
    /// Counts its runs, from 1; 0 if it has never been started.
    incarnation: u64,
    /// How long it has been up, in milliseconds.
    uptime_ms: Option<u64>,
    /// Automatic restarts since the tree was started.
    restarts: u64,
    /// Messages waiting.
    mailbox_depth: u64,
    /// Messages handled since the tree was started.
    handled: u64,
    /// The thread that a worker runs on: see `GET /api/v1/arbiters`.
    #[schema(example = "bots-1")]
    arbiter: Option<String>,
    /// Whether it has messages waiting and handles none of them.
    stalled: bool,
    /// Who suspended it, why, and since when; absent unless it is suspended.
    #[schema(value_type = Option<Object>)]
    suspended: Option<Value>,
    /// Why and when it last went down.
    #[schema(value_type = Option<Object>)]
    last_exit: Option<Value>,
    /// In the order of their start.
    #[schema(no_recursion)]
    children: Vec<SupervisorNode>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_field_of_an_executor_has_its_place() {
        for (body, expected) in [
            (
                r#"{"executor":{"kind":"command","command":["true"],"shell":1}}"#,
                "/executor/shell",
            ),
            (
                r#"{"executor":{"kind":"command","command":["true",7]}}"#,
                "/executor/command/1",
            ),
            (r#"{"executor":{"kind":"command"}}"#, "/executor/command"),
            (r#"{"executor":{"kind":"rocket"}}"#, "/executor/kind"),
            (r#"{"executor":{"kind":5}}"#, "/executor/kind"),
            (r#"{"executor":{}}"#, "/executor/kind"),
            (
                r#"{"executor":{"kind":"command","command":["a"]},"secrets":{"A":{"value":"x"}}}"#,
                "/secrets/A",
            ),
            (
                r#"{"executor":{"kind":"command","command":["a"]},"secrets":{"A":"hunter2"}}"#,
                "/secrets/A",
            ),
            (
                r#"{"executor":{"kind":"simulated","latency_ms":"x"}}"#,
                "/executor/latency_ms",
            ),
            (
                r#"{"executor":{"kind":"simulated","behavior":"odd"}}"#,
                "/executor/behavior",
            ),
        ] {
            let body: BotSpecBody = serde_json::from_str(body).unwrap();
            let violation = BotSpec::try_from(body).unwrap_err();
            assert_eq!(violation.pointer, expected, "{violation:?}");
            assert!(!violation.detail.contains("hunter2"), "{violation:?}");
        }
        let body = r#"{"executor":{"kind":"command","command":["tr","a-z","A-Z"]}}"#;
        let body: BotSpecBody = serde_json::from_str(body).unwrap();
        assert_eq!(BotSpec::try_from(body).unwrap().executor.kind(), "command");
    }
}
