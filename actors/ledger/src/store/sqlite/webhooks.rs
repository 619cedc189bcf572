//! Webhooks: endpoints, their deliveries and replays.

mod deliveries;
mod endpoints;
mod lists;
mod replays;
mod rows;

use deia_model::{
    Delivery, DeliveryDetail, DeliveryState, MessageId, Page, PageRequest, Position, Replay,
    Timestamp, WebhookId,
};

pub(super) use self::endpoints::{disable_of_user, note_missed, set_cursors};
use super::{SqliteStore, cursors::place, errors::ApplyError, transaction::Tx};
use crate::{
    BoxFuture, Reply, RunningReplay, StoreError, StoredWebhook, WaitingDelivery, WebhookCommand,
    WebhookReads,
};

pub(super) fn apply(tx: &mut Tx<'_>, command: &WebhookCommand) -> Result<Reply, ApplyError> {
    match command {
        WebhookCommand::Register(command) => endpoints::register(tx, command),
        WebhookCommand::Change(command) => endpoints::change(tx, command),
        WebhookCommand::Delete(command) => endpoints::delete(tx, command),
        WebhookCommand::Enable(command) => endpoints::enable(tx, command),
        WebhookCommand::Disable(command) => endpoints::disable(tx, command),
        WebhookCommand::Record(command) => deliveries::record(tx, command),
        WebhookCommand::Retry(command) => deliveries::retry(tx, command),
        WebhookCommand::StartReplay(command) => replays::start(tx, command),
        WebhookCommand::StopReplay(command) => replays::stop(tx, command),
    }
}

impl WebhookReads for SqliteStore {
    fn all_webhooks(&self) -> BoxFuture<'_, Result<Vec<StoredWebhook>, StoreError>> {
        self.follower_readers.read_whole(lists::all)
    }

    fn webhook(&self, id: WebhookId) -> BoxFuture<'_, Result<Option<StoredWebhook>, StoreError>> {
        self.readers.read_whole(move |db| endpoints::find(db, id))
    }

    fn webhooks(
        &self,
        owner: Option<String>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<StoredWebhook>, StoreError>> {
        match place(lists::WEBHOOKS, &page) {
            Err(error) => Box::pin(async { Err(error) }),
            Ok(before) => self
                .readers
                .read_whole(move |db| lists::page(db, owner.as_deref(), before, page.limit)),
        }
    }

    fn troubled_webhooks(&self) -> BoxFuture<'_, Result<Vec<StoredWebhook>, StoreError>> {
        self.internal_readers.read_whole(lists::troubled)
    }

    fn webhooks_with_work(
        &self,
        now: Timestamp,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<WebhookId>, StoreError>> {
        self.follower_readers
            .read_whole(move |db| lists::with_work(db, now, max))
    }

    fn due_deliveries(
        &self,
        webhook: WebhookId,
        now: Timestamp,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<WaitingDelivery>, StoreError>> {
        self.follower_readers
            .read(move |db| lists::due(db, webhook, now, max))
    }

    fn deliveries(
        &self,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Delivery>, StoreError>> {
        match place(lists::DELIVERIES, &page) {
            Err(error) => Box::pin(async { Err(error) }),
            Ok(before) => self
                .readers
                .read(move |db| lists::deliveries(db, webhook, state, before, page.limit)),
        }
    }

    fn delivery(
        &self,
        webhook: WebhookId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<DeliveryDetail>, StoreError>> {
        self.readers
            .read_whole(move |db| deliveries::detail(db, webhook, message))
    }

    fn delivered_event(
        &self,
        webhook: WebhookId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<Position>, StoreError>> {
        self.readers
            .read(move |db| deliveries::position(db, webhook, message))
    }

    fn replays(&self, webhook: WebhookId) -> BoxFuture<'_, Result<Vec<Replay>, StoreError>> {
        self.readers.read(move |db| replays::list(db, webhook))
    }

    fn running_replay(
        &self,
        webhook: WebhookId,
    ) -> BoxFuture<'_, Result<Option<RunningReplay>, StoreError>> {
        self.follower_readers
            .read(move |db| replays::running(db, webhook))
    }
}
