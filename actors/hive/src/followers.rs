//! The actor that follows the event log for a [`Follower`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_ledger::{
    Advance, Apply, CommitNotice, EventsPage, Follower, FollowerName, Ledger, Rejection,
    StoreError, failpoint,
};
use deia_model::Position;
use deia_supervision::{ChildSpec, Context, Handle, StartError, child};

use crate::subsystem::Deps;

/// Interval of checks of the log without a notice, because notices may be lost. Fixed:
/// short enough that nobody waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time within which events are gathered and processed together: each move of the cursor costs a
/// part of a commit. Fixed: each write costs a part of a commit, and nobody sees this delay.
const GATHER: Duration = Duration::from_millis(100);
/// Pause after a failure. Fixed: a fault is not tried in a loop, and its end is noticed
/// soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Message that events were appended.
#[derive(Message)]
#[rtype(result = "()")]
struct EventsAppended;

/// Declares the actor of a follower, named as the follower, and the bell that notifies it of new
/// events.
pub(crate) fn declare_follower<F: Follower + Unpin>(
    deps: &Deps,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> (ChildSpec, Bell<F>) {
    let ledger = deps.ledger.clone();
    let rung = Rung::default();
    let heard = rung.clone();
    let (spec, follower) = child(F::NAME.0, move || {
        let built = FollowerActor::new(make(), ledger.clone(), heard.clone());
        async move { Ok::<_, StartError>(built) }
    });
    (spec, Bell { rung, follower })
}

/// True from the time that a follower is notified of new events until it reads them.
type Rung = Arc<AtomicBool>;

/// Notifies a follower of new events: once until it reads them, however many commits there are.
pub(crate) struct Bell<F: Follower + Unpin> {
    rung: Rung,
    follower: Handle<FollowerActor<F>>,
}

impl<F: Follower + Unpin> Bell<F> {
    /// Notifies the follower if a commit appended events.
    pub(crate) fn ring_if_appended(&self, notices: &[CommitNotice]) {
        let appended = |notice| matches!(notice, &CommitNotice::EventsAppended(_));
        if notices.iter().any(appended) {
            self.ring();
        }
    }

    /// Notifies the follower. A notice that finds no room is harmless: the follower checks
    /// periodically.
    fn ring(&self) {
        let told = self.rung.swap(true, Ordering::AcqRel);
        if !told && self.follower.tell(EventsAppended).is_err() {
            self.rung.store(false, Ordering::Release);
        }
    }
}

/// Follows the event log: reads after the cursor, has the follower plan, and moves the
/// cursor together with what was planned. Losing it loses nothing: the cursor is in the
/// store.
pub(crate) struct FollowerActor<F> {
    follower: F,
    ledger: Ledger,
    rung: Rung,
    /// Position of the cursor; `None`: it must be read.
    at: Option<Position>,
    /// True while a page is processed, or the next read is due soon.
    busy: bool,
    /// True if a notice arrived meanwhile.
    again: bool,
    /// True if its last failure was logged.
    failing: bool,
}

impl<F: Follower + Unpin> FollowerActor<F> {
    pub(crate) fn new(follower: F, ledger: Ledger, rung: Rung) -> Self {
        Self {
            follower,
            ledger,
            rung,
            at: None,
            busy: false,
            again: false,
            failing: false,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.busy = true;
        self.again = false;
        self.rung.store(false, Ordering::Release);
        let (ledger, at) = (self.ledger.clone(), self.at);
        let reading = async move {
            let at = match at {
                Some(at) => at,
                None => Self::enlist(&ledger).await?,
            };
            let page = F::read(&ledger, at).await?;
            Ok::<_, StoreError>((at, page))
        };
        ctx.spawn(reading.into_actor(self).map(|read, this, ctx| match read {
            Ok((at, page)) => {
                this.at = Some(at);
                tell_of_gaps(F::NAME, &page);
                if page.next == at {
                    this.failing = false;
                    this.rest(GATHER, ctx);
                    return;
                }
                let full = page.next != page.head;
                let advance = Advance {
                    follower: F::NAME,
                    binding: F::BINDING,
                    from: at,
                    to: page.next,
                    effects: this.follower.plan(page.events),
                };
                this.advance(advance, full, ctx);
            }
            Err(error) => this.failed(&error, ctx),
        }));
    }

    /// Registers the follower with the store, and returns the position of its cursor. From then
    /// on its lag is visible, and events wait for it if it is binding.
    async fn enlist(ledger: &Ledger) -> Result<Position, StoreError> {
        let at = ledger.cursor(F::NAME).await?;
        let advance = Advance {
            follower: F::NAME,
            binding: F::BINDING,
            from: at,
            to: at,
            effects: Vec::new(),
        };
        match ledger.apply(advance).await {
            // A cursor of a history that was cut off moves on with its first page.
            Ok(()) | Err(StoreError::Refused(Rejection::CursorMoved { .. })) => Ok(at),
            Err(error) => Err(error),
        }
    }

    fn advance(&mut self, advance: Advance, full: bool, ctx: &mut Context<Self>) {
        let (ledger, to, began) = (self.ledger.clone(), advance.to, Instant::now());
        failpoint::hit("before_advance");
        let moving = async move { ledger.apply(advance).await };
        ctx.spawn(moving.into_actor(self).map(move |moved, this, ctx| match moved {
            Ok(()) => {
                failpoint::hit("after_advance");
                this.at = Some(to);
                this.failing = false;
                // The backlog is caught up with pauses that let callers through.
                let pause = if full { began.elapsed().min(GATHER) } else { GATHER };
                this.again |= full;
                this.rest(pause, ctx);
            }
            Err(StoreError::Refused(Rejection::CursorMoved { at })) => {
                tracing::warn!(follower = F::NAME.0, %at, "the follower's cursor was moved by another writer; continuing from there");
                this.at = Some(at);
                this.rest(GATHER, ctx);
            }
            Err(error) => this.failed(&error, ctx),
        }));
    }

    /// Retries soon. The outcome may be unknown, so the cursor is read again.
    fn failed(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        // Callers keep the store busy, and background work must yield to them.
        let busy = matches!(error, StoreError::Busy);
        if !busy {
            if !self.failing {
                tracing::warn!(follower = F::NAME.0, %error, "the follower cannot process events; retrying");
            }
            self.failing = true;
            self.at = None;
        }
        self.again = true;
        self.rest(if busy { GATHER } else { RETRY_AFTER }, ctx);
    }

    fn rest(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(pause, |this, ctx| {
            this.busy = false;
            if this.again {
                this.look(ctx);
            }
        });
    }
}

/// Logs events that the follower has missed.
fn tell_of_gaps<T>(follower: FollowerName, page: &EventsPage<T>) {
    if page.missed > 0 {
        tracing::warn!(
            follower = follower.0,
            missed = page.missed,
            "the follower was overtaken by the retention of events (events.retention, events.max_bytes)"
        );
    }
    if page.forked {
        tracing::warn!(
            follower = follower.0,
            goes_on_after = %page.next,
            "the follower stood in a history that a restore has cut off; going on in the new one"
        );
    }
}

impl<F: Follower + Unpin> Actor for FollowerActor<F> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        ctx.run_interval(LOOK_EVERY, |this, ctx| {
            if !this.busy {
                this.look(ctx);
            }
        });
    }
}

impl<F: Follower + Unpin> Handler<EventsAppended> for FollowerActor<F> {
    type Result = ();

    fn handle(&mut self, _: EventsAppended, ctx: &mut Self::Context) {
        if self.busy {
            self.again = true;
        } else {
            self.look(ctx);
        }
    }
}
