//! Events as a store has them: texts that are borrowed, for readers of every event of a busy
//! log.

use crate::{Event, EventLevel, EventResult, Position, TaskStatus, Timestamp};

/// An event whose texts are borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRow<'a> {
    /// Sequence number of the event.
    pub seq: u64,
    /// The history that the sequence number belongs to.
    pub timeline: u64,
    /// Time at which the event was recorded.
    pub at: Timestamp,
    /// The dotted name of the action.
    pub action: &'a str,
    /// The level.
    pub level: EventLevel,
    /// The actor.
    pub actor: &'a str,
    /// Type of the target.
    pub target_type: &'a str,
    /// Id or name of the target.
    pub target_id: &'a str,
    /// User whose visibility decides who may see the event.
    pub owner: Option<&'a str>,
    /// The result.
    pub result: EventResult,
    /// Type of the task.
    pub task_type: Option<&'a str>,
    /// The bot that has or had the task.
    pub bot_id: Option<&'a str>,
    /// Tags of the task, as a JSON list.
    pub tags: Option<&'a str>,
    /// The attempt at the task.
    pub attempt: Option<u32>,
    /// Status of the task after the event.
    pub status: Option<TaskStatus>,
    /// The session that the event belongs to.
    pub session_id: Option<&'a str>,
    /// Version of the form of the details.
    pub v: u32,
    /// Further details, as JSON.
    pub details: Option<&'a str>,
    /// Time that the task was ready before the attempt, in milliseconds; a member of the details.
    pub wait_ms: Option<u64>,
    /// Time that the attempt took, in milliseconds; a member of the details.
    pub run_ms: Option<u64>,
    /// The W3C trace that the event belongs to.
    pub trace_id: Option<&'a str>,
}

impl EventRow<'_> {
    /// Returns the position of the event in the log.
    pub fn position(&self) -> Position {
        Position {
            timeline: self.timeline,
            seq: self.seq,
        }
    }

    /// Returns whether the event has details.
    pub fn has_details(&self) -> bool {
        self.details.is_some() || self.wait_ms.is_some() || self.run_ms.is_some()
    }
}

/// A part of the common text; `None`: there is no such text.
type Part = Option<(u32, u32)>;

/// Events in order, whose texts stand in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventRows {
    text: String,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    seq: u64,
    timeline: u64,
    at: Timestamp,
    level: EventLevel,
    result: EventResult,
    attempt: Option<u32>,
    status: Option<TaskStatus>,
    v: u32,
    wait_ms: Option<u64>,
    run_ms: Option<u64>,
    /// Action, actor, type and id of the target, owner, type of the task, bot, tags, session,
    /// details, trace.
    parts: [Part; 11],
}

impl EventRows {
    /// Appends an event.
    pub fn push(&mut self, event: &EventRow<'_>) {
        let texts = [
            Some(event.action),
            Some(event.actor),
            Some(event.target_type),
            Some(event.target_id),
            event.owner,
            event.task_type,
            event.bot_id,
            event.tags,
            event.session_id,
            event.details,
            event.trace_id,
        ];
        let parts = texts.map(|text| self.add(text));
        self.rows.push(Row {
            seq: event.seq,
            timeline: event.timeline,
            at: event.at,
            level: event.level,
            result: event.result,
            attempt: event.attempt,
            status: event.status,
            v: event.v,
            wait_ms: event.wait_ms,
            run_ms: event.run_ms,
            parts,
        });
    }

    /// Adds a text. One that does not fit into 4 GiB with the others is left out.
    fn add(&mut self, text: Option<&str>) -> Part {
        let text = text?;
        let from = u32::try_from(self.text.len()).ok()?;
        let to = u32::try_from(self.text.len() + text.len()).ok()?;
        self.text.push_str(text);
        Some((from, to))
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Iterates over the events.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = EventRow<'_>> {
        self.rows.iter().map(|row| self.event(row))
    }

    fn event(&self, row: &Row) -> EventRow<'_> {
        let part = |at: usize| {
            let (from, to) = row.parts[at]?;
            self.text.get(from as usize..to as usize)
        };
        EventRow {
            seq: row.seq,
            timeline: row.timeline,
            at: row.at,
            action: part(0).unwrap_or_default(),
            level: row.level,
            actor: part(1).unwrap_or_default(),
            target_type: part(2).unwrap_or_default(),
            target_id: part(3).unwrap_or_default(),
            owner: part(4),
            result: row.result,
            task_type: part(5),
            bot_id: part(6),
            tags: part(7),
            attempt: row.attempt,
            status: row.status,
            session_id: part(8),
            v: row.v,
            details: part(9),
            wait_ms: row.wait_ms,
            run_ms: row.run_ms,
            trace_id: part(10),
        }
    }
}

impl<'e> FromIterator<&'e Event> for EventRows {
    fn from_iter<I: IntoIterator<Item = &'e Event>>(events: I) -> Self {
        let mut rows = Self::default();
        for event in events {
            let tags = serde_json::Value::from(event.tags.clone()).to_string();
            let details = event.details.to_string();
            rows.push(&EventRow {
                seq: event.seq,
                timeline: event.timeline,
                at: event.at,
                action: event.action.as_str(),
                level: event.level,
                actor: &event.actor,
                target_type: &event.target.r#type,
                target_id: &event.target.id,
                owner: event.owner.as_deref(),
                result: event.result,
                task_type: event.task_type.as_ref().map(|it| it.as_str()),
                bot_id: event.bot_id.as_ref().map(|it| it.as_str()),
                tags: (!event.tags.is_empty()).then_some(&*tags),
                attempt: event.attempt,
                status: event.status,
                session_id: event.session_id.as_deref(),
                v: event.v,
                details: (!event.details.is_null()).then_some(&*details),
                wait_ms: None,
                run_ms: None,
                trace_id: event.trace_id.as_deref(),
            });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_were_pushed() {
        let full = EventRow {
            seq: 7,
            timeline: 2,
            at: Timestamp::from_millis(5),
            action: "task.completed",
            level: EventLevel::Info,
            actor: "b",
            target_type: "task",
            target_id: "task_1",
            owner: Some("ada"),
            result: EventResult::Success,
            task_type: Some("brief"),
            bot_id: Some("b"),
            tags: Some("[\"eu\"]"),
            attempt: Some(1),
            status: Some(TaskStatus::Completed),
            session_id: Some("s"),
            v: 1,
            details: Some("{}"),
            wait_ms: Some(1),
            run_ms: Some(2),
            trace_id: Some("t"),
        };
        let bare = EventRow {
            seq: 8,
            owner: None,
            task_type: None,
            bot_id: None,
            tags: None,
            attempt: None,
            status: None,
            session_id: None,
            details: None,
            wait_ms: None,
            run_ms: None,
            trace_id: None,
            ..full
        };
        let mut rows = EventRows::default();
        rows.push(&full);
        rows.push(&bare);
        assert_eq!(rows.iter().collect::<Vec<_>>(), [full, bare]);
        assert!(full.has_details() && !bare.has_details());
    }
}
