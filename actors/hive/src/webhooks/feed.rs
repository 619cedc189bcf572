//! The way of events from the dispatcher to one endpoint.
//!
//! The dispatcher pushes the events that match. They wait in a small buffer; when that is full,
//! the endpoint reads the rest from the log itself, so that a slow endpoint costs no memory and
//! delays no other. A feed outlives the actors on both of its ends.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use deia_ledger::StoredWebhook;
use deia_model::{EndpointFilter, Event, Position, Timestamp};

/// Events that wait in memory for one endpoint. Fixed: bounds the memory; the log has the
/// rest.
const BUFFER_MAX: usize = 256;

/// An endpoint as its actor needs it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) stored: StoredWebhook,
    pub(super) filter: EndpointFilter,
}

/// The feed of one endpoint.
pub(super) struct Feed {
    pub(super) endpoint: ArcSwap<Endpoint>,
    state: Mutex<State>,
}

struct State {
    buffer: VecDeque<Arc<Event>>,
    /// True if events after those in the buffer must be read from the log.
    in_log: bool,
    /// The last event that matched.
    matched_to: Position,
    /// Every event that matched up to here was delivered or waits for a retry.
    acked_to: Position,
    /// Time of the oldest event that matched and is not acknowledged.
    pending_since: Option<Timestamp>,
    /// The cursor that was stored last.
    stored: Option<Position>,
}

/// The next events of a feed.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// This event.
    Event(Arc<Event>),
    /// Events of the log.
    Log,
    /// None for now.
    Nothing,
}

