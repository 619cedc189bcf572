//! The actor that keeps the thread of the archive running, and records what it did.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, RecordEvents};
use deia_model::NewEvent;
use deia_supervision::Context;

use super::{RecoveryApi, shipper::Shipping};

/// Interval of looks at the thread. Fixed: nothing is lost while it is down.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Keeps the thread running.
pub(super) struct Keeper {
    shipping: Shipping,
    api: RecoveryApi,
    is_recording: bool,
}

impl Keeper {
    pub(super) fn new(shipping: Shipping, api: RecoveryApi) -> Self {
        Self {
            shipping,
            api,
            is_recording: false,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.shipping.has_failed() {
            ctx.fail("the thread that writes the archive ended");
            return;
        }
        self.api.drill_if_due();
        self.record(ctx);
    }

    /// Records the events that the thread has left, in order.
    fn record(&mut self, ctx: &mut Context<Self>) {
        let events: Vec<NewEvent> = match self.is_recording {
            true => return,
            false => self
                .shipping
                .shared()
                .lock()
                .events
                .iter()
                .cloned()
                .collect(),
        };
        if events.is_empty() {
            return;
        }
        self.is_recording = true;
        let (count, ledger) = (events.len(), self.api.ledger().clone());
        let recording = async move { ledger.apply(RecordEvents(events)).await };
        ctx.spawn(recording.into_actor(self).map(move |recorded, this, _| {
            this.is_recording = false;
            match recorded {
                Ok(()) => {
                    let mut inner = this.shipping.shared().lock();
                    let count = count.min(inner.events.len());
                    inner.events.drain(..count);
                }
                Err(error) => tracing::debug!(%error, "events of the archive are recorded later"),
            }
        }));
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.shipping.is_off() {
            return;
        }
        if let Err(error) = self.shipping.start() {
            self.shipping.note_down(&error);
            ctx.fail(format!("the archive cannot be opened: {error}"));
            return;
        }
        ctx.run_interval(LOOK_EVERY, Self::look);
    }
}
