//! Which tasks are meant: in the query of a list, or in the body of a request
//! that changes many.

use std::collections::BTreeMap;

use deia_hive::model::{
    BotName, EndReason, Priority, TaskFilter, TaskId, TaskStatus, TaskType, Timestamp, Violation,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{call::Call, problem::Problem};
use crate::text::split_key;

/// What the query of a list may say besides `limit` and `cursor`.
pub(super) fn from_query(call: &Call) -> Result<TaskFilter, Problem> {
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
        dedup_key: call.query::<String>("dedup_key")?,
        created_after: point_in_time(call, "created_after")?,
        created_before: point_in_time(call, "created_before")?,
    })
}

fn priority(call: &Call) -> Result<Option<Priority>, Problem> {
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

pub(super) fn point_in_time(call: &Call, name: &'static str) -> Result<Option<Timestamp>, Problem> {
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

/// The tasks that are meant by a request that changes many: all that fit
/// everything that is said, or those that are named.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// These, and nothing else may be said. At most 1,000.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    ids: Option<Vec<TaskId>>,
    /// In this status.
    #[serde(default)]
    status: Option<TaskStatus>,
    /// Of this type.
    #[serde(rename = "type", default)]
    #[schema(value_type = Option<String>, example = "general")]
    task_type: Option<TaskType>,
    /// Of this priority.
    #[serde(default)]
    priority: Option<Priority>,
    /// Submitted by this user.
    #[serde(default)]
    submitter: Option<String>,
    /// That failed for this reason.
    #[serde(default)]
    reason: Option<EndReason>,
    /// With all of these tags.
    #[serde(default)]
    tags: Vec<String>,
    /// With these values, as text, in its metadata.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: BTreeMap<String, String>,
    /// With this `dedup_key`.
    #[serde(default)]
    dedup_key: Option<String>,
    /// Accepted at this time or later.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    created_after: Option<Timestamp>,
    /// Accepted before this time.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
    /// All of them: needed when nothing else is said.
    #[serde(default)]
    all: bool,
}

/// The tasks that a request may mean.
pub(super) enum Meant {
    /// These.
    These(Vec<TaskId>),
    /// All that fit.
    Fitting(TaskFilter),
}

/// The ids that one request may name.
const IDS_MAX: usize = 1_000;

impl Selection {
    /// What is meant.
    ///
    /// # Errors
    /// Nothing is said, ids and more, or more ids than are allowed.
    pub(super) fn meant(self) -> Result<Meant, Problem> {
        let (all, ids) = (self.all, self.ids.clone());
        let filter = self.into_filter();
        let empty = filter == TaskFilter::default();
        match ids {
            Some(ids) if !empty || all => Err(wrong(
                "/ids",
                format!("names {} tasks; nothing else may be said then", ids.len()),
            )),
            Some(ids) if ids.is_empty() || ids.len() > IDS_MAX => Err(wrong(
                "/ids",
                format!("has {} ids; allowed are 1 to {IDS_MAX}", ids.len()),
            )),
            Some(ids) => Ok(Meant::These(ids)),
            None if empty && !all => Err(wrong(
                "",
                "says nothing of which tasks are meant; \"all\": true means all".into(),
            )),
            None => Ok(Meant::Fitting(filter)),
        }
    }

    fn into_filter(self) -> TaskFilter {
        TaskFilter {
            status: self.status,
            task_type: self.task_type,
            priority: self.priority,
            bot: None,
            submitter: self.submitter,
            end_reason: self.reason,
            tags: self.tags,
            metadata: self.metadata.into_iter().collect(),
            dedup_key: self.dedup_key,
            created_after: self.created_after,
            created_before: self.created_before,
        }
    }
}

/// Refuses what is wrong at that place.
pub(super) fn wrong(pointer: &str, detail: String) -> Problem {
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
    fn something_must_be_said() {
        let id = TaskId::new();
        for (body, expected) in [
            (json!({}), Err(())),
            (json!({"all": true}), Ok(0)),
            (json!({"type": "general"}), Ok(0)),
            (json!({"tags": ["a"]}), Ok(0)),
            (json!({"ids": [id]}), Ok(1)),
            (json!({"ids": []}), Err(())),
            (json!({"ids": [id], "all": true}), Err(())),
            (json!({"ids": [id], "priority": "P1"}), Err(())),
            (json!({"ids": vec![id; 1_001]}), Err(())),
        ] {
            let selection: Selection = serde_json::from_value(body.clone()).unwrap();
            let ids = match selection.meant() {
                Ok(Meant::These(ids)) => Ok(ids.len()),
                Ok(Meant::Fitting(_)) => Ok(0),
                Err(_) => Err(()),
            };
            assert_eq!(ids, expected, "{body}");
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
