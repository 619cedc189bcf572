//! Followers of the event log: whoever makes something of every event, once.
//!
//! A follower reads after its cursor, plans what the events come to, and has that
//! written in the transaction that moves its cursor ([`Advance`]). So each effect is
//! recorded exactly once: a crash before the commit leaves both undone, and of two that
//! follow under one name only one moves the cursor.

use deia_model::{Event, Position, Timestamp};

use crate::StatisticsRow;

/// The name of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FollowerName(pub &'static str);

/// Whoever makes something of every event.
pub trait Follower: Send + 'static {
    /// Its name: that of its cursor.
    const NAME: FollowerName;
    /// True if events that it has not taken in are never forgotten.
    const BINDING: bool = false;

    /// Plans what these events come to. They follow each other, and those before them
    /// have been taken in or are past retention.
    fn plan(&mut self, events: &[Event]) -> Vec<Effect>;
}

/// Something durable that comes of events.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Add to the statistics, and forget those of the hours before `keep_from`.
    Statistics {
        /// What is added, one row for each hour, type and bot.
        rows: Vec<StatisticsRow>,
        /// The first hour that is kept.
        keep_from: u32,
    },
}

/// A move of a follower's cursor, with all that comes of the events on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Advance {
    /// The follower.
    pub follower: FollowerName,
    /// True if events that it has not taken in are never forgotten.
    pub binding: bool,
    /// Where the cursor stands. Refused with
    /// [`CursorMoved`](crate::Refusal::CursorMoved) when it stands elsewhere.
    pub from: Position,
    /// Where it is to stand.
    pub to: Position,
    /// What comes of the events between.
    pub effects: Vec<Effect>,
}

/// Events after a cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsPage {
    /// The events, in order; unknown actions included.
    pub events: Vec<Event>,
    /// The cursor after them.
    pub next: Position,
    /// Events after the cursor that are past retention and were not taken in.
    pub missed: u64,
    /// True if the cursor stood in a history that a restore has cut off: `next` is the last
    /// event that this history shares with the one after it. Later ones of it never were.
    pub forked: bool,
    /// The oldest event that is kept; 0: there is none.
    pub floor: u64,
    /// The newest event of the log.
    pub head: Position,
}

/// How far a follower is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerState {
    /// Its name.
    pub name: String,
    /// The last event that it has taken in.
    pub at: Position,
    /// When its cursor was moved last.
    pub moved_at: Timestamp,
    /// True if events that it has not taken in are never forgotten.
    pub binding: bool,
    /// Events that it has not taken in.
    pub lag_events: u64,
    /// Age of the oldest of these, in milliseconds.
    pub lag_ms: u64,
}

/// The event log as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLog {
    /// The oldest event that is kept; 0: there is none.
    pub floor: u64,
    /// The newest event.
    pub head: u64,
    /// When the oldest was recorded.
    pub oldest_at: Option<Timestamp>,
    /// Bytes that the events take, estimated from a sample.
    pub bytes: u64,
}

impl EventLog {
    /// Returns the newest event that is to be forgotten so that those that stay take no
    /// more than `max_bytes`; 0: none.
    pub fn over(&self, max_bytes: u64) -> u64 {
        let rows = self.head.saturating_sub(self.floor.saturating_sub(1));
        if self.bytes <= max_bytes || rows == 0 {
            return 0;
        }
        let kept = u128::from(rows) * u128::from(max_bytes) / u128::from(self.bytes.max(1));
        let kept = u64::try_from(kept).unwrap_or(rows);
        self.head.saturating_sub(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_over_its_limit_loses_the_oldest_share() {
        let log = |floor, head, bytes| EventLog {
            floor,
            head,
            bytes,
            oldest_at: None,
        };
        for (log, max_bytes, expected) in [
            (log(0, 0, 0), 100, 0),
            (log(1, 10, 100), 100, 0),
            (log(1, 10, 200), 100, 5),
            (log(101, 200, 1_000), 500, 150),
            (log(1, 10, u64::MAX), 0, 10),
        ] {
            assert_eq!(log.over(max_bytes), expected, "{log:?} {max_bytes}");
        }
    }
}
