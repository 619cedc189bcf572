//! The newest events in memory, shared by all who follow them.

use std::{
    collections::VecDeque,
    mem::size_of,
    sync::{Arc, OnceLock},
};

use deia_model::{Event, Position};
use serde_json::Value;

/// An event of the log in memory.
#[derive(Debug)]
pub(super) struct LoggedEvent {
    pub(super) event: Event,
    /// The number of the event among those of its task; 0 if it is about no task.
    pub(super) ordinal: u64,
    /// The event as text, which is the same for all clients who see the whole log.
    json: OnceLock<Box<str>>,
    /// Estimate of the bytes that the event takes, its text included.
    bytes: usize,
}

impl LoggedEvent {
    pub(super) fn new(event: Event, ordinal: u64) -> Self {
        Self {
            bytes: bytes_of(&event),
            event,
            ordinal,
            json: OnceLock::new(),
        }
    }

    /// Returns the event as JSON, which is written once.
    pub(super) fn json(&self) -> &str {
        self.json.get_or_init(|| json(&self.event).into())
    }
}

/// Returns an event as JSON on one line.
pub(super) fn json(event: &Event) -> String {
    // An event has text as its only keys, so this does not fail.
    serde_json::to_string(event).unwrap_or_default()
}

fn bytes_of(event: &Event) -> usize {
    let texts = event.action.as_str().len()
        + event.actor.len()
        + event.target.r#type.len()
        + event.target.id.len()
        + event.owner.as_ref().map_or(0, String::len)
        + event.tags.iter().map(|tag| tag.len() + 24).sum::<usize>()
        + event.session_id.as_ref().map_or(0, String::len)
        + event.trace_id.as_ref().map_or(0, String::len)
        + bytes_of_value(&event.details);
    // The text has everything once more.
    2 * (size_of::<LoggedEvent>() + texts)
}

