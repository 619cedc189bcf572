//! The work of an endpoint: deliveries that are due, events, and a replay, in this order.

use std::{
    collections::{HashSet, VecDeque},
    num::NonZero,
    sync::Arc,
};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{EventScan, EventsPage, RunningReplay, StoreError, WaitingDelivery};
use deia_model::{Event, MessageId, Position, ReplayId, Timestamp};
use deia_supervision::Context;

use super::{
    super::feed::{Feed, Next},
    EndpointActor, RETRY_AFTER,
    job::{Job, Source},
    tracker::Tracker,
};

/// Deliveries that are read at once. Fixed: bounds one step, so that others get their
/// turn; the whole has no limit here.
const DUE_MAX: u32 = 128;
/// Limits of one read of the log.
const SCAN: EventScan = EventScan {
    max_events: NonZero::<u32>::MIN.saturating_add(255),
    max_bytes: 1 << 20,
    max_examined: 50_000,
};

/// A replay under way.
pub(super) struct Replaying {
    pub(super) id: ReplayId,
    upto: u64,
    pub(super) tracker: Tracker,
    queue: VecDeque<Event>,
    /// Events that the endpoint accepted, and failures, since the last record.
    pub(super) delivered: u64,
    pub(super) failed: u64,
    /// True once its end was recorded.
    pub(super) is_recorded: bool,
}

impl Replaying {
    fn new(replay: RunningReplay) -> Self {
        Self {
            id: replay.id,
            upto: replay.upto,
            tracker: Tracker::new(replay.cursor),
            queue: VecDeque::new(),
            delivered: 0,
            failed: 0,
            is_recorded: false,
        }
    }

    /// Returns whether all events of the range are finished.
    pub(super) fn is_done(&self) -> bool {
        self.queue.is_empty()
            && self.tracker.open() == 0
            && self.tracker.taken_to().seq >= self.upto
    }
}

/// A read that brings work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Deliveries that are due, and a replay that runs.
    Due,
    /// Events after that position.
    Log(Position),
    /// Events of the replay after that position.
    Replay(Position),
}

/// The work of an endpoint.
pub(super) struct Work {
    pub(super) tracker: Tracker,
    /// Events of the log that match.
    queue: VecDeque<Event>,
    due: VecDeque<WaitingDelivery>,
    pub(super) replay: Option<Replaying>,
    looks_for_due: bool,
    /// Number of the newest event that an earlier actor may have tried.
    known_to: u64,
}

impl Work {
    pub(super) fn new(tracker: Tracker, known_to: u64) -> Self {
        Self {
            tracker,
            queue: VecDeque::new(),
            due: VecDeque::new(),
            replay: None,
            looks_for_due: true,
            known_to,
        }
    }

    /// Makes the next look go to the store.
    pub(super) fn look_again(&mut self) {
        self.looks_for_due = true;
    }

    /// Returns whether there is a delivery to begin.
    pub(super) fn has_job(&mut self, feed: &Feed) -> bool {
        if self.looks_for_due && self.due.is_empty() {
            return false;
        }
        if self.queue.is_empty()
            && let Next::Event(event) = feed.next()
        {
            let at = position(&event);
            self.tracker.take(at, event.at);
            self.queue.push_back(Event::clone(&event));
        }
        let replays = self.replay.as_ref().is_some_and(|it| !it.queue.is_empty());
        !self.due.is_empty() || !self.queue.is_empty() || replays
    }

    /// Takes the next delivery. One that is under way is left out: it is found again if it
    /// fails.
    pub(super) fn take(&mut self, feed: &Feed, in_flight: &HashSet<MessageId>) -> Option<Job> {
        let endpoint = feed.endpoint.load();
        let id = endpoint.stored.webhook.id;
        let with_position = !endpoint.filter.sees_only_its_own();
        while let Some(waiting) = self.due.pop_front() {
            if !in_flight.contains(&waiting.message) {
                return Some(Job::of_waiting(waiting));
            }
        }
        while let Some(event) = self.queue.pop_front() {
            let mut job = Job::of_event(id, &event, with_position, Source::Event);
            job.may_wait = event.seq <= self.known_to;
            if !in_flight.contains(&job.message) {
                return Some(job);
            }
            // The attempt under way is recorded, whatever comes of it.
            self.tracker.finish(event.seq);
        }
        let replay = self.replay.as_mut()?;
        while let Some(event) = replay.queue.pop_front() {
            let job = Job::of_event(id, &event, with_position, Source::Replay);
            if !in_flight.contains(&job.message) {
                return Some(job);
            }
            replay.tracker.finish(event.seq);
        }
        None
    }

    /// Returns the read that may bring work, if there is one.
    pub(super) fn next_read(&self, feed: &Feed) -> Option<Read> {
        if self.looks_for_due {
            return Some(Read::Due);
        }
        if feed.continues_in_log() {
            return Some(Read::Log(self.tracker.taken_to()));
        }
        let replay = self.replay.as_ref()?;
        let at = replay.tracker.taken_to();
        (at.seq < replay.upto).then_some(Read::Replay(at))
    }

    /// Notes that a delivery is finished: accepted, or recorded with its retry.
    pub(super) fn finish(&mut self, source: Source, seq: u64) {
        match (source, &mut self.replay) {
            (Source::Event, _) => self.tracker.finish(seq),
            (Source::Replay, Some(replay)) => replay.tracker.finish(seq),
            (Source::Replay, None) | (Source::Retry, _) => {}
        }
    }
}

