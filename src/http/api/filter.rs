//! Filters of tasks: in the query of a list, or in the body of a request that changes
//! many tasks.

use std::collections::BTreeMap;

use deia_model::{
    BotName, EndReason, Priority, SessionId, TaskFilter, TaskId, TaskStatus, TaskType, Timestamp,
    Violation, split_key,
};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        Schema,
        schema::{ObjectBuilder, Type},
    },
};

use crate::http::{
    api::parameters::KeyAndText,
    body::{json, json::given, problem::Problem},
    context::RequestCtx,
};

/// The parameters of a list of tasks that [`from_query`] reads, beside `status`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a description; read by hand, one by one")]
pub(crate) struct InQuery {
    /// Only those of this type
    #[param(rename = "type")]
    task_type: Option<TaskType>,
    /// Only those of this priority
    priority: Option<Priority>,
    /// Only those that this bot has, or had last
    bot: Option<BotName>,
    /// Only those that this user submitted
    submitter: Option<String>,
    /// Only those that failed or were cancelled for this reason: `attempts`, `poison`,
    /// `expired`, `dependency`, `cancelled`, `session`
    reason: Option<EndReason>,
    /// Only those with this tag; may be there more than once
    tag: Option<Vec<String>>,
    /// Only those with this `key:value` in their metadata; may be there more than once
    metadata: Option<Vec<KeyAndText>>,
    /// Only those of this session
    session_id: Option<SessionId>,
    /// Only those with this `dedup_key`
    dedup_key: Option<String>,
    /// Only those accepted then or later
    #[param(value_type = Option<String>, format = DateTime)]
    created_after: Option<Timestamp>,
    /// Only those accepted before
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
}

/// Reads the filter in the query of a list.
pub(crate) fn from_query(call: &RequestCtx) -> Result<TaskFilter, Problem> {
    Ok(TaskFilter {
        status: call.query::<TaskStatus>("status")?,
        task_type: call.query::<TaskType>("type")?,
        priority: priority(call)?,
        bot: call.query::<BotName>("bot")?,
        submitter: call.query::<String>("submitter")?,
        end_reason: call.query::<EndReason>("reason")?,
        tags: call.queries("tag").map(str::to_owned).collect(),
        metadata: call
            .queries("metadata")
            .map(key_and_text)
            .collect::<Result<_, _>>()?,
        session: call.query::<SessionId>("session_id")?,
        dedup_key: call.query::<String>("dedup_key")?,
        created_after: point_in_time(call, "created_after")?,
        created_before: point_in_time(call, "created_before")?,
    })
}

fn priority(call: &RequestCtx) -> Result<Option<Priority>, Problem> {
    let Some(text) = call.query::<String>("priority")? else {
        return Ok(None);
    };
    let rank = text.strip_prefix('P').and_then(|rank| rank.parse().ok());
    match rank.and_then(Priority::from_rank) {
        Some(priority) if text.len() == 2 => Ok(Some(priority)),
        _ => Err(Problem::parameter(
            "priority",
            "is not valid: expected P0, P1, P2 or P3",
        )),
    }
}

fn key_and_text(pair: &str) -> Result<(String, String), Problem> {
    let wrong = "is not valid: expected key:value (a : in the key is written \\:, a \\ as \\\\)";
    split_key(pair, ':').ok_or_else(|| Problem::parameter("metadata", wrong))
}

pub(crate) fn point_in_time(
    call: &RequestCtx,
    name: &'static str,
) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = call.query::<String>(name)? else {
        return Ok(None);
    };
    // As in a body: one way to write a time.
    match text.parse() {
        Ok(at) => Ok(Some(at)),
        Err(_) if text.replace(' ', "+").parse::<Timestamp>().is_ok() => Err(Problem::parameter(
            name,
            "is not valid: a + in a query stands for a blank; write %2B",
        )),
        Err(error) => Err(Problem::parameter(name, format!("is not valid: {error}"))),
    }
}

