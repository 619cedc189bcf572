//! The actor that keeps the trail up to date.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_supervision::Context;

use super::{
    pruning::{self, Pruning},
    work::{AuditError, Round, Work},
};

/// Interval of looks at the log without a notice, because notices may be lost. Fixed:
/// short enough that nobody waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time within which events are gathered while many come. Fixed: each write costs a part
/// of a commit, and nobody sees this delay.
const GATHER: Duration = Duration::from_millis(100);
/// Pause after a failure. Fixed: a fault is not tried in a loop, and its end is noticed
/// soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Message that events were appended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct EventsAppended;

/// True from the time that the writer is told of new events until it reads them.
pub(super) type Told = Arc<AtomicBool>;

/// Enters each event in the trail, and signs checkpoints. Losing it loses nothing: the trail
/// says how far it is.
pub(super) struct AuditWriter {
    work: Work,
    told: Told,
    /// True while a round is under way, or the next one is due soon.
    busy: bool,
    /// True if a notice arrived meanwhile.
    again: bool,
    pruning: Pruning,
}

impl AuditWriter {
    pub(super) fn new(work: Work, told: Told) -> Self {
        Self {
            work,
            told,
            busy: false,
            again: false,
            pruning: Pruning::default(),
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.busy = true;
        self.again = false;
        self.told.store(false, Ordering::Release);
        let (work, began) = (self.work.clone(), Instant::now());
        let round = async move { work.round(false).await };
        ctx.spawn(round.into_actor(self).map(move |done, this, ctx| {
            let pause = this.after(done, began.elapsed(), ctx);
            ctx.run_later(pause, |this, ctx| {
                this.busy = false;
                if this.again {
                    this.look(ctx);
                }
            });
        }));
    }

    /// Returns the pause before the next round.
    fn after(
        &mut self,
        done: Result<Round, AuditError>,
        took: Duration,
        ctx: &mut Context<Self>,
    ) -> Duration {
        match done {
            Ok(round) => {
                if !round.more && !round.unsealed && self.pruning.is_due() {
                    self.prune(ctx);
                }
                self.again |= round.more || round.unsealed;
                // A backlog is caught up with pauses that let callers through.
                match round.more {
                    true => (took / 4).min(GATHER),
                    false => GATHER,
                }
            }
            Err(AuditError::Store(deia_ledger::StoreError::Busy)) => {
                self.again = true;
                GATHER
            }
            Err(error) => {
                if self.work.state.failed(error.to_string()) {
                    tracing::error!(%error, "the audit trail cannot be written; administrative changes are refused until it can");
                }
                self.again = true;
                RETRY_AFTER
            }
        }
    }
}

impl AuditWriter {
    fn prune(&self, ctx: &mut Context<Self>) {
        let work = self.work.clone();
        let pruning = async move { pruning::prune(&work).await };
        ctx.spawn(pruning.into_actor(self).map(|done, _, _| {
            if let Err(error) = done {
                tracing::warn!(%error, "old entries of the audit trail cannot be removed; retrying in an hour");
            }
        }));
    }
}

impl Actor for AuditWriter {
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

impl Handler<EventsAppended> for AuditWriter {
    type Result = ();

    fn handle(&mut self, _: EventsAppended, ctx: &mut Self::Context) {
        if self.busy {
            self.again = true;
        } else {
            self.look(ctx);
        }
    }
}
