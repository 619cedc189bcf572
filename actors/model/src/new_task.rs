//! Submissions: their form, their limits, and the violations of these.

use std::collections::BTreeMap;

use super::{
    Dependency, DependencyFailure, Priority, RetryOverride, SessionId, TaskType, Timestamp,
    from_object_or_null, is_at_most_deep, secret, text::Tag,
};
use serde::{Deserialize, Serialize};

/// Maximum nesting of metadata, in levels of lists and objects; the metadata object is
/// the first. JSON parsers limit the depth, and a list of tasks is deeper than a task.
/// Fact: the API, whose schema states it.
pub const METADATA_LEVELS: usize = 32;

/// Maximum number of tags of a task. Fact: the API, whose schema states it.
const MAX_TAGS: usize = 32;
/// Maximum length of a tag, in characters. Fact: the API, whose schema states it.
pub(super) const MAX_TAG: usize = 128;

/// A task to be submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// The type of the task: `development`, `analysis`, `writing`, `planning`,
    /// `general`, or another name of 1 to 63 characters of `a-z 0-9 _ - .`.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// The input of the task, passed to the bot. Limit: `tasks.max_content_bytes`.
    #[schema(example = "hello")]
    pub content: String,
    /// The priority of the task.
    #[serde(default)]
    pub priority: Priority,
    /// Labels for filtering: at most 32, of 1 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Tag>, max_items = 32)]
    pub tags: Vec<String>,
    /// The submitter's own data, passed to the bot. At most 32 levels deep, no
    /// duplicate members, no number that would lose digits. Limit:
    /// `tasks.max_metadata_bytes`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Earliest time of the start; now when absent or past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub run_at: Option<Timestamp>,
    /// The same as a delay after acceptance, in milliseconds: repeating a request with
    /// an idempotency key does not change it. Not with `run_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Number of attempts that may fail, 1 to 100; `tasks.default_max_attempts` when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub max_attempts: Option<u32>,
    /// Maximum duration of one attempt, in seconds; `tasks.default_timeout` when
    /// absent, at most `tasks.max_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub timeout_seconds: Option<u64>,
    /// Maximum time, in seconds, for which an attempt may neither write output nor report
    /// progress; that of its bot when absent. At most `tasks.max_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub idle_timeout_seconds: Option<u64>,
    /// Expected duration, in seconds, as estimated by the submitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration_seconds: Option<u64>,
    /// Retry settings of this task, where they differ from `tasks.retry` and from
    /// `tasks.by_type`.
    #[serde(
        default,
        deserialize_with = "from_object_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry: Option<RetryOverride>,
    /// The task fails with `end_reason` `expired` unless it has started by then; must
    /// be after `run_at`. `expires_after` of its type when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The same as a delay after acceptance, in milliseconds. Not with `expires_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub expires_in_ms: Option<u64>,
    /// While an unfinished task of the same user has this key, submitting returns that
    /// task (`deduplicated`) and accepts no new one. 1 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub dedup_key: Option<String>,
    /// An active session of the submitter: the task goes to the bot of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Tasks that must be completed before this one starts: ids, or `@<n>` for the n-th
    /// task of the same batch, counted from 0, which must precede this one. At most
    /// `tasks.max_dependencies`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// Consequence for this task when one of those fails or is cancelled.
    #[serde(default, skip_serializing_if = "DependencyFailure::is_default")]
    pub on_dependency_failure: DependencyFailure,
    /// True if `expires_at` was past on arrival. The ledger then refuses the task,
    /// unless it repeats a submission that was accepted.
    #[serde(skip)]
    pub came_expired: bool,
    /// The `Idempotency-Key` of the request.
    #[serde(skip)]
    pub idempotency_key: Option<String>,
    /// The W3C trace of the request, from its `traceparent` header.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

/// Reason for refusing a text that lists show.
const HOLDS_KEY: &str = "has a key of deia in it; keys are for the Authorization header only";

