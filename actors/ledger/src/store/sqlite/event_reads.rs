//! Reads of the event log.

use std::{num::NonZero, sync::Arc};

use deia_model::{
    Event, EventFilter, EventRows, Page, PageRequest, Position, TaskId, Timestamp, Visibility,
};

use super::{
    SqliteStore, event_pages, event_rows, followers, lists, positions, read, scan, statistics,
};
use crate::{
    BoxFuture, EventCounts, EventLog, EventReads, EventScan, EventsPage, FollowerName,
    FollowerState, Statistics, StoreError,
};

impl EventReads for SqliteStore {
    #[cfg(any(test, feature = "testing"))]
    fn events(&self, after: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Event>, StoreError>> {
        self.readers.read(move |db| lists::events(db, after, limit))
    }

    fn events_after(
        &self,
        after: Position,
        max_events: NonZero<u32>,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<EventsPage, StoreError>> {
        let limits = followers::PageLimits {
            events: max_events,
            bytes: max_bytes,
        };
        self.follower_readers
            .read_whole(move |db| followers::page(db, after, limits))
    }

    fn rows_after(
        &self,
        after: Position,
        max_events: NonZero<u32>,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<EventsPage<EventRows>, StoreError>> {
        let limits = followers::PageLimits {
            events: max_events,
            bytes: max_bytes,
        };
        self.follower_readers
            .read_whole(move |db| event_rows::page(db, after, limits))
    }

    fn events_of_actions(
        &self,
        after: Position,
        actions: Arc<[String]>,
        limits: EventScan,
    ) -> BoxFuture<'_, Result<EventsPage, StoreError>> {
        self.follower_readers
            .read_whole(move |db| scan::events(db, after, &actions, limits))
    }

    fn counts_after(
        &self,
        after: Position,
        max_events: NonZero<u32>,
    ) -> BoxFuture<'_, Result<EventsPage<EventCounts>, StoreError>> {
        self.follower_readers
            .read_whole(move |db| followers::count(db, after, max_events))
    }

    fn log_head(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        self.follower_readers.read_whole(positions::head)
    }

    fn cursor(&self, follower: FollowerName) -> BoxFuture<'_, Result<Position, StoreError>> {
        self.follower_readers
            .read_whole(move |db| positions::cursor(db, follower.0))
    }

    fn followers(&self) -> BoxFuture<'_, Result<Vec<FollowerState>, StoreError>> {
        self.internal_readers.read_whole(followers::followers)
    }

    fn event_log(&self) -> BoxFuture<'_, Result<EventLog, StoreError>> {
        self.internal_readers.read_whole(followers::log)
    }

    fn last_event_before(&self, time: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.internal_readers
            .read_whole(move |db| followers::last_before(db, time))
    }

    fn statistics(&self, from: u32) -> BoxFuture<'_, Result<Statistics, StoreError>> {
        self.readers.read(move |db| statistics::sums(db, from))
    }

    fn events_page(
        &self,
        visibility: Visibility,
        filter: EventFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Event>, StoreError>> {
        let cursor = page.cursor.as_deref();
        let after = match cursor.map(|text| event_pages::Place::parse(text, &visibility)) {
            Some(None) => return Box::pin(async { Err(StoreError::BadCursor) }),
            Some(Some(after)) => Some(after),
            None => None,
        };
        let list = event_pages::List {
            visibility,
            filter,
            after,
            limit: page.limit,
        };
        self.readers
            .read_whole(move |db| event_pages::events(db, &list))
    }

    fn task_events(
        &self,
        id: TaskId,
        visibility: Visibility,
    ) -> BoxFuture<'_, Result<Vec<Event>, StoreError>> {
        self.readers
            .read_whole(move |db| lists::task_events(db, id, &visibility))
    }

    fn last_event_seq(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.readers.read(read::last_event_seq)
    }
}
