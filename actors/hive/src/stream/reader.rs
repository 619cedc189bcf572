//! The actor that reads the log for all clients while there are any.

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, SpawnHandle, WrapFuture};
use deia_ledger::{CommitNotice, EventsPage, Ledger, StoreError};
use deia_supervision::{Context, Handle};

use super::{hub::Hub, ring::LoggedEvent};
use crate::config::Settings;

/// Maximum number of events that are read at once. Fixed: bounds one step, so that others
/// get their turn; the whole has no limit here.
const PAGE_EVENTS: NonZero<u32> = NonZero::<u32>::MIN.saturating_add(1_999);
/// Approximate maximum size of the texts of these events, in bytes. Fixed: a buffer,
/// whose size changes nothing that can be seen.
const PAGE_BYTES: u64 = 1 << 20;
/// Interval of checks of the log without a notice, because notices may be lost. Fixed:
/// short enough that nobody waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time within which events are gathered and read together. Fixed: each write costs a
/// part of a commit, and nobody sees this delay.
const GATHER: Duration = Duration::from_millis(20);
/// Pause after a failure. Fixed: a fault is not tried in a loop, and its end is noticed
/// soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Message that there is something to read: events, or a first client.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// Wakes the reader: once until it reads, however many commits there are.
#[derive(Clone)]
pub(super) struct Waker {
    rung: Arc<AtomicBool>,
    reader: Handle<StreamReader>,
}

impl Waker {
    pub(super) fn new(rung: Arc<AtomicBool>, reader: Handle<StreamReader>) -> Self {
        Self { rung, reader }
    }

    /// Returns the path of the reader in the tree.
    pub(super) fn path(&self) -> &str {
        self.reader.path()
    }

    /// Wakes the reader if a commit appended events. Costs next to nothing without clients.
    pub(super) fn wake_if_appended(&self, hub: &Hub, notices: &[CommitNotice]) {
        let appended = |notice| matches!(notice, &CommitNotice::EventsAppended(_));
        if hub.clients() > 0 && notices.iter().any(appended) {
            self.wake();
        }
    }

    /// Wakes the reader. A notice that finds no room is harmless: the reader checks
    /// periodically.
    pub(super) fn wake(&self) {
        let told = self.rung.swap(true, Ordering::AcqRel);
        if !told && self.reader.tell(Wake).is_err() {
            self.rung.store(false, Ordering::Release);
        }
    }
}

/// Reads new events into the shared ring while there are clients. Losing it loses nothing: the
/// next one begins at the end of the log, and clients read what is missing themselves.
pub(super) struct StreamReader {
    hub: Arc<Hub>,
    ledger: Ledger,
    settings: Settings,
    rung: Arc<AtomicBool>,
    /// True while a page is read, or the next read is due soon.
    busy: bool,
    /// True if there is more to read.
    again: bool,
    /// True if the last failure was logged.
    failing: bool,
    /// The next check without a notice.
    next_look: Option<SpawnHandle>,
}

impl StreamReader {
    pub(super) fn new(
        hub: Arc<Hub>,
        ledger: Ledger,
        settings: Settings,
        rung: Arc<AtomicBool>,
    ) -> Self {
        Self {
            hub,
            ledger,
            settings,
            rung,
            busy: false,
            again: false,
            failing: false,
            next_look: None,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            self.again = true;
            return;
        }
        if let Some(next) = self.next_look.take() {
            ctx.cancel_future(next);
        }
        self.again = false;
        self.rung.store(false, Ordering::Release);
        if self.hub.clients() == 0 {
            return;
        }
        self.busy = true;
        let (hub, ledger) = (self.hub.clone(), self.ledger.clone());
        let max_bytes = self.settings.get().stream.buffer_bytes.as_u64();
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let reading = async move { read(&hub, &ledger, max_bytes).await };
        ctx.spawn(
            reading
                .into_actor(self)
                .map(|read, this, ctx| this.rest(read, ctx)),
        );
    }

    fn rest(&mut self, read: Result<bool, StoreError>, ctx: &mut Context<Self>) {
        let pause = match read {
            Ok(more) => {
                self.failing = false;
                self.again |= more;
                GATHER
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(%error, "the live stream cannot read the event log; retrying");
                }
                self.failing = true;
                self.again = true;
                RETRY_AFTER
            }
        };
        ctx.run_later(pause, |this, ctx| {
            this.busy = false;
            if this.again {
                this.look(ctx);
            } else {
                let next = ctx.run_later(LOOK_EVERY, |this, ctx| {
                    this.next_look = None;
                    this.look(ctx);
                });
                this.next_look = Some(next);
            }
        });
    }
}

/// Reads the events after those in memory. Returns true if there are more.
async fn read(hub: &Hub, ledger: &Ledger, max_bytes: usize) -> Result<bool, StoreError> {
    let Some(end) = hub.end() else {
        hub.begin(ledger.log_head().await?);
        return Ok(false);
    };
    let page = ledger.events_after(end, PAGE_EVENTS, PAGE_BYTES).await?;
    if page.missed > 0 || page.forked {
        // Clients find what they missed by their own cursors.
        hub.begin(ledger.log_head().await?);
        return Ok(false);
    }
    let more = page.next.seq < page.head.seq;
    if !page.events.is_empty() {
        hub.push(logged(page).collect(), max_bytes);
    }
    Ok(more)
}

/// Returns the events of a page.
pub(super) fn logged(page: EventsPage) -> impl Iterator<Item = Arc<LoggedEvent>> {
    let events = page.events.into_iter().zip(page.ordinals);
    events.map(|(event, ordinal)| Arc::new(LoggedEvent::new(event, ordinal)))
}

impl Actor for StreamReader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.hub.set_running(true);
        self.look(ctx);
    }
}

impl Drop for StreamReader {
    /// Ends the streams, however this ends: clients connect again, or learn why they cannot.
    fn drop(&mut self) {
        self.hub.set_running(false);
    }
}

impl Handler<Wake> for StreamReader {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}