/// The tasks that a bulk request changes: those it names, or all that match its filters.
/// `S` is the statuses in which tasks may be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, bound = "S: Deserialize<'de>")]
pub(crate) enum Selection<S: ToSchema> {
    /// The named tasks.
    These(These),
    /// All tasks that match.
    Fitting(Filters<S>),
}

/// Tasks named by their ids.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct These {
    /// The tasks.
    #[schema(min_items = 1, max_items = 1000)]
    ids: Vec<TaskId>,
}

/// The tasks that match every filter; there must be one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, bound = "S: Deserialize<'de>")]
#[schema(min_properties = 1)]
pub(crate) struct Filters<S: ToSchema> {
    /// In this status.
    #[serde(default = "nothing", deserialize_with = "given")]
    #[schema(nullable = false)]
    status: Option<S>,
    /// Only tasks of this type.
    #[serde(rename = "type", default, deserialize_with = "given")]
    #[schema(nullable = false)]
    task_type: Option<TaskType>,
    /// Only tasks of this priority.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    priority: Option<Priority>,
    /// Submitted by this user.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    submitter: Option<String>,
    /// That failed for this reason.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    reason: Option<EndReason>,
    /// With all of these tags.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_items = 1)]
    tags: Option<Vec<String>>,
    /// With these values, as text, in its metadata.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = some_metadata)]
    metadata: Option<BTreeMap<String, String>>,
    /// In this session.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    session_id: Option<SessionId>,
    /// With this `dedup_key`.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    dedup_key: Option<String>,
    /// Accepted at this time or later.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    created_after: Option<Timestamp>,
    /// Accepted before this time.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
    /// All tasks: needed when there is no other filter.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = only_true)]
    all: Option<bool>,
}

/// The statuses of tasks that wait.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Waiting {
    /// Scheduled for later, or waiting for the next attempt.
    Pending,
    /// Ready to run.
    Queued,
}

impl From<Waiting> for TaskStatus {
    fn from(status: Waiting) -> Self {
        match status {
            Waiting::Pending => Self::Pending,
            Waiting::Queued => Self::Queued,
        }
    }
}

/// The status of tasks that failed.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failed {
    /// Failed, with no attempts left.
    Failed,
}

impl From<Failed> for TaskStatus {
    fn from(Failed::Failed: Failed) -> Self {
        Self::Failed
    }
}

/// Returns the schema of a flag that is `true` or left out.
fn only_true() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some(
            "All of them: needed when nothing else is said. `true`, or left out.",
        ))
        .enum_values(Some([true]))
        .into()
}

/// Returns the schema of the filter by metadata.
fn some_metadata() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("With these values, as text, in its metadata."))
        .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)))
        .min_properties(Some(1))
        .into()
}

/// Returns `None` without asking for a default of `T`.
fn nothing<T>() -> Option<T> {
    None
}

impl<S: ToSchema + DeserializeOwned> Selection<S> {
    /// Reads a selection: the named tasks when there is a member `ids`.
    ///
    /// # Errors
    /// As [`json::decode`].
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        let members = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body);
        match members.is_ok_and(|members| members.contains_key("ids")) {
            true => json::decode(body).map(Self::These),
            false => json::decode(body).map(Self::Fitting),
        }
    }
}

/// Maximum number of ids in one request. Fact: the API, whose schema states it.
const IDS_MAX: usize = 1_000;

impl These {
    /// Returns the named tasks.
    ///
    /// # Errors
    /// There are none, or too many.
    pub(crate) fn meant(self) -> Result<Vec<TaskId>, Problem> {
        match self.ids.len() {
            1..=IDS_MAX => Ok(self.ids),
            n => Err(wrong(
                "/ids",
                format!("has {n} ids; allowed are 1 to {IDS_MAX}"),
            )),
        }
    }
}

