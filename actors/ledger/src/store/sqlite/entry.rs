//! Events to be appended to the log.

use deia_model::{
    Action, BotName, EventLevel, EventResult, ExternalAction, NewEvent, SessionId, TargetType,
    Task, TaskId, TaskStatus, TaskType,
};
use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::rows;

/// An event with little allocated text, for the hot path.
pub(super) struct Entry<'a> {
    pub(super) action: EntryAction<'a>,
    /// `None`: that of the action.
    pub(super) level: Option<EventLevel>,
    pub(super) actor: &'a str,
    pub(super) target: Target<'a>,
    /// `None`: that of the action.
    pub(super) target_type: Option<TargetType>,
    pub(super) result: EventResult,
    pub(super) details: Option<&'a str>,
    pub(super) trace_id: Option<&'a str>,
    /// The owner of the target.
    pub(super) owner: Option<&'a str>,
    /// The task, if the event is about one.
    pub(super) task: Option<OfTask<'a>>,
}

/// The action of an event: one of deia, or one of another system.
#[derive(Clone, Copy)]
pub(super) enum EntryAction<'a> {
    Known(Action),
    External(&'a ExternalAction),
}

impl EntryAction<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Known(action) => action.as_str(),
            Self::External(action) => action.as_str(),
        }
    }

    /// Returns the level of events of the action, unless an event sets its own.
    pub(super) fn level(self) -> EventLevel {
        match self {
            Self::Known(action) => action.level(),
            Self::External(_) => EventLevel::Info,
        }
    }

    /// Returns the type of the target, unless an event sets its own.
    pub(super) fn target_type(self) -> TargetType {
        match self {
            Self::Known(action) => action.target_type(),
            Self::External(_) => TargetType::External,
        }
    }
}

/// The target of an event.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// A task, stored as the bytes of its id.
    Task(TaskId),
    /// Anything else, by its name.
    Named(&'a str),
}

impl ToSql for Target<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Task(id) => ValueRef::Blob(id.as_bytes()),
            Self::Named(name) => ValueRef::Text(name.as_bytes()),
        }))
    }
}

/// Times of an attempt, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timing {
    /// From the time that the task was ready until its start.
    pub(super) wait_ms: Option<u64>,
    /// From the start of the attempt until its end.
    pub(super) run_ms: Option<u64>,
}

/// The task of an event, in its state after the event.
pub(super) struct OfTask<'a> {
    pub(super) task_type: &'a TaskType,
    pub(super) bot: Option<&'a BotName>,
    /// Number of the attempt; 0: none has started.
    pub(super) attempt: u32,
    pub(super) status: TaskStatus,
    /// The tags as a JSON list; `None`: there are none.
    pub(super) tags: Option<String>,
    /// The session of the task.
    pub(super) session: Option<SessionId>,
    /// The times that the event reports among its details.
    pub(super) timing: Timing,
}

impl<'a> OfTask<'a> {
    /// Describes a task that now has that status.
    pub(super) fn of(task: &'a Task, status: TaskStatus) -> Self {
        Self {
            task_type: &task.task_type,
            bot: task.assigned_bot.as_ref(),
            attempt: task.attempt,
            status,
            tags: rows::tags_of(&task.tags),
            session: task.session_id,
            timing: Timing::default(),
        }
    }
}

/// An event of a task.
pub(super) struct TaskEntry<'a> {
    pub(super) action: Action,
    pub(super) actor: &'a str,
    pub(super) id: TaskId,
    /// The submitter.
    pub(super) owner: &'a str,
    pub(super) task: OfTask<'a>,
    pub(super) result: EventResult,
    pub(super) details: Option<&'a str>,
    pub(super) traceparent: Option<&'a str>,
}

impl Entry<'_> {
    /// Returns the actor, unless it is the one that the other columns imply.
    pub(super) fn stored_actor(&self) -> Option<&str> {
        let bot = self.task.as_ref().and_then(|task| task.bot);
        let implied = bot.map(BotName::as_str).or(self.owner);
        Some(self.actor).filter(|actor| Some(*actor) != implied)
    }

    /// Returns the event in its owned form, if it belongs into the server's log. Events
    /// of other systems do not.
    pub(super) fn logged(&self) -> Option<NewEvent> {
        let EntryAction::Known(action) = self.action else {
            return None;
        };
        action.log_level()?;
        let details = self.details.map(serde_json::from_str);
        Some(NewEvent {
            action,
            actor: self.actor.to_owned(),
            target: match self.target {
                Target::Task(id) => id.to_string(),
                Target::Named(name) => name.to_owned(),
            },
            target_type: self.target_type,
            level: self.level,
            owner: self.owner.map(str::to_owned),
            result: self.result,
            details: details.and_then(Result::ok).unwrap_or_default(),
            trace_id: self.trace_id.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actor_is_stored_unless_other_columns_imply_it() {
        let (task_type, bot) = ("general".parse().unwrap(), "b".parse().unwrap());
        for (actor, bot, owner, expected) in [
            ("ada", None, Some("ada"), None),
            ("eve", None, Some("ada"), Some("eve")),
            ("b", Some(&bot), Some("ada"), None),
            ("ada", Some(&bot), Some("ada"), Some("ada")),
            ("deia", None, None, Some("deia")),
        ] {
            let task = OfTask {
                task_type: &task_type,
                bot,
                attempt: 1,
                status: TaskStatus::Running,
                tags: None,
                session: None,
                timing: Timing::default(),
            };
            let entry = Entry {
                action: EntryAction::Known(Action::TaskStarted),
                level: None,
                actor,
                target: Target::Named("x"),
                target_type: None,
                result: EventResult::Success,
                details: None,
                trace_id: None,
                owner,
                task: Some(task),
            };
            assert_eq!(entry.stored_actor(), expected, "{actor} {bot:?} {owner:?}");
        }
    }
}