fn position(event: &Event) -> Position {
    Position {
        timeline: event.timeline,
        seq: event.seq,
    }
}

/// The result of a read.
enum Brought {
    Due(Vec<WaitingDelivery>, Option<RunningReplay>),
    Log(EventsPage),
    Replay(EventsPage),
}

impl EndpointActor {
    /// Reads work from the store, and begins with it.
    pub(super) fn read(&mut self, read: Read, ctx: &mut Context<Self>) {
        self.is_reading = true;
        let (ledger, id) = (self.shared.ledger.clone(), self.id);
        let (endpoint, writes) = (self.feed.endpoint.load_full(), self.records.writes());
        let actions: Arc<[String]> = endpoint.filter.actions().to_vec().into();
        if read == Read::Due {
            self.work.looks_for_due = false;
        }
        let reading = async move {
            Ok::<_, StoreError>(match read {
                Read::Due => Brought::Due(
                    ledger.due_deliveries(id, Timestamp::now(), DUE_MAX).await?,
                    ledger.running_replay(id).await?,
                ),
                Read::Log(after) => {
                    Brought::Log(ledger.events_of_actions(after, actions, SCAN).await?)
                }
                Read::Replay(after) => {
                    Brought::Replay(ledger.events_of_actions(after, actions, SCAN).await?)
                }
            })
        };
        ctx.spawn(reading.into_actor(self).map(move |brought, this, ctx| {
            this.is_reading = false;
            let is_same = Arc::ptr_eq(&endpoint, &this.feed.endpoint.load());
            match brought {
                // Deliveries that were recorded since may be among them, as they were before.
                Ok(Brought::Due(..)) if this.records.writes() != writes => this.work.look_again(),
                Ok(Brought::Due(due, replay)) => this.note_due(due, replay),
                // The page has events that match the old settings only: it is read again.
                Ok(_) if !is_same => {}
                Ok(Brought::Log(page)) => this.note_page(page, ctx),
                Ok(Brought::Replay(page)) => this.note_replay(page, ctx),
                Err(error) => {
                    if !matches!(error, StoreError::Busy) {
                        tracing::warn!(webhook = %this.id, %error, "a webhook cannot read its work; retrying");
                    }
                    this.work.looks_for_due = true;
                    return this.look_later(RETRY_AFTER, ctx);
                }
            }
            this.pump(ctx);
        }));
    }

    fn note_due(&mut self, due: Vec<WaitingDelivery>, running: Option<RunningReplay>) {
        // A full page: there may be more.
        self.work.looks_for_due |= due.len() == DUE_MAX as usize
            && due.iter().any(|it| {
                !self.in_flight.contains(&it.message) && !self.records.may_have(it.message)
            });
        let (records, in_flight) = (&self.records, &self.in_flight);
        let is_new = |it: &WaitingDelivery| {
            !records.may_have(it.message) && !in_flight.contains(&it.message)
        };
        self.work.due = due.into_iter().filter(is_new).collect();
        let known = self.work.replay.as_ref().map(|replay| replay.id);
        if running.map(|replay| replay.id) != known {
            self.work.replay = running.map(Replaying::new);
        }
    }

    fn note_page(&mut self, page: EventsPage, ctx: &mut Context<Self>) {
        self.note_gaps(&page, ctx);
        if page.forked {
            self.work.tracker = Tracker::new(page.next);
            self.feed.fork(page.next);
            return;
        }
        let endpoint = self.feed.endpoint.load();
        let matching = page
            .events
            .into_iter()
            .filter(|event| endpoint.filter.matches(event));
        for event in matching {
            self.work.tracker.take(position(&event), event.at);
            self.work.queue.push_back(event);
        }
        self.work.tracker.pass(page.next);
        self.feed.log_read(page.next);
        self.acknowledge();
    }

    fn note_replay(&mut self, page: EventsPage, ctx: &mut Context<Self>) {
        let endpoint = self.feed.endpoint.load_full();
        let Some(replay) = &mut self.work.replay else {
            return;
        };
        let upto = replay.upto;
        let matching = page
            .events
            .into_iter()
            .filter(|event| endpoint.filter.matches(event));
        for event in matching.filter(|event| event.seq <= upto) {
            replay.tracker.take(position(&event), event.at);
            replay.queue.push_back(event);
        }
        replay.tracker.pass(page.next);
        // A range that the retention has passed, or a log that ends before it, is done.
        if page.next.seq >= page.head.seq {
            replay.upto = replay.upto.min(page.next.seq);
        }
        self.flush_soon(ctx);
    }

    /// Tells the feed how far everything is finished.
    pub(super) fn acknowledge(&self) {
        let (to, oldest) = self.work.tracker.finished_to();
        self.feed.ack(to, oldest);
    }

    /// Tells of events that retention deleted before they were delivered.
    fn note_gaps(&mut self, page: &EventsPage, ctx: &mut Context<Self>) {
        if page.missed > 0 {
            let since = self.records.health().last_success_at;
            let created = self.feed.endpoint.load().stored.webhook.created_at;
            self.records.note_missed(since.unwrap_or(created));
            self.flush_soon(ctx);
            let missed = &self.shared.metrics.missed;
            missed.fetch_add(page.missed, std::sync::atomic::Ordering::Relaxed);
            tracing::warn!(
                webhook = %self.id,
                passed_over = page.missed,
                "events were deleted by retention before a webhook got them (events.retention, events.max_bytes)"
            );
        }
    }
}
