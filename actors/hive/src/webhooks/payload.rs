//! Payloads, as the Standard Webhooks specification has them: type, timestamp, data.

use deia_model::{Action, Event, EventResult, EventTarget, EventType, TaskStatus, Timestamp};
use serde_json::{Value, json};

/// Returns the body that tells an endpoint about an event. Positions in the log are left out
/// for owners who see only their own tasks: they would tell how many events others cause.
pub(super) fn body_of(event: &Event, with_position: bool) -> String {
    payload(event, with_position).to_string()
}

fn payload(event: &Event, with_position: bool) -> Value {
    // An event is plain data, so this does not fail.
    let mut data = serde_json::to_value(event).unwrap_or_default();
    if let Value::Object(fields) = &mut data {
        if !with_position {
            fields.remove("seq");
            fields.remove("timeline");
        }
        let id = json!(event.target.id);
        match event.target.r#type.as_str() {
            "task" => drop(fields.insert("task_id".into(), id)),
            "bot" => drop(fields.insert("bot_id".into(), id)),
            _ => {}
        }
    }
    json!({"type": event.action, "timestamp": event.at, "data": data})
}

/// Returns the body of a test delivery.
pub(super) fn test_body(now: Timestamp, webhook: &str) -> String {
    let data = json!({"webhook_id": webhook, "text": "a test delivery of deia"});
    json!({"type": "webhook.test", "timestamp": now, "data": data}).to_string()
}

/// Returns the types of events, each with an example of its payload. The examples are made by
/// the function that makes payloads.
pub(super) fn event_types() -> Vec<EventType> {
    let of = |action: &Action| EventType {
        action: action.as_str().to_owned(),
        description: action.description().to_owned(),
        example: payload(&example(*action), true),
    };
    Action::ALL.iter().map(of).collect()
}

fn example(action: Action) -> Event {
    let is_task = action.kind() == "task";
    let is_end = matches!(
        action,
        Action::TaskCompleted | Action::TaskFailed | Action::TaskDead
    );
    let id = match action.kind() {
        "task" => "task_01h455vb4pex5vsknk084sn02q",
        "bot" => "upper-1",
        "user" => "ada",
        "key" => "key_01h455vb4pex5vsknk084sn02q",
        "alert" => "alert_01h455vb4pex5vsknk084sn02q",
        "webhook" => "webhook_01h455vb4pex5vsknk084sn02q",
        _ => "hive_01h455vb4pex5vsknk084sn02q",
    };
    Event {
        seq: 4711,
        timeline: 1,
        at: Timestamp::from_millis(1_795_161_600_000),
        action: action.into(),
        level: action.level(),
        actor: if is_task { "upper-1" } else { "ada" }.into(),
        target: EventTarget {
            r#type: action.target_type().as_str().into(),
            id: id.into(),
        },
        owner: is_task.then(|| "ci".into()),
        result: EventResult::Success,
        task_type: is_task.then(|| "general".parse().ok()).flatten(),
        bot_id: is_task.then(|| "upper-1".parse().ok()).flatten(),
        tags: if is_task {
            vec!["nightly".into()]
        } else {
            Vec::new()
        },
        attempt: is_task.then_some(1),
        status: status_after(action),
        session_id: None,
        v: 1,
        details: if is_end {
            json!({"wait_ms": 12, "run_ms": 840})
        } else {
            Value::Null
        },
        trace_id: None,
    }
}

fn status_after(action: Action) -> Option<TaskStatus> {
    match action {
        Action::TaskSubmitted | Action::TaskRequeued => Some(TaskStatus::Queued),
        Action::TaskStarted | Action::TaskCancelRequested => Some(TaskStatus::Running),
        Action::TaskCompleted | Action::TaskErased => Some(TaskStatus::Completed),
        Action::TaskFailed | Action::TaskDead => Some(TaskStatus::Failed),
        Action::TaskRetrying => Some(TaskStatus::Pending),
        Action::TaskCancelled => Some(TaskStatus::Cancelled),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_names_the_task_or_the_bot() {
        let of = |action, with_position| payload(&example(action), with_position);
        let task = of(Action::TaskCompleted, true);
        assert_eq!(task["type"], "task.completed");
        assert_eq!(task["data"]["task_id"], "task_01h455vb4pex5vsknk084sn02q");
        assert_eq!(task["data"]["bot_id"], "upper-1", "the bot of the task");
        assert_eq!(
            (&task["data"]["seq"], &task["data"]["timeline"]),
            (&json!(4711), &json!(1))
        );
        assert_eq!(task["timestamp"], task["data"]["at"]);
        assert_eq!(of(Action::BotCrashed, true)["data"]["bot_id"], "upper-1");
        let hidden = of(Action::TaskCompleted, false);
        assert_eq!(hidden["data"].get("seq"), None);
        assert_eq!(hidden["data"].get("timeline"), None);
    }

    #[test]
    fn every_action_has_a_type_with_a_description_and_an_example() {
        let types = event_types();
        assert_eq!(types.len(), Action::ALL.len());
        for of in types {
            assert!(!of.description.is_empty(), "{}", of.action);
            assert_eq!(of.example["type"], of.action);
            let event: Event = serde_json::from_value(of.example["data"].clone()).unwrap();
            assert_eq!(event.action.as_str(), of.action);
        }
    }
}