fn bytes_of_value(value: &Value) -> usize {
    let own = size_of::<Value>();
    own + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes_of_value).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| own + name.len() + bytes_of_value(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// A run of consecutive events: the newest ones, within a limit of bytes.
#[derive(Debug)]
pub(super) struct Ring {
    /// Position after which the ring has every event.
    start: Position,
    events: VecDeque<Arc<LoggedEvent>>,
    bytes: usize,
}

/// Limits on what a client gets at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// The part of the ring that a client gets.
#[derive(Debug)]
pub(super) enum Covered {
    /// The next events.
    Events(Vec<Arc<LoggedEvent>>),
    /// No event: the client has all of them.
    CaughtUp,
    /// Nothing: the client is behind the ring, or in another history.
    Outside,
}

impl Ring {
    pub(super) fn new(start: Position) -> Self {
        Self {
            start,
            events: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Returns the position of the newest event.
    pub(super) fn end(&self) -> Position {
        let newest = self.events.back();
        newest.map_or(self.start, |newest| newest.event.position())
    }

    /// Returns the memory that the events take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the events that follow the newest one. Returns those that had to make room.
    pub(super) fn push(
        &mut self,
        events: Vec<Arc<LoggedEvent>>,
        max_bytes: usize,
    ) -> Vec<Arc<LoggedEvent>> {
        self.bytes += events.iter().map(|event| event.bytes).sum::<usize>();
        self.events.extend(events);
        let mut left_out = Vec::new();
        while self.bytes > max_bytes
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= oldest.bytes;
            self.start = oldest.event.position();
            left_out.push(oldest);
        }
        left_out
    }

    /// Returns the events after `cursor`: one, and more as far as they fit.
    pub(super) fn after(&self, cursor: Position, most: Batch) -> Covered {
        let next = self
            .events
            .partition_point(|event| event.event.seq <= cursor.seq);
        let before = match next.checked_sub(1) {
            None => self.start,
            Some(last) => self.events[last].event.position(),
        };
        // A cursor with the right number may still be of a history that was cut off.
        if before != cursor {
            return Covered::Outside;
        }
        let mut bytes = 0;
        let rest = self.events.range(next..).take(most.events);
        let fitting = rest.take_while(|event| {
            let is_first = bytes == 0;
            bytes += event.bytes;
            is_first || bytes <= most.bytes
        });
        let events: Vec<_> = fitting.cloned().collect();
        match events.is_empty() {
            true => Covered::CaughtUp,
            false => Covered::Events(events),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use deia_model::{Action, EventLevel, EventResult, EventTarget, Timestamp};

    use super::*;

    pub(in crate::stream) fn event(timeline: u64, seq: u64) -> Event {
        Event {
            seq,
            timeline,
            at: Timestamp::from_millis(1),
            action: Action::BotCrashed.into(),
            level: EventLevel::Info,
            actor: "deia".into(),
            target: EventTarget {
                r#type: "bot".into(),
                id: "b".into(),
            },
            owner: None,
            result: EventResult::Success,
            task_type: None,
            bot_id: None,
            tags: Vec::new(),
            attempt: None,
            status: None,
            session_id: None,
            v: 1,
            details: Value::Null,
            trace_id: None,
        }
    }

    fn logged(timeline: u64, seqs: impl Iterator<Item = u64>) -> Vec<Arc<LoggedEvent>> {
        seqs.map(|seq| Arc::new(LoggedEvent::new(event(timeline, seq), 0)))
            .collect()
    }

    fn at(timeline: u64, seq: u64) -> Position {
        Position { timeline, seq }
    }

    /// Returns the numbers after the cursor: none when it has all, `None` outside.
    fn after(ring: &Ring, cursor: Position, events: usize) -> Option<Vec<u64>> {
        let bytes = usize::MAX;
        numbers(&ring.after(cursor, Batch { events, bytes }))
    }

    fn numbers(covered: &Covered) -> Option<Vec<u64>> {
        match covered {
            Covered::Events(events) => Some(events.iter().map(|it| it.event.seq).collect()),
            Covered::CaughtUp => Some(Vec::new()),
            Covered::Outside => None,
        }
    }

    #[test]
    fn clients_get_the_events_after_their_cursor() {
        let mut ring = Ring::new(at(1, 10));
        assert_eq!(after(&ring, at(1, 10), 9), Some(vec![]));
        let _ = ring.push(logged(1, 11..=13), usize::MAX);
        let _ = ring.push(logged(2, 14..=15), usize::MAX);
        for (cursor, max, expected) in [
            (at(1, 9), 9, None),
            (at(1, 10), 9, Some(vec![11, 12, 13, 14, 15])),
            (at(1, 10), 2, Some(vec![11, 12])),
            (at(1, 13), 9, Some(vec![14, 15])),
            (at(2, 14), 9, Some(vec![15])),
            (at(2, 15), 9, Some(vec![])),
            (at(2, 16), 9, None),
            // These numbers do not belong to that history.
            (at(1, 14), 9, None),
            (at(2, 13), 9, None),
            (at(1, 15), 9, None),
        ] {
            assert_eq!(after(&ring, cursor, max), expected, "{cursor} {max}");
        }
        assert_eq!(ring.end(), at(2, 15));
    }

    #[test]
    fn oldest_events_make_room() {
        let one = LoggedEvent::new(event(1, 1), 0).bytes;
        let mut ring = Ring::new(at(1, 0));
        assert_eq!(ring.push(logged(1, 1..=3), 3 * one).len(), 0);
        assert_eq!(ring.push(logged(1, 4..=5), 3 * one).len(), 2);
        assert_eq!(after(&ring, at(1, 1), 9), None);
        assert_eq!(after(&ring, at(1, 2), 9), Some(vec![3, 4, 5]));
        assert_eq!(ring.bytes(), 3 * one);
        // An event larger than the limit is read from the log.
        assert_eq!(ring.push(logged(1, 6..=6), one - 1).len(), 4);
        assert_eq!(after(&ring, at(1, 6), 9), Some(vec![]));
        assert_eq!((ring.end(), ring.bytes()), (at(1, 6), 0));
    }

    #[test]
    fn clients_get_as_much_as_fits_and_at_least_one_event() {
        let one = LoggedEvent::new(event(1, 1), 0).bytes;
        let mut ring = Ring::new(at(1, 0));
        let _ = ring.push(logged(1, 1..=4), usize::MAX);
        for (bytes, expected) in [
            (0, 1),
            (one, 1),
            (2 * one, 2),
            (3 * one - 1, 2),
            (9 * one, 4),
        ] {
            let covered = ring.after(at(1, 0), Batch { events: 9, bytes });
            assert_eq!(numbers(&covered).unwrap().len(), expected, "{bytes}");
        }
    }

    #[test]
    fn estimate_of_bytes_covers_the_event_and_its_text() {
        let mut long = event(1, 1);
        long.details = serde_json::json!({"a": ["x".repeat(1_000), {"b": "y".repeat(500)}]});
        let logged = LoggedEvent::new(long, 0);
        assert!(logged.bytes > 2 * 1_500 && logged.bytes >= logged.json().len());
        assert!(logged.bytes < 10_000, "{}", logged.bytes);
    }
}
