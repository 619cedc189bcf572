//! Acceptance of messages.

use std::time::Duration;

use deia_model::{
    Action, BotMessageId, BotName, DeliveryStatus, Message, NewMessage, Timestamp, Violation,
};
use rusqlite::{OptionalExtension, params};

use super::{
    super::{
        errors::ApplyError,
        idempotency::{remember, remembered},
        sessions,
        transaction::Tx,
    },
    described, log,
};
use crate::{CommitNotice, Rejection, Reply, SendMessage, SentMessage};

pub(super) fn send(tx: &mut Tx<'_>, command: &SendMessage) -> Result<Reply, ApplyError> {
    let (new, actor) = (&command.message, command.actor.as_str());
    if let Some(idempotency) = &command.idempotency
        && let Some(message) = remembered(tx, actor, idempotency)?
    {
        let replayed = true;
        return Ok(Reply::MessageSent(Box::new(SentMessage {
            message,
            replayed,
        })));
    }
    admit(tx, new, command.max_inbox)?;
    let message = accepted(new, actor, tx.now, command.ttl);
    insert(tx, &message, &new.content)?;
    if let Some(session) = new.session_id {
        sessions::note_message(tx, session)?;
    }
    log(
        tx,
        Action::MessageSent,
        actor,
        &message,
        described(&message),
    )?;
    if let Some(idempotency) = &command.idempotency {
        remember(tx, actor, idempotency, &message)?;
    }
    tx.notice_once(CommitNotice::MessageSent(message.receiver_bot.clone()));
    let replayed = false;
    Ok(Reply::MessageSent(Box::new(SentMessage {
        message,
        replayed,
    })))
}

/// Refuses a message that names a bot that does not exist, or whose receiver has no room.
fn admit(tx: &Tx<'_>, new: &NewMessage, max_inbox: u32) -> Result<(), ApplyError> {
    let named = [
        ("/receiver_bot", Some(&new.receiver_bot)),
        ("/sender_bot", new.sender_bot.as_ref()),
    ];
    let mut violations = Vec::new();
    for (pointer, bot) in named {
        if let Some(bot) = bot
            && !exists(tx, bot)?
        {
            violations.push(Violation {
                pointer: pointer.to_owned(),
                detail: format!("is {bot}, and there is no such bot"),
            });
        }
    }
    if let Some(session) = new.session_id
        && violations.is_empty()
        && !sessions::takes_message(tx.db, session, new.sender_bot.as_ref())?
    {
        violations.push(Violation {
            pointer: "/session_id".to_owned(),
            detail: format!("is {session}, which is not an active session, or not of its sender"),
        });
    }
    if !violations.is_empty() {
        return Err(Rejection::Invalid(violations).into());
    }
    let unread: u32 = tx
        .db
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM messages INDEXED BY messages_inbox
                                   WHERE receiver_bot = ?1 AND status <= 1 LIMIT ?2)",
        )?
        .query_row(params![new.receiver_bot.as_str(), max_inbox], |row| {
            row.get(0)
        })?;
    match unread < max_inbox {
        true => Ok(()),
        false => Err(Rejection::InboxFull {
            receiver: new.receiver_bot.clone(),
            limit: max_inbox,
        }
        .into()),
    }
}

fn exists(tx: &Tx<'_>, bot: &BotName) -> rusqlite::Result<bool> {
    let found = tx
        .db
        .prepare_cached("SELECT 1 FROM bots WHERE name = ?1")?
        .query_row([bot.as_str()], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Returns the message as it is answered: without its text, which the caller has.
fn accepted(new: &NewMessage, actor: &str, now: Timestamp, ttl: Duration) -> Message {
    Message {
        id: BotMessageId::new(),
        sender_bot: new.sender_bot.clone(),
        sent_by: actor.to_owned(),
        receiver_bot: new.receiver_bot.clone(),
        content: None,
        priority: new.priority,
        delivery_status: DeliveryStatus::Queued,
        timestamp: now,
        delivered_at: None,
        read_at: None,
        expires_at: now.plus_millis(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        retry_count: 0,
        session_id: new.session_id,
        failure: None,
    }
}

fn insert(tx: &Tx<'_>, message: &Message, content: &str) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT INTO messages (id, sender_bot, sent_by, receiver_bot, session_id, priority, status,
                                   sent_at, expires_at, due_at, closes_at, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?7, ?8, ?9)",
        )?
        .execute(params![
            message.id.as_bytes(),
            message.sender_bot.as_ref().map(BotName::as_str),
            message.sent_by,
            message.receiver_bot.as_str(),
            message.session_id.as_ref().map(|id| id.as_bytes()),
            message.priority.rank(),
            message.timestamp.as_millis(),
            message.expires_at.as_millis(),
            content,
        ])?;
    Ok(())
}
