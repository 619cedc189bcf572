//! Counts events of tasks.

use std::{collections::HashMap, time::Duration};

use deia_ledger::{Effect, Follower, FollowerName, StatisticsRow, hour_of};
use deia_model::{Action, AttemptEnd, AttemptOutcomeKind, BotName, Event, TaskType};

/// Counts events of tasks by hour, type and bot.
pub(crate) struct StatisticsFollower {
    /// Time for which the statistics are kept.
    retention: Duration,
}

impl StatisticsFollower {
    pub(crate) fn new(retention: Duration) -> Self {
        Self { retention }
    }
}

impl Follower for StatisticsFollower {
    const NAME: FollowerName = FollowerName("statistics");

    fn plan(&mut self, events: &[Event]) -> Vec<Effect> {
        let mut rows: HashMap<(u32, &str, &str), StatisticsRow> = HashMap::new();
        for event in events {
            let Some((action, task_type)) = event.action.known().zip(event.task_type.as_ref())
            else {
                continue;
            };
            let hour = hour_of(event.at);
            let bot = event.bot_id.as_ref().map_or("", BotName::as_str);
            let key = (hour, TaskType::as_str(task_type), bot);
            let row = rows.entry(key).or_insert_with(|| StatisticsRow {
                hour,
                task_type: task_type.as_str().to_owned(),
                bot: bot.to_owned(),
                ..StatisticsRow::default()
            });
            count(row, action, event);
        }
        let Some(newest) = events.last() else {
            return Vec::new();
        };
        let kept = u32::try_from(self.retention.as_secs() / 3_600).unwrap_or(u32::MAX);
        vec![Effect::Statistics {
            rows: rows.into_values().collect(),
            keep_from: hour_of(newest.at).saturating_sub(kept),
        }]
    }
}

fn count(row: &mut StatisticsRow, action: Action, event: &Event) {
    match action {
        Action::TaskSubmitted => row.submitted += 1,
        Action::TaskStarted => {
            row.started += 1;
            row.waits
                .record(event.details["wait_ms"].as_u64().unwrap_or(0));
        }
        Action::TaskCompleted => row.completed += 1,
        Action::TaskFailed | Action::TaskDead => row.failed += 1,
        Action::TaskCancelled => row.cancelled += 1,
        Action::TaskRetrying if end_of(action, event) == Some(AttemptEnd::Failed) => {
            row.retried += 1;
        }
        Action::TaskRetrying => row.returned += 1,
        _ => {}
    }
    if end_of(action, event).is_some_and(AttemptEnd::ended_by_itself) {
        row.runs
            .record(event.details["run_ms"].as_u64().unwrap_or(0));
    }
}

/// Returns the end of the attempt that an event reports, if it reports one.
fn end_of(action: Action, event: &Event) -> Option<AttemptEnd> {
    if action == Action::TaskCompleted {
        return Some(AttemptEnd::Succeeded);
    }
    let outcome = event.details["outcome"].as_str()?;
    outcome.parse::<AttemptOutcomeKind>().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use deia_model::{EventLevel, EventResult, EventTarget, Timestamp};
    use serde_json::{Value, json};

    use super::*;

    fn event(action: &str, at_ms: i64, bot: Option<&str>, details: Value) -> Event {
        Event {
            seq: 1,
            timeline: 1,
            at: Timestamp::from_millis(at_ms),
            action: action.to_owned().into(),
            level: EventLevel::Info,
            actor: "deia".into(),
            target: EventTarget {
                r#type: "task".into(),
                id: "x".into(),
            },
            owner: None,
            result: EventResult::Success,
            task_type: Some("general".parse().unwrap()),
            bot_id: bot.map(|name| name.parse().unwrap()),
            tags: Vec::new(),
            attempt: None,
            status: None,
            session_id: None,
            v: 1,
            details,
            trace_id: None,
        }
    }

    #[test]
    fn events_are_counted_by_hour_type_and_bot() {
        const HOUR: i64 = 3_600_000;
        let b = Some("b");
        let events = [
            event("task.submitted", 0, None, Value::Null),
            event("task.started", 1, b, json!({"wait_ms": 5})),
            event(
                "task.retrying",
                2,
                b,
                json!({"outcome": "failed", "run_ms": 3}),
            ),
            event(
                "task.retrying",
                2,
                b,
                json!({"outcome": "given_back", "run_ms": 0}),
            ),
            event("task.failed", 2, None, json!({"reason": "expired"})),
            event(
                "task.completed",
                HOUR,
                b,
                json!({"wait_ms": 5, "run_ms": 9}),
            ),
            event("task.unheard_of", 3, b, Value::Null),
            Event {
                task_type: None,
                ..event("bot.crashed", 3, b, Value::Null)
            },
        ];
        let effects = StatisticsFollower::new(Duration::from_secs(3_600)).plan(&events);
        let [Effect::Statistics { rows, .. }] = &effects[..] else {
            panic!("{effects:?}");
        };
        let mut rows = rows.clone();
        rows.sort_by_key(|row| (row.hour, row.bot.clone()));
        let counted: Vec<_> = rows
            .iter()
            .map(|row| {
                let attempts = [row.started, row.completed, row.retried, row.returned];
                let (waits, runs) = (row.waits.count(), row.runs.count());
                (
                    row.hour,
                    row.bot.as_str(),
                    row.submitted,
                    attempts,
                    waits,
                    runs,
                )
            })
            .collect();
        assert_eq!(
            counted,
            [
                (0, "", 1, [0, 0, 0, 0], 0, 0),
                (0, "b", 0, [1, 0, 1, 1], 1, 1),
                (1, "b", 0, [0, 1, 0, 0], 0, 1),
            ]
        );
    }
}
