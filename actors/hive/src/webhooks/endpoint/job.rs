//! One delivery, before and after an attempt.

use std::time::Duration;

use bytes::Bytes;
use deia_ledger::WaitingDelivery;
use deia_model::{Event, MessageId, Position, Timestamp, WebhookId};

use super::{
    super::{message::message_id, payload::body_of},
    verdict::{Outcome, RetrySchedule, Verdict},
};
use crate::{config::WebhookSettings, outgoing::Exchange};

/// The reason why a delivery is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The event was recorded.
    Event,
    /// An earlier attempt failed.
    Retry,
    /// A range with the event is replayed.
    Replay,
}

/// A delivery to be attempted.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) message: MessageId,
    pub(super) at_event: Position,
    pub(super) action: String,
    /// User whose visibility decides about the event.
    pub(super) owner: Option<String>,
    pub(super) body: Bytes,
    /// Attempts before this one, as far as they were recorded.
    pub(super) attempts: u32,
    pub(super) source: Source,
    /// True if an earlier run of the hive may have stored the delivery for a retry.
    pub(super) may_wait: bool,
}

impl Job {
    /// Makes the delivery of an event.
    pub(super) fn of_event(
        webhook: WebhookId,
        event: &Event,
        with_position: bool,
        source: Source,
    ) -> Self {
        let at_event = Position {
            timeline: event.timeline,
            seq: event.seq,
        };
        Self {
            message: message_id(webhook, at_event),
            at_event,
            action: event.action.as_str().to_owned(),
            owner: event.owner.clone(),
            body: body_of(event, with_position).into(),
            attempts: 0,
            source,
            may_wait: true,
        }
    }

    /// Makes the next attempt of a delivery that waited.
    pub(super) fn of_waiting(waiting: WaitingDelivery) -> Self {
        Self {
            message: waiting.message,
            at_event: waiting.at_event,
            action: waiting.action,
            owner: waiting.owner,
            body: waiting.body.into(),
            attempts: waiting.attempts,
            source: Source::Retry,
            may_wait: true,
        }
    }
}

/// An attempt that has ended.
pub(super) struct Ended {
    pub(super) job: Job,
    /// Time at which it began.
    pub(super) at: Timestamp,
    pub(super) exchange: Exchange,
}

impl Ended {
    /// Returns what follows from the attempt.
    pub(super) fn verdict(&self, settings: &WebhookSettings, now: Timestamp) -> Verdict {
        let answered = self.exchange.outcome.as_ref().ok();
        let outcome = Outcome {
            status: answered.map(|answered| answered.status),
            retry_after: answered.and_then(|answered| answered.retry_after),
        };
        let schedule = RetrySchedule {
            delays: settings
                .retry
                .iter()
                .map(|delay| delay.0)
                .collect::<Vec<Duration>>(),
            jitter: settings.retry_jitter,
        };
        outcome.verdict(self.job.attempts + 1, &schedule, now, rand::random())
    }
}
