//! The circuit of a bot, from the ends of its attempts.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, AttemptReport, RecordEvents};
use deia_model::{Action, AttemptEnd, FailureClass, NewEvent};
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
            Some(Change::Opened { hold }) => {
                self.withdraw();
                let opened = self.circuit_opened(hold, result.class, result.error.as_deref());
                self.record(opened, ctx);
                ctx.run_later(hold, |this, ctx| {
                    this.widen_intake();
                    this.report_capacity(ctx);
                });
            }
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

    /// Counts the death of the bot once, whichever of its attempts caused it. Called as the bot
    /// ends; its next incarnation finds the circuit open.
    pub(super) fn judge_death(&self, deaths: &[AttemptReport]) {
        let Some(report) = deaths.iter().find(|it| is_death(it.end)) else {
            return;
        };
        let attempt = AttemptKey {
            task: report.task,
            number: report.attempt,
        };
        let circuit = &self.gauges.circuit;
        if let Some(Change::Opened { hold }) =
            circuit.ended(attempt, Evidence::Strike, &self.circuit_policy)
        {
            let error = report.error.as_deref();
            let opened = self.circuit_opened(hold, report.failure_class, error);
            self.clerk.note(opened);
        }
    }

    /// Logs that the circuit is open. Returns the event.
    fn circuit_opened(
        &self,
        hold: Duration,
        class: Option<FailureClass>,
        error: Option<&str>,
    ) -> NewEvent {
        let seen = self.gauges.circuit.seen();
        let failures = seen.as_ref().map_or(0, |circuit| circuit.failures);
        let rate = seen.as_ref().and_then(|circuit| circuit.rate);
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        let error = error.map(deia_model::summary);
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
            "failure_class": class, "error": error,
        });
        let event = NewEvent::new(Action::BotCircuitOpened, "deia", self.name.as_str());
        event.failure().details(details)
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

/// Returns whether an attempt ended with its bot, and may have caused that.
fn is_death(end: AttemptEnd) -> bool {
    matches!(end, AttemptEnd::BotDied | AttemptEnd::Suspected)
}
