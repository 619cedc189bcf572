//! The dispatcher: reads each event once, for all endpoints, and keeps their actors.

mod lifecycle;
mod messages;
mod save;

use std::{
    collections::HashSet,
    num::NonZero,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{EventScan, EventsPage, FollowerName, Ledger, StoreError, StoredWebhook};
use deia_model::{EndpointFilter, Position, Visibility, WebhookId};
use deia_supervision::Context;

use super::{
    feed::{Endpoint, Feed},
    index::Index,
    shared::{Entry, Shared},
};

pub(super) use self::{
    messages::{EndpointIdle, EndpointOver, EndpointWork, EndpointsChanged, EventsAppended, Told},
    save::flush,
};

/// Name of the dispatcher's cursor.
pub(super) const NAME: FollowerName = FollowerName("webhooks");
/// Limits of one read of the log.
const SCAN: EventScan = EventScan {
    max_events: NonZero::<u32>::MIN.saturating_add(1_023),
    max_bytes: 1 << 20,
    max_examined: 50_000,
};
/// Interval of looks at the store without a notice, because notices may be lost. Fixed:
/// short enough that nobody waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Interval at which the cursor is stored: each time costs a part of a commit. Fixed:
/// each write costs a part of a commit, and nobody sees this delay.
const SAVE_EVERY: Duration = Duration::from_millis(250);
/// Pause between two reads of the log, so that a busy log is read in few, large pages.
/// Fixed: each write costs a part of a commit, and nobody sees this delay.
const GATHER: Duration = Duration::from_millis(2);
/// Pause after a failure. Fixed: a fault is not tried in a loop, and its end is noticed
/// soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Shortest time between two reads of all endpoints. Fixed: each write costs a part of a
/// commit, and nobody sees this delay.
const RELOAD_EVERY: Duration = Duration::from_millis(20);

/// Reads events and pushes them to the feeds of the endpoints that they match.
pub(super) struct Dispatcher {
    shared: Shared,
    told: Told,
    index: Index,
    /// Number of the index: a page that was read for an earlier one is read again.
    generation: u64,
    /// Position of the cursor; `None`: it must be read, with the endpoints.
    at: Option<Position>,
    /// Position as it was stored last.
    saved: Option<Position>,
    /// Endpoints whose cursors may have to be stored.
    touched: HashSet<WebhookId>,
    /// True while the log is read, or the next read is due soon.
    is_reading: bool,
    is_saving: bool,
    is_loading: bool,
    /// True while work that is due is looked up.
    is_waking: bool,
    /// True while laggards are being disabled.
    is_disabling: bool,
    /// True if events were deleted before they were read, which is not stored yet.
    missed: bool,
    /// True if the last failure was logged.
    is_failing: bool,
}

impl Dispatcher {
    pub(super) fn new(shared: Shared, told: Told) -> Self {
        Self {
            shared,
            told,
            index: Index::default(),
            generation: 0,
            at: None,
            saved: None,
            touched: HashSet::new(),
            is_reading: false,
            is_saving: false,
            is_loading: false,
            is_waking: false,
            is_disabling: false,
            missed: false,
            is_failing: false,
        }
    }

    /// Reads all endpoints, and the rights of their owners.
    fn load(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_loading, true) {
            return;
        }
        self.told.endpoints.store(false, Ordering::Release);
        let (shared, at) = (self.shared.clone(), self.at);
        let began = Instant::now();
        let loading = async move {
            shared.rights.refresh().await?;
            let at = match at {
                Some(at) => at,
                None => {
                    let head = shared.ledger.log_head().await?;
                    shared.known_to.fetch_max(head.seq, Ordering::AcqRel);
                    enlist(&shared.ledger).await?
                }
            };
            Ok::<_, StoreError>((at, shared.ledger.all_webhooks().await?))
        };
        ctx.spawn(loading.into_actor(self).map(move |loaded, this, ctx| {
            let pause = RELOAD_EVERY.max(2 * began.elapsed());
            match loaded {
                Ok((at, all)) => {
                    this.at.get_or_insert(at);
                    this.saved.get_or_insert(at);
                    this.is_failing = false;
                    this.take_in(all, ctx);
                    this.look(ctx);
                    this.wake_those_with_work(ctx);
                }
                Err(error) => this.failed(&error),
            }
            ctx.run_later(pause, |this, ctx| {
                this.is_loading = false;
                if this.told.endpoints.load(Ordering::Acquire) || this.at.is_none() {
                    this.load(ctx);
                }
            });
        }));
    }

    /// Brings feeds and index in line with the endpoints.
    fn take_in(&mut self, all: Vec<StoredWebhook>, ctx: &mut Context<Self>) {
        let Some(at) = self.at else {
            return;
        };
        let enabled = all.into_iter().filter(|it| it.webhook.disabled.is_none());
        let (gone, wake): (Vec<_>, Vec<_>) = {
            let mut feeds = self.shared.feeds.lock();
            let mut known = std::mem::take(&mut *feeds);
            for stored in enabled {
                let id = stored.webhook.id;
                let version = stored.webhook.version;
                self.shared.expected.remove_if(&id, |_, it| *it <= version);
                let endpoint = self.endpoint_of(stored);
                let entry = match known.remove(&id) {
                    Some(entry) if is_refiltered(&entry.feed, &endpoint, at) => {
                        // The actor of the old feed is replaced when the endpoint is woken.
                        Entry::new(Arc::new(entry.feed.changed(endpoint, at)))
                    }
                    Some(entry) => {
                        entry.feed.endpoint.store(Arc::new(endpoint));
                        entry
                    }
                    None => Entry::new(Arc::new(Feed::new(endpoint, at))),
                };
                self.touched.insert(id);
                feeds.insert(id, entry);
            }
            self.index = Index::new(feeds.iter().map(|(id, entry)| (id, &entry.feed)));
            self.generation += 1;
            // Endpoints that are disabled or gone have no actor that waits for a change.
            self.shared.expected.retain(|id, _| feeds.contains_key(id));
            // An owner without rights sees nothing, so nothing else wakes the actor that finds out.
            let is_orphan = |feed: &Feed| {
                let owner = &feed.endpoint.load().stored.owner;
                self.shared.rights.visibility(owner).is_none()
            };
            let waiting = feeds.iter().filter(|(_, entry)| {
                entry.actor.is_some() || entry.feed.is_behind() || is_orphan(&entry.feed)
            });
            let wake = waiting.map(|(id, _)| *id).collect();
            let gone = known
                .into_iter()
                .filter(|(_, it)| it.actor.is_some() || it.is_ending);
            (gone.map(|(id, _)| id).collect(), wake)
        };
        let count = self.shared.feeds.lock().len() as u64;
        self.shared
            .metrics
            .endpoints
            .store(count, Ordering::Relaxed);
        for id in gone {
            self.touched.remove(&id);
            self.remove(id, ctx);
        }
        for id in wake {
            self.wake(id, ctx);
        }
    }

    /// Returns the endpoint with what its owner may see. An owner without rights sees nothing;
    /// the endpoint's actor disables it.
    fn endpoint_of(&self, stored: StoredWebhook) -> Endpoint {
        let visibility = self.shared.rights.visibility(&stored.owner);
        let visibility = visibility.unwrap_or(Visibility::Nothing);
        let filter = EndpointFilter::new(&stored.webhook.spec, visibility);
        Endpoint { stored, filter }
    }

    /// Reads the events after the cursor.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(at) = self.at else {
            return;
        };
        // After a fork the cursor must be stored before it moves on: see `save`.
        let is_forked = self.saved.is_some_and(|saved| saved.seq > at.seq);
        if is_forked || std::mem::replace(&mut self.is_reading, true) {
            return;
        }
        self.told.events.store(false, Ordering::Release);
        let ledger = self.shared.ledger.clone();
        let actions = self.index.actions();
        let (is_idle, generation) = (self.index.is_empty(), self.generation);
        // Without endpoints only the end of the log is of interest.
        let scan = EventScan {
            max_examined: if is_idle { 0 } else { SCAN.max_examined },
            ..SCAN
        };
        let reading = async move { ledger.events_of_actions(at, actions, scan).await };
        ctx.spawn(reading.into_actor(self).map(move |page, this, ctx| {
            let (pause, again) = match page {
                // It has the events that earlier endpoints wanted.
                Ok(_) if this.generation != generation || this.at != Some(at) => (GATHER, true),
                Ok(page) => {
                    this.is_failing = false;
                    (GATHER, this.note_page(page, is_idle, ctx))
                }
                Err(error) => {
                    this.failed(&error);
                    (RETRY_AFTER, true)
                }
            };
            ctx.run_later(pause, move |this, ctx| {
                this.is_reading = false;
                if again || this.told.events.load(Ordering::Acquire) && !this.index.is_empty() {
                    this.look(ctx);
                }
            });
        }));
    }

    /// Pushes the events of a page. Returns whether there are more.
    fn note_page(&mut self, page: EventsPage, was_idle: bool, ctx: &mut Context<Self>) -> bool {
        note_gaps(&page);
        self.missed |= page.missed > 0;
        if page.forked {
            self.at = Some(page.next);
            let feeds: Vec<_> = self
                .shared
                .feeds
                .lock()
                .values()
                .map(|it| it.feed.clone())
                .collect();
            feeds.iter().for_each(|feed| feed.fork(page.next));
            self.save(ctx);
            return true;
        }
        if was_idle {
            self.at = Some(page.head);
            self.publish();
            return !self.index.is_empty();
        }
        let mut wake = HashSet::new();
        let matched = &self.shared.metrics.matched;
        for event in page.events {
            let event = Arc::new(event);
            self.index.push(&event, |id, _| {
                matched.fetch_add(1, Ordering::Relaxed);
                wake.insert(id);
            });
        }
        self.at = Some(page.next);
        self.publish();
        for id in wake {
            self.touched.insert(id);
            self.wake(id, ctx);
        }
        page.next.seq < page.head.seq
    }

    /// Logs a failure of the store, once.
    fn failed(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Busy) {
            return;
        }
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%error, "the dispatcher of webhooks cannot read the store; retrying");
        }
    }
}

