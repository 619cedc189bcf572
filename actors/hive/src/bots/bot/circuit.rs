//! The circuit of a bot, from the ends of its attempts.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, RecordEvents};
use deia_model::{Action, NewEvent};
use deia_supervision::Context;

use super::{AttemptKey, BotActor};
use crate::bots::{
    attempt::ExecutionResult,
    circuit::{Change, Evidence},
};

impl BotActor {
    /// Updates the circuit after an attempt. An open one withdraws the bot's capacity.
    pub(super) fn judge_circuit(
        &mut self,
        key: AttemptKey,
        result: &ExecutionResult,
        ctx: &mut Context<Self>,
    ) {
        let evidence = Evidence::of(result.end, result.class);
        let circuit = &self.gauges.circuit;
        match circuit.ended(key, evidence, &self.circuit_policy) {
            Some(Change::Opened { hold }) => self.circuit_opened(hold, result, ctx),
            Some(Change::Closed) => {
                tracing::info!(bot = %self.name, "bot carries out tasks again; its circuit is closed");
                self.record(
                    NewEvent::new(Action::BotCircuitClosed, "deia", self.name.as_str()),
                    ctx,
                );
                self.report_capacity(ctx);
            }
            None => {}
        }
    }

    fn circuit_opened(
        &mut self,
        hold: Duration,
        result: &ExecutionResult,
        ctx: &mut Context<Self>,
    ) {
        self.withdraw();
        let seen = self.gauges.circuit.seen();
        let failures = seen.as_ref().map_or(0, |circuit| circuit.failures);
        let rate = seen.as_ref().and_then(|circuit| circuit.rate);
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        let error = result.error.as_deref().map(deia_model::summary);
        tracing::warn!(
            bot = %self.name,
            failures_in_a_row = failures,
            rate,
            hold_ms,
            last_error = error,
            "bot fails its tasks; it takes none for a while, then one at a time"
        );
        let details = serde_json::json!({
            "failures": failures, "rate": rate, "until": seen.and_then(|circuit| circuit.until),
            "failure_class": result.class, "error": error,
        });
        let event = NewEvent::new(Action::BotCircuitOpened, "deia", self.name.as_str());
        self.record(event.failure().details(details), ctx);
        ctx.run_later(hold, |this, ctx| {
            this.widen_intake();
            this.report_capacity(ctx);
        });
    }

    fn record(&self, event: NewEvent, ctx: &mut Context<Self>) {
        let ledger = self.ledger.clone();
        let recording = async move { ledger.apply_deferred(RecordEvents(vec![event])).await };
        ctx.spawn(recording.into_actor(self).map(|outcome, this, _| {
            if let Err(error) = outcome {
                tracing::error!(bot = %this.name, %error, "a change of the bot's circuit could not be recorded");
            }
        }));
    }
}
