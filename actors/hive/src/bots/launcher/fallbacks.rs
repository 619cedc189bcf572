//! Looks for bots that take no tasks, and has their fallback bots take them.

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, RecordEvents};
use deia_model::{BotRecord, NewEvent, Timestamp};
use deia_supervision::Context;

use super::Launcher;
use crate::bots::fallback::{Backed, decide, events, reason};

impl Launcher {
    /// Notes which of these bots, which are all, have fallback bots.
    pub(super) fn note_backed(&mut self, all: &[BotRecord]) {
        let backed = all.iter().filter(|it| !it.spec.fallback.is_empty());
        self.backed = backed
            .map(|it| Backed {
                bot: it.name.clone(),
                desired: it.desired,
                task_types: it.spec.capabilities.specializations.clone(),
                fallback: it.spec.fallback.clone(),
            })
            .collect();
    }

    /// Looks which of the bots with fallback bots take no tasks now. The scheduler is told whenever
    /// that has changed.
    pub(super) fn look_for_fallbacks(&mut self, ctx: &mut Context<Self>) {
        let before = self.deps.fallbacks.get();
        if self.backed.is_empty() && before.is_empty() {
            return;
        }
        let failing_after = self.deps.config().bots.fault.failing_after;
        let seen = |it: &Backed| {
            let seen = self.deps.registry.snapshot(&it.bot);
            reason(it.desired, &seen, failing_after)
        };
        let after = decide(&self.backed, &before, Timestamp::now(), seen);
        if after == *before {
            return;
        }
        for event in events(&before, &after) {
            self.record_fallback(event, ctx);
        }
        let now = after.values().map(|out| out.fallback.clone()).collect();
        self.deps.fallbacks.set(after);
        self.deps.bot_reads.fallbacks(now);
    }

    fn record_fallback(&self, event: NewEvent, ctx: &mut Context<Self>) {
        tracing::info!(bot = %event.target, action = event.action.as_str(), details = ?event.details, "the use of fallback bots changes");
        let ledger = self.deps.ledger.clone();
        let recording = async move { ledger.apply_deferred(RecordEvents(vec![event])).await };
        ctx.spawn(recording.into_actor(self).map(|outcome, _, _| {
            if let Err(error) = outcome {
                tracing::error!(%error, "the use of fallback bots could not be recorded");
            }
        }));
    }
}
