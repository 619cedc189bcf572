//! Entries of the event log: actor, action, target and result.

use serde::{Deserialize, Serialize};

use crate::{Action, BotName, EventAction, TargetType, TaskStatus, TaskType, Timestamp};

/// The level of an event.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EventLevel {
    /// Normal operation.
    Info,
    /// Should be looked at.
    Warning,
    /// Needs attention at once.
    Critical,
}

/// The result of the action of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventResult {
    /// Succeeded.
    Success,
    /// Failed.
    Failure,
    /// Succeeded in part.
    Partial,
}

impl EventLevel {
    /// Every level, the lowest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl std::str::FromStr for EventLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|level| level.as_str() == text)
            .ok_or("expected info, warning or critical")
    }
}

impl EventResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Partial];

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Partial => "partial",
        }
    }
}

impl std::str::FromStr for EventResult {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|result| result.as_str() == text)
            .ok_or("expected success, failure or partial")
    }
}

/// An event that has no position in the log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The action.
    pub action: Action,
    /// The actor: a user, a bot, or `deia`.
    pub actor: String,
    /// Id or name of the target.
    pub target: String,
    /// Type of the target; `None`: that of the action.
    pub target_type: Option<TargetType>,
    /// The level; `None`: that of the action.
    pub level: Option<EventLevel>,
    /// User whose visibility decides who may see the event; `None`: only callers who
    /// see everything.
    pub owner: Option<String>,
    /// The result.
    pub result: EventResult,
    /// Further details; `Null` if there are none.
    pub details: serde_json::Value,
    /// The W3C trace that the event belongs to.
    pub trace_id: Option<String>,
}

impl NewEvent {
    /// Creates a successful event without details.
    pub fn new(action: Action, actor: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            action,
            actor: actor.into(),
            target: target.into(),
            target_type: None,
            level: None,
            owner: None,
            result: EventResult::Success,
            details: serde_json::Value::Null,
            trace_id: None,
        }
    }

    /// Adds details.
    #[must_use]
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.details = details;
        self
    }

    /// Sets the owner.
    #[must_use]
    pub fn owner(mut self, user: impl Into<String>) -> Self {
        self.owner = Some(user.into());
        self
    }

    /// Sets the type of the target.
    #[must_use]
    pub fn target_type(mut self, target_type: TargetType) -> Self {
        self.target_type = Some(target_type);
        self
    }

    /// Marks the event as a success in part, unless it is a whole one.
    #[must_use]
    pub fn partial_unless(mut self, is_whole: bool) -> Self {
        if !is_whole {
            self.result = EventResult::Partial;
        }
        self
    }

    /// Sets the level.
    #[must_use]
    pub fn level(mut self, level: EventLevel) -> Self {
        self.level = Some(level);
        self
    }

    /// Returns the level in the server's own log, if the event belongs there.
    pub fn log_level(&self) -> Option<EventLevel> {
        let of_action = self.action.log_level()?;
        Some(self.level.unwrap_or(of_action))
    }

    /// Marks the event as a failure.
    #[must_use]
    pub fn failure(mut self) -> Self {
        self.result = EventResult::Failure;
        self
    }
}

/// The target of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventTarget {
    /// Type of the target: `task`, `bot`, `queue`, `key`, `user`, `secret`, `web_session`,
    /// `supervisor`, `route`, `hive`, `audit`, `audit_entries`, `ext`, and others to come.
    #[schema(example = "task")]
    pub r#type: String,
    /// Id or name of the target.
    #[schema(example = "task_01h455vb4pex5vsknk084sn02q")]
    pub id: String,
}

/// An entry of the event log. An event contains everything needed to filter and
/// describe it, since its task may have been deleted by the time that the event is
/// read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Position of the event in the log: strictly rising, never reused. For callers who
    /// see only their own tasks: position in the answer, from 1.
    pub seq: u64,
    /// The history that the sequence number belongs to. A restore begins a new one.
    pub timeline: u64,
    /// Time at which the event was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The action.
    #[schema(value_type = String, example = "task.completed")]
    pub action: EventAction,
    /// The level.
    pub level: EventLevel,
    /// The actor: a user, a bot, or `deia`.
    pub actor: String,
    /// The target.
    pub target: EventTarget,
    /// User whose visibility decides who may see the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The result.
    pub result: EventResult,
    /// Type of the task, for events of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub task_type: Option<TaskType>,
    /// The bot that has or had the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub bot_id: Option<BotName>,
    /// Tags of the task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The attempt at the task, from 1; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Status of the task after the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// The session that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Version of the form of the details: rises when members change their meaning.
    pub v: u32,
    /// Further details.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
    /// The W3C trace that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// A position in the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The history that the sequence number belongs to.
    pub timeline: u64,
    /// Sequence number of the event.
    pub seq: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.timeline, self.seq)
    }
}

/// A text that is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a position in the event log, such as 1.4711")]
pub struct InvalidPosition;

impl std::str::FromStr for Position {
    type Err = InvalidPosition;

    /// Parses the text that [`Display`](std::fmt::Display) writes, and no other spelling of it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (timeline, seq) = text.split_once('.').ok_or(InvalidPosition)?;
        let number = |text: &str| text.parse().map_err(|_| InvalidPosition);
        let position = Self {
            timeline: number(timeline)?,
            seq: number(seq)?,
        };
        match position.to_string() == text {
            true => Ok(position),
            false => Err(InvalidPosition),
        }
    }
}

/// Events that a follower of the log misses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventGap {
    /// Number of events that are past retention, with those that the filter leaves out. Absent
    /// for callers who see only their own tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// True if the follower was in a history that a restore has cut off, or beyond the end of
    /// the log: events that it has may have been undone.
    pub forked: bool,
    /// Id after which the follower goes on.
    pub next: String,
}

/// A filter of events. An event must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// An action such as `bot.crashed`, or a kind of action such as `bot`.
    pub action: Option<String>,
    /// Id or name of the target.
    pub target: Option<String>,
    /// The actor.
    pub actor: Option<String>,
    /// Type of the task; events that are about no task do not match.
    pub task_type: Option<TaskType>,
    /// Tags of the task, all of them.
    pub tags: Vec<String>,
    /// Recorded at this time or later.
    pub after: Option<Timestamp>,
    /// Recorded before this time.
    pub before: Option<Timestamp>,
}

impl Event {
    /// Returns the position of the event in the log.
    pub fn position(&self) -> Position {
        Position {
            timeline: self.timeline,
            seq: self.seq,
        }
    }
}

impl EventFilter {
    /// Returns whether `event` matches the filter.
    pub fn matches(&self, event: &Event) -> bool {
        let fits =
            |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let action = event.action.as_str();
        let kind = action.split('.').next().unwrap_or(action);
        self.action
            .as_ref()
            .is_none_or(|wanted| wanted == action || wanted == kind)
            && fits(&self.target, &event.target.id)
            && fits(&self.actor, &event.actor)
            && (self.task_type.is_none() || self.task_type == event.task_type)
            && self.tags.iter().all(|tag| event.tags.contains(tag))
            && self.after.is_none_or(|at| event.at >= at)
            && self.before.is_none_or(|at| event.at < at)
    }
}

#[cfg(test)]
mod tests;