/// Limits of a task, from the settings of the hive.
#[derive(Clone, Copy, Debug)]
pub struct TaskLimits<'a> {
    /// Types that may be submitted (`tasks.types`); empty: any.
    pub types: &'a [TaskType],
    /// Maximum size of the content, in bytes (`tasks.max_content_bytes`).
    pub max_content_bytes: u64,
    /// Maximum size of the metadata as JSON, in bytes (`tasks.max_metadata_bytes`).
    pub max_metadata_bytes: u64,
    /// Maximum duration of one attempt, in seconds (`tasks.max_timeout`).
    pub max_timeout_seconds: u64,
    /// Maximum number of dependencies (`tasks.max_dependencies`).
    pub max_dependencies: u32,
}

impl NewTask {
    /// Creates a task of this type and content, with defaults for everything else.
    pub fn new(task_type: TaskType, content: impl Into<String>) -> Self {
        Self {
            task_type,
            content: content.into(),
            priority: Priority::default(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            run_at: None,
            delay_ms: None,
            max_attempts: None,
            timeout_seconds: None,
            idle_timeout_seconds: None,
            estimated_duration_seconds: None,
            retry: None,
            expires_at: None,
            expires_in_ms: None,
            dedup_key: None,
            session_id: None,
            depends_on: Vec::new(),
            on_dependency_failure: DependencyFailure::default(),
            came_expired: false,
            idempotency_key: None,
            traceparent: None,
        }
    }

    /// Turns delays after acceptance into points in time. Returns the errors in them;
    /// pointers are relative to the task.
    pub fn settle(&mut self, now: Timestamp) -> Vec<Violation> {
        let mut found = Vec::new();
        self.came_expired = self.expires_at.is_some_and(|at| at <= now);
        if self.expires_in_ms == Some(0) {
            found.push(Violation {
                pointer: "/expires_in_ms".into(),
                detail: "is 0; allowed is 1 or more".into(),
            });
        }
        let mut settle = |span: Option<u64>, at: &mut Option<Timestamp>, names: [&str; 2]| {
            let Some(span) = span else {
                return;
            };
            if at.is_some() {
                found.push(Violation {
                    pointer: format!("/{}", names[0]),
                    detail: format!("is given together with {}; give one of them", names[1]),
                });
            }
            *at = Some(now.plus_millis(span));
        };
        settle(
            self.delay_ms.take(),
            &mut self.run_at,
            ["delay_ms", "run_at"],
        );
        settle(
            self.expires_in_ms.take(),
            &mut self.expires_at,
            ["expires_in_ms", "expires_at"],
        );
        found
    }

    /// Returns the violations of these limits; pointers are relative to the task.
    pub fn violations(&self, limits: &TaskLimits<'_>) -> Vec<Violation> {
        let mut found = Vec::new();
        self.check_plan(limits, &mut found);
        let mut refuse = |pointer: &str, detail: String| {
            found.push(Violation {
                pointer: pointer.into(),
                detail,
            });
        };
        let max_content = limits.max_content_bytes;
        if self.content.len() as u64 > max_content {
            refuse(
                "/content",
                format!(
                    "is {} bytes long; the limit is {max_content} (tasks.max_content_bytes)",
                    self.content.len()
                ),
            );
        }
        if !limits.types.is_empty() && !limits.types.contains(&self.task_type) {
            let known: Vec<_> = limits.types.iter().map(TaskType::as_str).collect();
            refuse(
                "/type",
                format!(
                    "is not one of the configured types (tasks.types): {}",
                    known.join(", ")
                ),
            );
        }
        if self.tags.len() > MAX_TAGS {
            refuse(
                "/tags",
                format!("has {} tags; the limit is {MAX_TAGS}", self.tags.len()),
            );
        }
        for (i, tag) in self.tags.iter().enumerate() {
            if !(1..=MAX_TAG).contains(&tag.chars().count()) {
                refuse(
                    &format!("/tags/{i}"),
                    format!(
                        "is {} characters long; allowed are 1 to {MAX_TAG}",
                        tag.chars().count()
                    ),
                );
            } else if secret::holds_key(tag) {
                refuse(&format!("/tags/{i}"), HOLDS_KEY.into());
            }
        }
        let max_metadata = limits.max_metadata_bytes;
        let metadata = serde_json::to_string(&self.metadata);
        let metadata_bytes = metadata.as_ref().map_or(u64::MAX, |text| text.len() as u64);
        if metadata.is_ok_and(|text| secret::holds_key(&text)) {
            refuse("/metadata", HOLDS_KEY.into());
        }
        if !self.metadata.is_empty() && metadata_bytes > max_metadata {
            refuse(
                "/metadata",
                format!(
                    "is {metadata_bytes} bytes of JSON; the limit is {max_metadata} (tasks.max_metadata_bytes)"
                ),
            );
        }
        for (key, value) in &self.metadata {
            if !is_at_most_deep(value, METADATA_LEVELS - 1) {
                let key = key.replace('~', "~0").replace('/', "~1");
                refuse(
                    &format!("/metadata/{key}"),
                    format!("is nested more than {METADATA_LEVELS} deep"),
                );
            }
        }
        if let Some(n) = self.max_attempts.filter(|n| !(1..=100).contains(n)) {
            refuse("/max_attempts", format!("is {n}; allowed are 1 to 100"));
        }
        let max_timeout = limits.max_timeout_seconds;
        for (pointer, seconds) in [
            ("/timeout_seconds", self.timeout_seconds),
            ("/idle_timeout_seconds", self.idle_timeout_seconds),
        ] {
            if let Some(n) = seconds.filter(|n| !(1..=max_timeout).contains(n)) {
                refuse(
                    pointer,
                    format!("is {n}; allowed are 1 to {max_timeout} (tasks.max_timeout)"),
                );
            }
        }
        found
    }

    /// Checks the times of the task and its dependencies.
    fn check_plan(&self, limits: &TaskLimits<'_>, found: &mut Vec<Violation>) {
        let mut refuse = |pointer: String, detail: String| {
            found.push(Violation { pointer, detail });
        };
        for (field, why) in self.retry.iter().flat_map(RetryOverride::violations) {
            refuse(format!("/retry/{field}"), why);
        }
        if let (Some(run_at), Some(expires_at)) = (self.run_at, self.expires_at)
            && expires_at <= run_at
        {
            let why = format!("is {expires_at}; it must be later than run_at ({run_at})");
            refuse("/expires_at".into(), why);
        }
        if let Some(len) = self.dedup_key.as_ref().map(|key| key.chars().count())
            && !(1..=256).contains(&len)
        {
            let why = format!("is {len} characters long; allowed are 1 to 256");
            refuse("/dedup_key".into(), why);
        } else if self.dedup_key.as_deref().is_some_and(secret::holds_key) {
            refuse("/dedup_key".into(), HOLDS_KEY.into());
        }
        let max = limits.max_dependencies as usize;
        if self.depends_on.len() > max {
            let n = self.depends_on.len();
            let why = format!("has {n} tasks; the limit is {max} (tasks.max_dependencies)");
            refuse("/depends_on".into(), why);
        }
        for (i, dependency) in self.depends_on.iter().enumerate() {
            if self.depends_on[..i].contains(dependency) {
                refuse(format!("/depends_on/{i}"), "is there already".into());
            }
        }
    }

    /// Returns the errors in the references of a task at `place` of a batch: it may
    /// depend only on tasks that precede it there.
    pub fn misplaced(&self, place: usize) -> Vec<Violation> {
        let behind = |dependency: &Dependency| match dependency {
            Dependency::InBatch(n) => *n as usize >= place,
            Dependency::Task(_) => false,
        };
        let wrong = self.depends_on.iter().enumerate();
        wrong
            .filter(|(_, dependency)| behind(dependency))
            .map(|(i, dependency)| Violation {
                pointer: format!("/depends_on/{i}"),
                detail: format!(
                    "is {dependency}, which does not stand before this task in the batch"
                ),
            })
            .collect()
    }
}

/// An error in an input, with its place (RFC 6901 JSON pointer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Violation {
    /// The place in the body, as a JSON pointer; empty for the whole body.
    #[schema(example = "/content")]
    pub pointer: String,
    /// The error, and what is allowed.
    pub detail: String,
}

impl Violation {
    /// Returns the pointer to a part of one task of a submission; starts with
    /// `/tasks/<n>` if there are several.
    pub fn pointer_in_batch(tasks: usize, place: usize, within: &str) -> String {
        match tasks {
            1 => within.to_owned(),
            _ => format!("/tasks/{place}{within}"),
        }
    }
}

#[cfg(test)]
mod tests;
