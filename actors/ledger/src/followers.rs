//! Followers of the event log: consumers that process every event exactly once.
//!
//! A follower reads the events after its cursor, plans their effects, and writes these
//! in the transaction that moves its cursor ([`Advance`]). So each effect is recorded
//! exactly once: a crash before the commit leaves both undone, and of two followers
//! under one name only one moves the cursor.

use deia_model::{Event, Position, Timestamp, WebhookId};

use crate::{BoxFuture, Ledger, SealedTrail, StatisticsRow, StoreError};

/// The name of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FollowerName(pub &'static str);

/// A consumer of every event.
pub trait Follower: Send + 'static {
    /// The name of the follower and of its cursor.
    const NAME: FollowerName;
    /// True if events that it has not processed must not be pruned.
    const BINDING: bool = false;

    /// The form in which events are read: `Vec<Event>`, or a summary of them.
    type Input: Send + 'static;

    /// Reads the events after a cursor: a page that fits into memory.
    fn read(
        ledger: &Ledger,
        after: Position,
    ) -> BoxFuture<'_, Result<EventsPage<Self::Input>, StoreError>>;

    /// Plans the effects of the events that were read. They are consecutive, and earlier
    /// ones have been processed or are past retention.
    fn plan(&mut self, events: Self::Input) -> Vec<Effect>;
}

/// A durable effect of events.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Adds to the statistics, and deletes those of the hours before `keep_from`.
    Statistics {
        /// The additions, one row for each hour, type and bot.
        rows: Vec<StatisticsRow>,
        /// The first hour that is kept.
        keep_from: u32,
    },
    /// Sets the cursors of endpoints that are not disabled; `None`: that of the dispatcher.
    WebhookCursors(Vec<(WebhookId, Option<Position>)>),
    /// Notes for all enabled endpoints that are at the dispatcher's cursor that they missed
    /// the events since it was last moved.
    WebhooksMissed,
    /// Notes a checkpoint of the audit trail, whose entries are durable.
    TrailSealed(Box<SealedTrail>),
}

/// A move of a follower's cursor, with all effects of the events on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Advance {
    /// The follower.
    pub follower: FollowerName,
    /// True if events that it has not processed must not be pruned.
    pub binding: bool,
    /// Expected position of the cursor. Refused with
    /// [`CursorMoved`](crate::Rejection::CursorMoved) if it is elsewhere.
    pub from: Position,
    /// New position of the cursor.
    pub to: Position,
    /// Effects of the events in between.
    pub effects: Vec<Effect>,
}

/// Events after a cursor, or a summary of them.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsPage<T = Vec<Event>> {
    /// The events, in order; unknown actions included.
    pub events: T,
    /// Number of each of these events among those of its task, from 1; 0: it is about no task.
    /// Empty in a summary.
    pub ordinals: Vec<u64>,
    /// The cursor after them.
    pub next: Position,
    /// Number of events after the cursor that were pruned before they were processed.
    pub missed: u64,
    /// True if the cursor was in a history that a restore has cut off: `next` is the
    /// last event that this history shares with the one after it. Its later events were
    /// undone.
    pub forked: bool,
    /// Sequence number of the oldest stored event; 0: there is none.
    pub floor: u64,
    /// Position of the newest event of the log.
    pub head: Position,
}

/// The progress of a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerState {
    /// Name of the follower.
    pub name: String,
    /// Position of the last event that it has processed.
    pub at: Position,
    /// Time at which its cursor was last moved.
    pub moved_at: Timestamp,
    /// True if events that it has not processed must not be pruned.
    pub binding: bool,
    /// Number of events that it has not processed.
    pub lag_events: u64,
    /// Age of the oldest of these, in milliseconds.
    pub lag_ms: u64,
}

/// The extent of the event log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLog {
    /// Sequence number of the oldest stored event; 0: there is none.
    pub floor: u64,
    /// Sequence number of the newest event.
    pub head: u64,
    /// Time at which the oldest was recorded.
    pub oldest_at: Option<Timestamp>,
    /// Bytes that the events take, estimated from a sample.
    pub bytes: u64,
}

impl EventLog {
    /// Returns the newest event to prune so that the remaining ones take no more than
    /// `max_bytes`; 0: none.
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
