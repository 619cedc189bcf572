//! Webhooks: endpoints, their deliveries, and replays.

use std::time::Duration;

use deia_model::{
    Delivery, DeliveryDetail, DeliveryState, EventType, MessageId, NewWebhook, Page, PageRequest,
    Replay, ReplayId, TestDelivery, Timestamp, Webhook, WebhookChange, WebhookId,
    WebhookWithSecret,
};
use reqwest::Method;

use super::{
    Client, ClientError, DisableWebhookRequest, PutIf, ReplayRequest, RotateWebhookSecretRequest,
    transport::Call,
};

/// Additional time-out of a test: the hive answers when the endpoint has. Fixed: of the
/// client library, whose callers do not depend on it.
const TEST: Duration = Duration::from_secs(60);

impl Client {
    /// Registers an endpoint. The secret is in this answer only. With an idempotency key
    /// the call may be repeated: one endpoint is registered.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict if the maximum number of endpoints is registered.
    pub async fn register_webhook(
        &self,
        webhook: &NewWebhook,
        idempotency_key: Option<&str>,
    ) -> Result<WebhookWithSecret, ClientError> {
        self.post(&["api", "v1", "webhooks", "register"])
            .idempotency_key(idempotency_key)?
            .json(webhook)?
            .answer()
            .await
    }

    /// Lists endpoints, as many as the page asks for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn webhooks(&self, page: &PageRequest) -> Result<Page<Webhook>, ClientError> {
        self.gather(page, || self.get(&["api", "v1", "webhooks"]))
            .await
    }

    /// Returns one endpoint.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn webhook(&self, id: WebhookId) -> Result<Webhook, ClientError> {
        self.of_webhook(Method::GET, id, &[]).answer().await
    }

    /// Changes an endpoint, if `when` holds. The answer has a secret only if the change
    /// adds the signature `v1`.
    ///
    /// # Errors
    /// A problem with status 412 if `when` does not hold.
    pub async fn change_webhook(
        &self,
        id: WebhookId,
        change: &WebhookChange,
        when: PutIf,
    ) -> Result<WebhookWithSecret, ClientError> {
        self.of_webhook(Method::PATCH, id, &[])
            .put_if(when)
            .json(change)?
            .answer()
            .await
    }

    /// Deletes an endpoint with its deliveries, if `when` holds.
    ///
    /// # Errors
    /// A problem with status 412 if `when` does not hold.
    pub async fn delete_webhook(&self, id: WebhookId, when: PutIf) -> Result<(), ClientError> {
        self.of_webhook(Method::DELETE, id, &[])
            .put_if(when)
            .done()
            .await
    }

    /// Enables an endpoint. Events that it missed are not delivered; see
    /// [`start_webhook_replay`](Self::start_webhook_replay).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn enable_webhook(&self, id: WebhookId) -> Result<Webhook, ClientError> {
        self.of_webhook(Method::POST, id, &["enable"])
            .answer()
            .await
    }

    /// Disables an endpoint.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn disable_webhook(
        &self,
        id: WebhookId,
        request: &DisableWebhookRequest,
    ) -> Result<Webhook, ClientError> {
        self.of_webhook(Method::POST, id, &["disable"])
            .json(request)?
            .answer()
            .await
    }

    /// Replaces the secret of an endpoint. The new one is in this answer only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rotate_webhook_secret(
        &self,
        id: WebhookId,
        request: &RotateWebhookSecretRequest,
    ) -> Result<WebhookWithSecret, ClientError> {
        self.of_webhook(Method::POST, id, &["rotate-secret"])
            .json(request)?
            .answer()
            .await
    }

    /// Sends a test to an endpoint, and returns the outcome of the one attempt.
    ///
    /// # Errors
    /// [`ClientError`]. An endpoint that does not accept the test is none.
    pub async fn test_webhook(&self, id: WebhookId) -> Result<TestDelivery, ClientError> {
        self.of_webhook(Method::POST, id, &["test"])
            .waiting(TEST)
            .answer()
            .await
    }

    /// Lists the deliveries to an endpoint, of one state or all, as many as the page asks
    /// for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn webhook_deliveries(
        &self,
        id: WebhookId,
        state: Option<DeliveryState>,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, ClientError> {
        self.gather(page, || {
            self.of_webhook(Method::GET, id, &["deliveries"])
                .query("state", state.map(DeliveryState::as_str))
        })
        .await
    }

    /// Returns one delivery, with its attempts.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn webhook_delivery(
        &self,
        id: WebhookId,
        message: MessageId,
    ) -> Result<DeliveryDetail, ClientError> {
        self.of_webhook(Method::GET, id, &["deliveries", &message.to_string()])
            .answer()
            .await
    }

    /// Attempts one delivery again, whatever its state; the attempt follows.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict if the endpoint is disabled.
    pub async fn retry_webhook_delivery(
        &self,
        id: WebhookId,
        message: MessageId,
    ) -> Result<DeliveryDetail, ClientError> {
        let path = ["deliveries", &message.to_string(), "retry"];
        self.of_webhook(Method::POST, id, &path).answer().await
    }

    /// Starts to deliver the events of a range of time again; to now when `to` is absent.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict if the endpoint is disabled, or a replay of it runs.
    pub async fn start_webhook_replay(
        &self,
        id: WebhookId,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<Replay, ClientError> {
        self.of_webhook(Method::POST, id, &["replays"])
            .json(&ReplayRequest { from, to })?
            .answer()
            .await
    }

    /// Lists the replays of an endpoint, with their progress.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn webhook_replays(&self, id: WebhookId) -> Result<Page<Replay>, ClientError> {
        self.of_webhook(Method::GET, id, &["replays"])
            .answer()
            .await
    }

    /// Stops a replay. Events that it has delivered stay delivered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop_webhook_replay(
        &self,
        id: WebhookId,
        replay: ReplayId,
    ) -> Result<Replay, ClientError> {
        let path = ["replays", &replay.to_string(), "stop"];
        self.of_webhook(Method::POST, id, &path).answer().await
    }

    /// Lists the types of events that endpoints can subscribe to.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn webhook_event_types(&self) -> Result<Page<EventType>, ClientError> {
        self.get(&["api", "v1", "webhooks", "event-types"])
            .answer()
            .await
    }

    fn of_webhook(&self, method: Method, id: WebhookId, below: &[&str]) -> Call<'_> {
        let id = id.to_string();
        let path = [&["api", "v1", "webhooks", &id], below].concat();
        self.call(method, &path)
    }
}