/// Returns whether an endpoint has another filter than before, and the dispatcher has compared
/// events after that change with the old one.
fn is_refiltered(feed: &Feed, endpoint: &Endpoint, at: Position) -> bool {
    feed.endpoint.load().filter != endpoint.filter && endpoint.stored.changed_after < at.seq
}

/// Registers the dispatcher with the store as a follower, and returns the position of its
/// cursor. From then on its lag is visible.
async fn enlist(ledger: &Ledger) -> Result<Position, StoreError> {
    let at = ledger.cursor(NAME).await?;
    save::advance(ledger, at, at, Vec::new()).await.map(|()| at)
}

/// Logs events that the dispatcher has missed.
fn note_gaps(page: &EventsPage) {
    if page.missed > 0 {
        tracing::warn!(
            missed = page.missed,
            "the dispatcher of webhooks was overtaken by the retention of events (events.retention, events.max_bytes)"
        );
    }
    if page.forked {
        tracing::warn!(
            goes_on_after = %page.next,
            "the position of the dispatcher of webhooks is in a history that a restore has cut off; continuing in the new one"
        );
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load(ctx);
        ctx.run_interval(SAVE_EVERY, Self::save);
        ctx.run_interval(LOOK_EVERY, |this, ctx| {
            this.look(ctx);
            this.wake_those_with_work(ctx);
            this.disable_laggards(ctx);
        });
    }
}
