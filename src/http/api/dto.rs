//! Bodies that are read in steps, so that each violation has its pointer, and schemas of
//! bodies that are written by hand.

use deia_model::{
    BotLimits, BotName, BotProbe, BotSpec, Capabilities, CommandExecutor, Executor, HttpExecutor,
    Labels, LlmExecutor, NewTask, RemoteExecutor, SecretRefs, SimulatedExecutor, Violation,
    WorkerExecutor,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::body::{
    catalogue::Code,
    json::{Object, decode_part, given},
};

/// Tasks to be accepted, all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskBatch {
    /// 1 to `tasks.max_batch` of them.
    #[schema(value_type = Vec<NewTask>, min_items = 1)]
    pub(crate) tasks: Vec<Object<NewTask>>,
}

/// A bot's specification as it comes in. The executor is read in a second step:
/// its kind decides what it may have, and so each wrong field has its place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BotSpecBody {
    executor: Map<String, Value>,
    #[serde(default, deserialize_with = "given")]
    capabilities: Option<Object<Capabilities>>,
    #[serde(default, deserialize_with = "given")]
    secrets: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "given")]
    limits: Option<Object<BotLimits>>,
    #[serde(default)]
    idle_timeout_seconds: Option<u64>,
    #[serde(default)]
    probe: Option<Object<BotProbe>>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default, deserialize_with = "given")]
    labels: Option<Object<Labels>>,
    #[serde(default)]
    template: Option<String>,
    #[serde(default)]
    fallback: Vec<BotName>,
}

impl TryFrom<BotSpecBody> for BotSpec {
    type Error = Violation;

    fn try_from(body: BotSpecBody) -> Result<Self, Violation> {
        const AT: &str = "/executor";
        let BotSpecBody {
            mut executor,
            capabilities,
            secrets,
            limits,
            idle_timeout_seconds,
            probe,
            group,
            labels,
            template,
            fallback,
        } = body;
        let kind = executor.remove("kind");
        let fields = Value::Object(executor);
        let executor = match kind.as_ref().and_then(Value::as_str) {
            Some("command") => decode_part::<CommandExecutor>(fields, AT).map(Executor::Command)?,
            Some("remote") => decode_part::<RemoteExecutor>(fields, AT).map(Executor::Remote)?,
            Some("worker") => decode_part::<WorkerExecutor>(fields, AT).map(Executor::Worker)?,
            Some("simulated") => {
                decode_part::<SimulatedExecutor>(fields, AT).map(Executor::Simulated)?
            }
            Some("http") => decode_part::<HttpExecutor>(fields, AT).map(Executor::Http)?,
            Some("llm") => decode_part::<LlmExecutor>(fields, AT)
                .map(Box::new)
                .map(Executor::Llm)?,
            _ => {
                return Err(Violation {
                    pointer: format!("{AT}/kind"),
                    detail: "must be \"command\", \"worker\", \"http\", \"llm\", \"remote\" or \"simulated\""
                        .into(),
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
            limits: limits.map(|object| object.0).unwrap_or_default(),
            idle_timeout_seconds,
            probe: probe.map(|object| object.0),
            group,
            labels: labels.map(|object| object.0).unwrap_or_default(),
            template,
            fallback,
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
pub(crate) struct SecretBody {
    /// The value. It is answered, listed and logged nowhere.
    #[schema(min_length = 1, example = "the value of the secret")]
    value: String,
}

impl SecretBody {
    /// Reads the value. Errors describe the fault without repeating the value.
    pub(crate) fn value_of(body: Value) -> Result<String, Violation> {
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

/// An event of a log that is followed.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; events are written by hand")]
pub(crate) struct LogEvent {
    /// The position in the log after it; absent from an `error`.
    id: Option<String>,
    /// Absent: a line. `gap`: lines are not there any more. `error`: the log cannot be
    /// read.
    #[schema(example = "gap")]
    event: Option<String>,
    /// The line; of a `gap` an object with `position` and `missed_bytes`, as text.
    data: String,
}

/// An event of the live stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; events are written by hand")]
pub(crate) struct LiveEvent {
    /// Value of `Last-Event-ID` that goes on after the event; opaque to callers who see only
    /// their own tasks. An id alone, without data, comes with each heartbeat.
    #[schema(example = "1.4711")]
    id: Option<String>,
    /// The action of the event. `deia.gap`: events are missing here. `deia.behind`: the client
    /// is too slow, and the stream ends. `deia.end`: the stream ends.
    #[schema(example = "task.completed")]
    event: String,
    /// An `Event` as text; of a `deia.gap` an object with `missed`, `forked` and `next`; of a
    /// `deia.end` or `deia.behind` an object with the `reason`: `stopping`, `suspended`,
    /// `access_changed`, `failed` or `slow`.
    data: String,
}

/// An event of the stream of an output.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; events are written by hand")]
pub(crate) struct LiveOutput {
    /// Value of `Last-Event-ID` that goes on after the event: the attempt, and the number of
    /// bytes of its output up to here. An id alone, without data, comes with each heartbeat.
    #[schema(example = "1.4096")]
    id: Option<String>,
    /// `output`: a piece. `gap`: the output of an attempt is missing from there on. `end`: the
    /// attempt is over. `deia.behind`: the client is too slow, and the stream ends. `deia.end`:
    /// the hive ends the stream.
    #[schema(example = "output")]
    event: String,
    /// JSON as text. Of an `output` an object with `attempt`, `offset` (of the first byte) and
    /// `output`, or `base64`; of a `gap` one with `attempt`, `offset` and `reason`; of an `end`
    /// one with `attempt`, `length`, `outcome`, `status` (of the task) and `last`; of a
    /// `deia.end` or `deia.behind` one with the `reason`: `stopping`, `access_changed`,
    /// `forgotten`, `failed` or `slow`.
    data: String,
}

/// An entry of the catalogue of errors.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorEntry {
    /// The stable code.
    #[schema(example = "task_not_finished")]
    code: &'static str,
    /// The HTTP status that it comes with.
    #[schema(example = 409)]
    status: u16,
    /// The meaning in a few words.
    title: &'static str,
    /// The remedy.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_executor_fields_are_refused_with_the_pointer() {
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
            (r#"{"executor":{"kind":"http"}}"#, "/executor/url"),
            (
                r#"{"executor":{"kind":"http","url":"https://a.example/","key":"x"}}"#,
                "/executor/key",
            ),
            (
                r#"{"executor":{"kind":"llm","base_url":"https://a.example/","model":"m","api":"odd"}}"#,
                "/executor/api",
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
