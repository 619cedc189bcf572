//! Reads of webhooks.

use deia_model::{
    Delivery, DeliveryDetail, DeliveryState, MessageId, Page, PageRequest, Position, Replay,
    ReplayId, Timestamp, WebhookId,
};

use super::{BoxFuture, StoreError};
use crate::StoredWebhook;

/// A delivery that waits for a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingDelivery {
    /// The message.
    pub message: MessageId,
    /// Position of the event.
    pub at_event: Position,
    /// Action of the event.
    pub action: String,
    /// User whose visibility decides about the event.
    pub owner: Option<String>,
    /// The payload.
    pub body: String,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Time of the next attempt.
    pub next_at: Timestamp,
}

/// A replay that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningReplay {
    /// Id of the replay.
    pub id: ReplayId,
    /// Position up to which its events were delivered.
    pub cursor: Position,
    /// Number of its newest event.
    pub upto: u64,
}

/// Reads webhooks.
pub trait WebhookReads: Send + Sync + 'static {
    /// Returns all endpoints, for the dispatcher.
    fn all_webhooks(&self) -> BoxFuture<'_, Result<Vec<StoredWebhook>, StoreError>>;

    /// Returns an endpoint.
    fn webhook(&self, id: WebhookId) -> BoxFuture<'_, Result<Option<StoredWebhook>, StoreError>>;

    /// Returns endpoints, the newest first: all of them, or those of one owner.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    fn webhooks(
        &self,
        owner: Option<String>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<StoredWebhook>, StoreError>>;

    /// Returns endpoints that are failing or that the hive has disabled, for alerts.
    fn troubled_webhooks(&self) -> BoxFuture<'_, Result<Vec<StoredWebhook>, StoreError>>;

    /// Returns enabled endpoints that have a delivery or a replay to make at that time, at
    /// most `max`.
    fn webhooks_with_work(
        &self,
        now: Timestamp,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<WebhookId>, StoreError>>;

    /// Returns the deliveries of an endpoint that are due at that time, the earliest
    /// first, at most `max`.
    fn due_deliveries(
        &self,
        webhook: WebhookId,
        now: Timestamp,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<WaitingDelivery>, StoreError>>;

    /// Returns deliveries of an endpoint, the newest first, of all states or of one.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    fn deliveries(
        &self,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Delivery>, StoreError>>;

    /// Returns a delivery with its attempts.
    fn delivery(
        &self,
        webhook: WebhookId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<DeliveryDetail>, StoreError>>;

    /// Returns the position of the event of a delivery.
    fn delivered_event(
        &self,
        webhook: WebhookId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<Position>, StoreError>>;

    /// Returns the replays of an endpoint, the newest first, at most the last twenty.
    fn replays(&self, webhook: WebhookId) -> BoxFuture<'_, Result<Vec<Replay>, StoreError>>;

    /// Returns the replay of an endpoint that runs, if there is one.
    fn running_replay(
        &self,
        webhook: WebhookId,
    ) -> BoxFuture<'_, Result<Option<RunningReplay>, StoreError>>;
}
