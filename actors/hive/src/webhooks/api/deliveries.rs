//! Deliveries, retries and replays, as callers see them.

use std::num::NonZero;

use deia_ledger::{Rejection, RetryDelivery, StartReplay, StopReplay};
use deia_model::{
    Delivery, DeliveryAttempt, DeliveryDetail, DeliveryState, MessageId, Page, PageRequest,
    Position, Principal, Replay, ReplayId, TestDelivery, Timestamp, Visibility, WebhookId,
};

use super::{
    super::{payload, sender::text_of},
    WebhooksApi, invalid, may_read_events,
};
use crate::{HiveError, outgoing::Exchange};

const ONE: NonZero<u32> = NonZero::<u32>::MIN;

impl WebhooksApi {
    /// Returns deliveries of an endpoint, the newest first.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::BadCursor`].
    pub async fn deliveries(
        &self,
        who: &Principal,
        id: WebhookId,
        state: Option<DeliveryState>,
        page: PageRequest,
    ) -> Result<Page<Delivery>, HiveError> {
        self.stored(who, id).await?;
        Ok(self.ledger.deliveries(id, state, page).await?)
    }

    /// Returns a delivery with its attempts.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn delivery(
        &self,
        who: &Principal,
        id: WebhookId,
        message: MessageId,
    ) -> Result<DeliveryDetail, HiveError> {
        self.stored(who, id).await?;
        let found = self.ledger.delivery(id, message).await?;
        Ok(found.ok_or(Rejection::NoSuchDelivery(message))?)
    }

    /// Makes a delivery again, now. One that has ended is made from its event, which the log
    /// must still have.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; a conflict if the endpoint is disabled.
    pub async fn retry(
        &self,
        who: &Principal,
        id: WebhookId,
        message: MessageId,
    ) -> Result<DeliveryDetail, HiveError> {
        may_read_events(who)?;
        let stored = self.stored(who, id).await?;
        if stored.webhook.disabled.is_some() {
            return Err(Rejection::WebhookDisabled(id).into());
        }
        let known = self.delivery(who, id, message).await?.delivery;
        let body = match known.state {
            DeliveryState::Waiting => None,
            DeliveryState::Delivered | DeliveryState::Failed => {
                let seen = self.shared.rights.visibility(&stored.owner);
                let owner_sees_all = seen == Some(Visibility::All);
                let body = self.body_again(id, message, owner_sees_all).await?;
                Some(body.ok_or(Rejection::NoSuchDelivery(message))?)
            }
        };
        let command = RetryDelivery {
            webhook: id,
            message,
            body,
            actor: who.user.to_string(),
        };
        self.access.apply_for(who, command).await?;
        self.delivery(who, id, message).await
    }

    /// Makes the body of a delivery again; `None` if the event is past retention.
    async fn body_again(
        &self,
        id: WebhookId,
        message: MessageId,
        with_position: bool,
    ) -> Result<Option<String>, HiveError> {
        let Some(at) = self.ledger.delivered_event(id, message).await? else {
            return Ok(None);
        };
        let before = Position {
            seq: at.seq.saturating_sub(1),
            ..at
        };
        let page = self.ledger.events_after(before, ONE, u64::MAX).await?;
        let event = page.events.first().filter(|event| event.seq == at.seq);
        Ok(event.map(|event| payload::body_of(event, with_position)))
    }

    /// Delivers the events of a range of time to an endpoint again, beside those that occur.
    /// The range ends now when `to` is absent. Events that are past retention are gone.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; [`HiveError::Invalid`] if the range is empty or begins in
    /// the future; a conflict if the endpoint is disabled or a replay of it runs.
    pub async fn replay(
        &self,
        who: &Principal,
        id: WebhookId,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<Replay, HiveError> {
        may_read_events(who)?;
        self.stored(who, id).await?;
        let to = end_of_range(from, to, Timestamp::now())?;
        let newest = self.ledger.last_event_before(to).await?;
        let before = self.ledger.last_event_before(from).await?;
        // Every position of the newest history leads on from any number before its end.
        let after = Position {
            seq: before,
            ..self.ledger.log_head().await?
        };
        let command = StartReplay {
            id: ReplayId::new(),
            webhook: id,
            from,
            to,
            after,
            upto: newest,
            actor: who.user.to_string(),
        };
        Ok(self.access.apply_for(who, command).await?)
    }

    /// Returns the replays of an endpoint, the newest first.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn replays(&self, who: &Principal, id: WebhookId) -> Result<Vec<Replay>, HiveError> {
        self.stored(who, id).await?;
        Ok(self.ledger.replays(id).await?)
    }

    /// Stops a replay. One that has ended stays as it is.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn stop_replay(
        &self,
        who: &Principal,
        id: WebhookId,
        replay: ReplayId,
    ) -> Result<Replay, HiveError> {
        self.stored(who, id).await?;
        let command = StopReplay {
            id: replay,
            webhook: id,
            actor: who.user.to_string(),
        };
        Ok(self.access.apply_for(who, command).await?)
    }
}

/// Returns the end of the range of a replay: `to`, or now when it is absent.
fn end_of_range(
    from: Timestamp,
    to: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, HiveError> {
    match to {
        Some(to) if to <= from => Err(invalid("/to", "is not later than from")),
        Some(to) => Ok(to),
        None if from > now => Err(invalid("/from", "is in the future")),
        // The end is no part of the range.
        None => Ok(now.plus_millis(1)),
    }
}

/// Returns the outcome of a test delivery.
pub(super) fn test_of(id: MessageId, at: Timestamp, exchange: Exchange) -> TestDelivery {
    let duration_ms = u64::try_from(exchange.duration.as_millis()).unwrap_or(u64::MAX);
    let mut attempt = DeliveryAttempt {
        attempt: 1,
        at,
        duration_ms,
        status: None,
        error: None,
        response: String::new(),
        response_truncated: false,
    };
    match exchange.outcome {
        Ok(answered) => {
            let status = answered.status;
            let accepted = (200..300).contains(&status);
            attempt.status = Some(status);
            attempt.error = (!accepted).then(|| format!("the endpoint answered {status}"));
            let (response, is_cut) = text_of(&answered.body);
            attempt.response = response;
            attempt.response_truncated = answered.truncated || is_cut;
        }
        Err(error) => attempt.error = Some(error.to_string()),
    }
    TestDelivery {
        id,
        delivered: attempt.error.is_none(),
        attempt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_after_their_start() {
        let at = Timestamp::from_millis;
        let now = at(1_000);
        for (from, to, expected) in [
            (0, Some(1), Ok(1)),
            (2_000, Some(2_001), Ok(2_001)),
            (5, Some(5), Err("/to")),
            (5, Some(4), Err("/to")),
            (0, None, Ok(1_001)),
            (1_000, None, Ok(1_001)),
            (1_001, None, Err("/from")),
        ] {
            let found = end_of_range(at(from), to.map(at), now).map(Timestamp::as_millis);
            let found = found.map_err(|error| match error {
                HiveError::Invalid(violations) => violations[0].pointer.clone(),
                other => panic!("{other:?}"),
            });
            assert_eq!(found, expected.map_err(String::from), "{from} {to:?}");
        }
    }
}