impl Feed {
    /// Makes the feed of an endpoint; the dispatcher is at `dispatched`.
    pub(super) fn new(endpoint: Endpoint, dispatched: Position) -> Self {
        let cursor = endpoint.stored.cursor;
        let acked_to = cursor.unwrap_or(dispatched);
        let is_behind = acked_to.seq < dispatched.seq;
        Self {
            endpoint: ArcSwap::from_pointee(endpoint),
            state: Mutex::new(State {
                buffer: VecDeque::new(),
                in_log: is_behind,
                matched_to: if is_behind { dispatched } else { acked_to },
                acked_to,
                // The time of its oldest event is not known before the log is read.
                pending_since: is_behind.then(Timestamp::now),
                stored: cursor,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete at every point, so a panic elsewhere leaves nothing torn.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the feed of an endpoint whose filter changed after the event of that number: the
    /// dispatcher may have compared later ones with the old filter.
    pub(super) fn changed(&self, mut endpoint: Endpoint, dispatched: Position) -> Self {
        let changed_after = endpoint.stored.changed_after;
        let acked_to = self.lock().acked_to;
        endpoint.stored.cursor = Some(Position {
            timeline: dispatched.timeline,
            seq: match self.is_behind() {
                true => acked_to.seq.min(changed_after),
                false => changed_after,
            },
        });
        Self::new(endpoint, dispatched)
    }

    /// Adds an event that matches, unless it is known already.
    pub(super) fn push(&self, event: &Arc<Event>) {
        let mut state = self.lock();
        if event.seq <= state.matched_to.seq {
            return;
        }
        if state.acked_to.seq >= state.matched_to.seq {
            // Nothing before this event is wanted: a reader that begins again begins here.
            state.acked_to = Position {
                timeline: event.timeline,
                seq: event.seq - 1,
            };
        }
        state.matched_to = Position {
            timeline: event.timeline,
            seq: event.seq,
        };
        state.pending_since.get_or_insert(event.at);
        if state.in_log || state.buffer.len() >= BUFFER_MAX {
            state.in_log = true;
        } else {
            state.buffer.push_back(event.clone());
        }
    }

    /// Returns the number of the last event that matched.
    pub(super) fn matched_to(&self) -> u64 {
        self.lock().matched_to.seq
    }

    /// Takes the next event.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        match state.buffer.pop_front() {
            Some(event) => Next::Event(event),
            None if state.in_log => Next::Log,
            None => Next::Nothing,
        }
    }

    /// Returns whether the next events must be read from the log.
    pub(super) fn continues_in_log(&self) -> bool {
        let state = self.lock();
        state.in_log && state.buffer.is_empty()
    }

    /// Notes that the log was read up to there. Returns true if the buffer takes over.
    pub(super) fn log_read(&self, to: Position) -> bool {
        let mut state = self.lock();
        if to.seq >= state.matched_to.seq {
            // The dispatcher may push events that were read here, which are known then.
            state.matched_to = to;
            state.in_log = false;
        }
        !state.in_log
    }

    /// Begins again with the first event that is not acknowledged, from the log, and returns
    /// the position before it: the actor that had taken some is gone.
    pub(super) fn rewind(&self) -> Position {
        let mut state = self.lock();
        state.buffer.clear();
        state.in_log = state.acked_to.seq < state.matched_to.seq;
        // The time for which nobody delivered is not the fault of the endpoint.
        state.pending_since = state.in_log.then(Timestamp::now);
        state.acked_to
    }

    /// Notes that everything up to there was delivered or waits for a retry. `oldest` is the
    /// time of the oldest event that was taken after that.
    pub(super) fn ack(&self, to: Position, oldest: Option<Timestamp>) {
        let mut state = self.lock();
        if to.seq >= state.acked_to.seq {
            state.acked_to = to;
        }
        let in_buffer = state.buffer.front().map(|event| event.at);
        state.pending_since = match state.acked_to.seq < state.matched_to.seq {
            true => oldest.or(in_buffer).or(state.pending_since),
            false => None,
        };
    }

    /// Returns whether there are events that are not acknowledged.
    pub(super) fn is_behind(&self) -> bool {
        let state = self.lock();
        state.acked_to.seq < state.matched_to.seq
    }

    /// Returns the time of the oldest event that is not acknowledged.
    pub(super) fn pending_since(&self) -> Option<Timestamp> {
        self.lock().pending_since
    }

    /// Returns the cursor to store with a move of the dispatcher's to `dispatched`, if it
    /// changed.
    pub(super) fn cursor_to_store(&self, dispatched: Position) -> Option<Option<Position>> {
        let state = self.lock();
        let is_behind = state.acked_to.seq < state.matched_to.seq;
        // An endpoint may be ahead: it was registered after the dispatcher's last read.
        let is_ahead = state.acked_to.seq > dispatched.seq;
        let cursor = (is_behind || is_ahead).then_some(state.acked_to);
        (cursor != state.stored).then_some(cursor)
    }

    /// Notes that a cursor was stored.
    pub(super) fn stored(&self, cursor: Option<Position>) {
        self.lock().stored = cursor;
    }

    /// Goes back to the end of a history that a restore has cut off.
    pub(super) fn fork(&self, at: Position) {
        let mut state = self.lock();
        state.buffer.clear();
        state.matched_to = at;
        if state.acked_to.seq > at.seq {
            state.acked_to = at;
        }
        state.in_log = state.acked_to.seq < at.seq;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use deia_ledger::WebhookOwner;
    use deia_model::{NewWebhook, Role, Visibility, Webhook};
    use serde_json::json;

    use super::*;

    fn at(seq: u64) -> Position {
        Position { timeline: 1, seq }
    }

    pub(in super::super) fn endpoint(cursor: Option<Position>) -> Endpoint {
        let all = deia_model::entities().unwrap();
        let example = all.iter().find(|it| it.name == "Webhook").unwrap();
        let webhook: Webhook = serde_json::from_str(&example.example).unwrap();
        let new: NewWebhook = serde_json::from_value(json!({"url": "https://a.example"})).unwrap();
        let filter = EndpointFilter::new(&new.split().0, Visibility::All);
        Endpoint {
            stored: StoredWebhook {
                owner: WebhookOwner {
                    user: webhook.owner.clone(),
                    role: Role::Operator,
                    issuer: None,
                },
                webhook,
                cursor,
                changed_after: 0,
            },
            filter,
        }
    }

    fn event(seq: u64) -> Arc<Event> {
        static EXAMPLE: LazyLock<Event> = LazyLock::new(|| {
            let all = deia_model::entities().unwrap();
            let example = all.iter().find(|it| it.name == "Event").unwrap();
            serde_json::from_str(&example.example).unwrap()
        });
        Arc::new(Event {
            seq,
            timeline: 1,
            at: Timestamp::from_millis(i64::try_from(seq).unwrap()),
            ..EXAMPLE.clone()
        })
    }

    #[test]
    fn full_buffer_sends_the_reader_to_the_log_until_it_has_caught_up() {
        let feed = Feed::new(endpoint(None), at(10));
        assert_eq!(feed.next(), Next::Nothing);
        let last = 10 + BUFFER_MAX as u64 + 5;
        for seq in 11..=last {
            feed.push(&event(seq));
            feed.push(&event(seq));
        }
        for seq in 11..11 + BUFFER_MAX as u64 {
            assert_eq!(feed.next(), Next::Event(event(seq)));
        }
        assert_eq!(feed.next(), Next::Log);
        assert!(!feed.log_read(at(last - 1)));
        feed.push(&event(last + 1));
        assert!(!feed.log_read(at(last)), "another one matched meanwhile");
        assert!(
            feed.log_read(at(last + 2)),
            "it may read further than the dispatcher"
        );
        feed.push(&event(last + 2));
        assert_eq!(feed.next(), Next::Nothing, "it was read from the log");
        feed.push(&event(last + 3));
        assert_eq!(feed.next(), Next::Event(event(last + 3)));
    }

    #[test]
    fn cursor_is_stored_while_the_endpoint_is_behind() {
        let feed = Feed::new(endpoint(None), at(10));
        assert_eq!(feed.cursor_to_store(at(10)), None);
        assert_eq!(
            feed.cursor_to_store(at(9)),
            Some(Some(at(10))),
            "it is ahead"
        );
        feed.push(&event(12));
        assert!(feed.is_behind());
        assert_eq!(
            feed.cursor_to_store(at(12)),
            Some(Some(at(11))),
            "nothing matched before"
        );
        feed.stored(Some(at(11)));
        assert_eq!(feed.cursor_to_store(at(12)), None);
        assert_eq!(feed.pending_since(), Some(Timestamp::from_millis(12)));
        feed.push(&event(14));
        feed.ack(at(13), Some(Timestamp::from_millis(14)));
        assert_eq!(feed.cursor_to_store(at(14)), Some(Some(at(13))));
        assert_eq!(feed.pending_since(), Some(Timestamp::from_millis(14)));
        feed.ack(at(14), None);
        assert_eq!(feed.cursor_to_store(at(14)), Some(None));
        assert_eq!((feed.is_behind(), feed.pending_since()), (false, None));
    }

    #[test]
    fn restarted_reader_begins_with_the_first_event_that_is_not_acknowledged() {
        let feed = Feed::new(endpoint(None), at(10));
        for seq in 11..14 {
            feed.push(&event(seq));
        }
        feed.next();
        feed.next();
        feed.ack(at(11), None);
        assert_eq!(feed.rewind(), at(11));
        assert_eq!(feed.next(), Next::Log);
        assert!(feed.pending_since() > Some(Timestamp::from_millis(13)));
        feed.ack(at(13), None);
        assert_eq!(feed.rewind(), at(13));
        assert_eq!(feed.next(), Next::Nothing);
    }

    #[test]
    fn endpoint_begins_at_its_cursor() {
        let behind = Feed::new(endpoint(Some(at(4))), at(10));
        assert_eq!((behind.next(), behind.is_behind()), (Next::Log, true));
        let ahead = Feed::new(endpoint(Some(at(12))), at(10));
        ahead.push(&event(11));
        ahead.push(&event(12));
        assert_eq!(ahead.next(), Next::Nothing, "older than its registration");
        ahead.push(&event(13));
        assert_eq!(ahead.next(), Next::Event(event(13)));
    }
}
