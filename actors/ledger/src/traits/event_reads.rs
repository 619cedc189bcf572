//! Reads of the event log.

use std::{num::NonZero, sync::Arc};

use deia_model::{
    Event, EventFilter, EventRows, Page, PageRequest, Position, TaskId, Timestamp, Visibility,
};

use super::{BoxFuture, StoreError};
use crate::{EventCounts, EventLog, EventsPage, FollowerName, FollowerState, Statistics};

/// Limits of a read of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventScan {
    /// Maximum number of events that are returned.
    pub max_events: NonZero<u32>,
    /// Approximate maximum size of their texts, in bytes.
    pub max_bytes: u64,
    /// Maximum number of events that are examined.
    pub max_examined: u64,
}

/// Reads events.
pub trait EventReads: Send + Sync + 'static {
    /// Returns events after a sequence number, in order. For tests: followers read with
    /// [`events_after`](Self::events_after), callers with [`events_page`](Self::events_page).
    #[cfg(any(test, feature = "testing"))]
    fn events(&self, after: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Event>, StoreError>>;

    /// Returns events visible to `visibility`, the newest first. With less than
    /// [`Visibility::All`] they are events of tasks, task by task, and numbered within each.
    fn events_page(
        &self,
        visibility: Visibility,
        filter: EventFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Event>, StoreError>>;

    /// Returns the events of one task, if it is visible to `visibility`, oldest first, at most
    /// the last 1,000. With less than [`Visibility::All`] they are numbered within the task; a
    /// number stays that of its event when earlier ones are pruned.
    fn task_events(
        &self,
        id: TaskId,
        visibility: Visibility,
    ) -> BoxFuture<'_, Result<Vec<Event>, StoreError>>;

    /// Returns the sequence number of the newest event; 0 when there is none.
    fn last_event_seq(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Returns events after a cursor, unknown actions included: at least one, if there is
    /// any, and no more than fit into `max_events` and about `max_bytes`.
    fn events_after(
        &self,
        after: Position,
        max_events: NonZero<u32>,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<EventsPage, StoreError>>;

    /// Returns events after a cursor as [`events_after`](Self::events_after) does, with texts that
    /// need no memory of their own. A row that cannot be decoded becomes an event of the action
    /// `system.unreadable`: no number is missing.
    fn rows_after(
        &self,
        after: Position,
        max_events: NonZero<u32>,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<EventsPage<EventRows>, StoreError>>;

    /// Returns those events after a cursor that have one of these actions, or an action of
    /// one of these kinds, as [`events_after`](Self::events_after) does; all events if
    /// there are none. `next` is after the events that were examined, which are no more
    /// than `max_examined`.
    fn events_of_actions(
        &self,
        after: Position,
        actions: Arc<[String]>,
        limits: EventScan,
    ) -> BoxFuture<'_, Result<EventsPage, StoreError>>;

    /// Counts the events after a cursor: at least one, if there is any, and no more than
    /// `max_events`. Cheaper than [`events_after`](Self::events_after), as events are not
    /// decoded as a whole.
    fn counts_after(
        &self,
        after: Position,
        max_events: NonZero<u32>,
    ) -> BoxFuture<'_, Result<EventsPage<EventCounts>, StoreError>>;

    /// Returns the position of the newest event; sequence number 0 when there is none.
    fn log_head(&self) -> BoxFuture<'_, Result<Position, StoreError>>;

    /// Returns the position of the cursor of a follower; before all events if it was
    /// never moved.
    fn cursor(&self, follower: FollowerName) -> BoxFuture<'_, Result<Position, StoreError>>;

    /// Returns the progress of each follower, by name.
    fn followers(&self) -> BoxFuture<'_, Result<Vec<FollowerState>, StoreError>>;

    /// Returns the extent of the event log.
    fn event_log(&self) -> BoxFuture<'_, Result<EventLog, StoreError>>;

    /// Returns the sequence number of the newest event that was recorded before that
    /// time; 0: there is none.
    fn last_event_before(&self, time: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Adds up the statistics of that hour ([`hour_of`](crate::hour_of)) and later ones.
    fn statistics(&self, from: u32) -> BoxFuture<'_, Result<Statistics, StoreError>>;
}
