//! Messages between bots, from their acceptance until they are forgotten.

mod inbox;
mod lists;
mod rows;
mod sending;

use deia_model::{
    Action, BotMessageId, BotName, DeliveryStatus, Message, MessageFilter, NewEvent, Page,
    PageRequest, Session, SessionFilter, SessionId, Timestamp,
};
use rusqlite::params;
use serde_json::json;

pub(super) use self::inbox::receiver_removed;
use self::rows::{Stored, status_code};
use super::{SqliteStore, cursors, errors::ApplyError, transaction::Tx};
use crate::{BoxFuture, MessageCommand, MessagingReads, Reply, StoreError};

pub(super) fn apply(tx: &mut Tx<'_>, command: &MessageCommand) -> Result<Reply, ApplyError> {
    match command {
        MessageCommand::Send(command) => sending::send(tx, command),
        MessageCommand::Take(command) => Ok(inbox::take(tx, command)?),
        MessageCommand::Read(command) => inbox::read(tx, command),
        MessageCommand::Close(command) => Ok(inbox::close(tx, command)?),
    }
}

/// The end of a message that nobody has read.
struct End<'a> {
    status: DeliveryStatus,
    failure: Option<&'a str>,
    actor: &'a str,
}

/// Ends a message that is in its inbox.
fn end(tx: &mut Tx<'_>, stored: &Stored, end: &End<'_>) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "UPDATE messages SET status = ?2, ended_at = ?3, failure = ?4 WHERE seq = ?1",
        )?
        .execute(params![
            stored.seq,
            status_code(end.status),
            tx.now.as_millis(),
            end.failure,
        ])?;
    let action = match end.status {
        DeliveryStatus::Expired => Action::MessageExpired,
        _ => Action::MessageFailed,
    };
    let mut details = described(&stored.message);
    if let Some(failure) = end.failure {
        details["reason"] = json!(failure);
    }
    log(tx, action, end.actor, &stored.message, details)
}

/// Returns the details that tell the events of a message apart without the message. Its
/// text is not among them.
fn described(message: &Message) -> serde_json::Value {
    let mut details = json!({
        "receiver_bot": message.receiver_bot,
        "priority": message.priority,
    });
    if let Some(sender) = &message.sender_bot {
        details["sender_bot"] = json!(sender);
    }
    details
}

fn log(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    message: &Message,
    details: serde_json::Value,
) -> rusqlite::Result<()> {
    tx.log_event(&NewEvent::new(action, actor, message.id.to_string()).details(details))
}

impl MessagingReads for SqliteStore {
    fn message(
        &self,
        id: BotMessageId,
        only_of: Option<BotName>,
    ) -> BoxFuture<'_, Result<Option<Message>, StoreError>> {
        self.readers.read(move |db| {
            let found = rows::find(db, id)?.map(|stored| stored.message);
            Ok(found.filter(|message| {
                only_of
                    .as_ref()
                    .is_none_or(|bot| lists::concerns(message, bot))
            }))
        })
    }

    fn messages(
        &self,
        filter: MessageFilter,
        only_of: Option<BotName>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Message>, StoreError>> {
        let before = match cursors::place(lists::MESSAGES, &page) {
            Ok(before) => before,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let list = lists::List {
            filter,
            only_of,
            before,
            limit: page.limit,
        };
        self.readers.read_whole(move |db| lists::page(db, &list))
    }

    fn next_delivery(&self, bot: BotName) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        self.readers
            .read(move |db| inbox::next_delivery(db, &bot, Timestamp::now()))
    }

    fn has_messages_to_close(
        &self,
        now: Timestamp,
        forget_before: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.internal_readers
            .read(move |db| inbox::has_work(db, now, forget_before))
    }

    fn session(
        &self,
        id: SessionId,
        only_of: Option<String>,
    ) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.find_session(id, only_of)
    }

    fn sessions(
        &self,
        filter: SessionFilter,
        only_of: Option<String>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Session>, StoreError>> {
        self.list_sessions(filter, only_of, &page)
    }

    fn has_sessions_to_settle(
        &self,
        now: Timestamp,
        forget_before: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.are_sessions_to_settle(now, forget_before)
    }

    fn bots_of_sessions(&self) -> BoxFuture<'_, Result<Vec<BotName>, StoreError>> {
        self.all_bots_of_sessions()
    }
}