impl<S: ToSchema + Into<TaskStatus>> Filters<S> {
    /// Returns the filter.
    ///
    /// # Errors
    /// There is no filter, or an empty one.
    pub(crate) fn meant(self) -> Result<TaskFilter, Problem> {
        let says_nothing = [
            ("/tags", self.tags.as_ref().is_some_and(Vec::is_empty)),
            (
                "/metadata",
                self.metadata.as_ref().is_some_and(BTreeMap::is_empty),
            ),
            ("/all", self.all == Some(false)),
        ];
        if let Some((pointer, _)) = says_nothing.into_iter().find(|(_, empty)| *empty) {
            return Err(wrong(pointer, "says nothing; leave it out".into()));
        }
        let all = self.all.is_some();
        let filter = self.into_filter();
        match filter == TaskFilter::default() && !all {
            true => Err(wrong(
                "",
                "says nothing of which tasks are meant; \"all\": true means all".into(),
            )),
            false => Ok(filter),
        }
    }

    fn into_filter(self) -> TaskFilter {
        TaskFilter {
            status: self.status.map(Into::into),
            task_type: self.task_type,
            priority: self.priority,
            bot: None,
            submitter: self.submitter,
            end_reason: self.reason,
            tags: self.tags.unwrap_or_default(),
            metadata: self.metadata.into_iter().flatten().collect(),
            session: self.session_id,
            dedup_key: self.dedup_key,
            created_after: self.created_after,
            created_before: self.created_before,
        }
    }
}

/// Returns the problem with one place in a body.
pub(crate) fn wrong(pointer: &str, detail: String) -> Problem {
    Problem::invalid(vec![Violation {
        pointer: pointer.into(),
        detail,
    }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filters_without_a_condition_are_refused() {
        let id = TaskId::new();
        for (body, expected) in [
            (json!({}), Err("")),
            (json!({"all": true}), Ok(0)),
            (json!({"all": false}), Err("/all")),
            (json!({"all": true, "type": "general"}), Ok(0)),
            (json!({"type": "general"}), Ok(0)),
            (json!({"type": null}), Err("/type")),
            (json!({"status": "failed"}), Ok(0)),
            (json!({"status": "queued"}), Err("/status")),
            (json!({"tags": ["a"]}), Ok(0)),
            (json!({"tags": []}), Err("/tags")),
            (json!({"metadata": {}}), Err("/metadata")),
            (json!({"ids": [id]}), Ok(1)),
            (json!({"ids": null}), Err("/ids")),
            (json!({"ids": []}), Err("/ids")),
            (json!({"ids": [id], "all": true}), Err("/all")),
            (json!({"ids": [id], "priority": "P1"}), Err("/priority")),
            (json!({"ids": vec![id; 1_001]}), Err("/ids")),
        ] {
            let read = Selection::<Failed>::read(body.to_string().as_bytes());
            let ids = read.and_then(|selection| match selection {
                Selection::These(these) => these.meant().map(|ids| ids.len()),
                Selection::Fitting(filters) => filters.meant().map(|_| 0),
            });
            match (ids, expected) {
                (Ok(ids), Ok(expected)) => assert_eq!(ids, expected, "{body}"),
                (Err(problem), Err(pointer)) => {
                    let told = format!("{problem:?}");
                    assert!(
                        told.contains(&format!("pointer: {pointer:?}")),
                        "{body}: {told}"
                    );
                }
                (ids, _) => panic!("{body}: {ids:?}"),
            }
        }
    }

    #[test]
    fn pairs_are_split_at_the_first_colon() {
        assert_eq!(key_and_text("a:b:c").unwrap(), ("a".into(), "b:c".into()));
        assert_eq!(key_and_text("a:").unwrap(), ("a".into(), String::new()));
        assert_eq!(key_and_text(":b").unwrap(), (String::new(), "b".into()));
        assert_eq!(
            key_and_text(r"a\:\\:b\").unwrap(),
            (r"a:\".into(), r"b\".into())
        );
        assert!(key_and_text("ab").is_err() && key_and_text(r"a\:b").is_err());
    }
}
