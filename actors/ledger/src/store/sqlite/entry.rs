//! Events to be appended to the log.

use deia_model::{
    Action, BotName, EventResult, NewEvent, TargetType, Task, TaskId, TaskStatus, TaskType,
};

use super::rows;

/// An event with little allocated text, for the hot path.
pub(super) struct Entry<'a> {
    pub(super) action: Action,
    pub(super) actor: &'a str,
    pub(super) target: &'a str,
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

/// The task of an event, in its state after the event.
pub(super) struct OfTask<'a> {
    pub(super) task_type: &'a TaskType,
    pub(super) bot: Option<&'a BotName>,
    /// Number of the attempt; 0: none has started.
    pub(super) attempt: u32,
    pub(super) status: TaskStatus,
    /// The tags as a JSON list; `None`: there are none.
    pub(super) tags: Option<String>,
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
    /// Returns the event in its owned form.
    pub(super) fn to_event(&self) -> NewEvent {
        let details = self.details.map(serde_json::from_str);
        NewEvent {
            action: self.action,
            actor: self.actor.to_owned(),
            target: self.target.to_owned(),
            target_type: self.target_type,
            owner: self.owner.map(str::to_owned),
            result: self.result,
            details: details.and_then(Result::ok).unwrap_or_default(),
            trace_id: self.trace_id.map(str::to_owned),
        }
    }
}
