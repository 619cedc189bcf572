//! The inbox of a bot: deliveries, reads, and the ends of messages that nobody reads.

use deia_model::{Action, BotName, DeliveryStatus, Timestamp};
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    super::{errors::ApplyError, transaction::Tx, unreadable::lenient},
    End, described, end, log,
    rows::{self, SELECT, SELECT_OUTLINE, Stored},
};
use crate::{CloseMessages, ReadMessage, Rejection, Reply, TakeMessages};

/// Messages of an inbox that are ended in one step when its bot is removed. Fixed: bounds
/// one step, so that others get their turn; the whole has no limit here.
const REMOVED_AT_ONCE: u32 = 1_000;

pub(super) fn take(tx: &mut Tx<'_>, command: &TakeMessages) -> rusqlite::Result<Reply> {
    let sql = format!(
        "{SELECT} INDEXED BY messages_inbox
         WHERE receiver_bot = ?1 AND status <= 1 AND due_at <= ?2 AND closes_at > ?2
         ORDER BY priority, seq LIMIT ?3"
    );
    let mut taken = Vec::new();
    let mut bytes = 0;
    {
        let mut due = tx.db.prepare_cached(&sql)?;
        let of = params![command.bot.as_str(), tx.now.as_millis(), command.limit];
        let mut due = due.query(of)?;
        while let Some(row) = due.next()? {
            let Some(stored) = lenient("messages", row, rows::stored)? else {
                continue;
            };
            bytes += stored.message.content.as_ref().map_or(0, String::len) as u64;
            if !taken.is_empty() && bytes > command.max_bytes {
                break;
            }
            taken.push(stored);
        }
    }
    let mut messages = Vec::with_capacity(taken.len());
    for stored in taken {
        let delivered = deliver(tx, stored, command)?;
        messages.push(delivered.message);
    }
    Ok(Reply::Messages(messages))
}

/// Records that the receiver is given a message.
fn deliver(
    tx: &mut Tx<'_>,
    mut stored: Stored,
    command: &TakeMessages,
) -> rusqlite::Result<Stored> {
    stored.deliveries += 1;
    let again_at = tx.after(command.redeliver_after);
    let message = &mut stored.message;
    // After the last delivery the message is not due any more: it waits to be read.
    let is_last = stored.deliveries >= command.max_deliveries;
    let (due_at, closes_at) = match is_last {
        true => (i64::MAX, again_at.min(message.expires_at)),
        false => (again_at.as_millis(), message.expires_at),
    };
    tx.db
        .prepare_cached(
            "UPDATE messages SET status = 1, delivered_at = ?2, deliveries = ?3, due_at = ?4,
                                 closes_at = ?5 WHERE seq = ?1",
        )?
        .execute(params![
            stored.seq,
            tx.now.as_millis(),
            stored.deliveries,
            due_at,
            closes_at.as_millis(),
        ])?;
    message.delivery_status = DeliveryStatus::Delivered;
    message.delivered_at = Some(tx.now);
    message.retry_count = stored.deliveries - 1;
    let mut details = described(message);
    details["retry_count"] = json!(message.retry_count);
    log(
        tx,
        Action::MessageDelivered,
        &command.actor,
        message,
        details,
    )?;
    Ok(stored)
}

pub(super) fn read(tx: &mut Tx<'_>, command: &ReadMessage) -> Result<Reply, ApplyError> {
    let is_for = |stored: &Stored| {
        let only_for = command.only_for.as_ref();
        only_for.is_none_or(|bot| *bot == stored.message.receiver_bot)
    };
    let found = rows::find(tx.db, command.message)?.filter(is_for);
    let Stored {
        seq, mut message, ..
    } = found.ok_or(Rejection::NoSuchMessage(command.message))?;
    match message.delivery_status {
        DeliveryStatus::Read => return Ok(Reply::Message(Box::new(message))),
        DeliveryStatus::Failed | DeliveryStatus::Expired => {
            return Err(over(&message.delivery_status, command).into());
        }
        // The end of the message is not recorded yet.
        DeliveryStatus::Queued | DeliveryStatus::Delivered if message.expires_at <= tx.now => {
            return Err(over(&DeliveryStatus::Expired, command).into());
        }
        DeliveryStatus::Queued | DeliveryStatus::Delivered => {}
    }
    tx.db
        .prepare_cached(
            "UPDATE messages SET status = 2, read_at = ?2, ended_at = ?2,
                                 delivered_at = coalesce(delivered_at, ?2) WHERE seq = ?1",
        )?
        .execute(params![seq, tx.now.as_millis()])?;
    message.delivery_status = DeliveryStatus::Read;
    message.read_at = Some(tx.now);
    message.delivered_at.get_or_insert(tx.now);
    let details = described(&message);
    log(tx, Action::MessageRead, &command.actor, &message, details)?;
    Ok(Reply::Message(Box::new(message)))
}

fn over(status: &DeliveryStatus, command: &ReadMessage) -> Rejection {
    Rejection::MessageIsOver {
        message: command.message,
        status: *status,
    }
}

pub(super) fn close(tx: &mut Tx<'_>, command: &CloseMessages) -> rusqlite::Result<Reply> {
    let over = outlines(
        tx.db,
        "INDEXED BY messages_open WHERE status <= 1 AND closes_at <= ?1 ORDER BY closes_at LIMIT ?2",
        params![tx.now.as_millis(), command.limit],
    )?;
    for stored in &over {
        let expired = stored.message.expires_at <= tx.now;
        let failure = format!("it was delivered {} times and not read", stored.deliveries);
        let ended = match expired {
            true => End {
                status: DeliveryStatus::Expired,
                failure: None,
                actor: "deia",
            },
            false => End {
                status: DeliveryStatus::Failed,
                failure: Some(&failure),
                actor: "deia",
            },
        };
        end(tx, stored, &ended)?;
    }
    let forgotten = tx
        .db
        .prepare_cached(
            "DELETE FROM messages WHERE seq IN
                 (SELECT seq FROM messages INDEXED BY messages_ended
                  WHERE status >= 2 AND ended_at < ?1 ORDER BY ended_at LIMIT ?2)",
        )?
        .execute(params![command.forget_before.as_millis(), command.limit])?;
    Ok(Reply::Done((over.len() + forgotten) as u64))
}

/// Fails the unread messages of a bot that is being removed.
pub(in super::super) fn receiver_removed(
    tx: &mut Tx<'_>,
    bot: &BotName,
    actor: &str,
) -> rusqlite::Result<()> {
    loop {
        let unread = outlines(
            tx.db,
            "INDEXED BY messages_inbox WHERE receiver_bot = ?1 AND status <= 1 LIMIT ?2",
            params![bot.as_str(), REMOVED_AT_ONCE],
        )?;
        if unread.is_empty() {
            return Ok(());
        }
        for stored in &unread {
            let ended = End {
                status: DeliveryStatus::Failed,
                failure: Some("its receiver was removed"),
                actor,
            };
            end(tx, stored, &ended)?;
        }
    }
}

fn outlines(
    db: &Connection,
    which: &str,
    of: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Stored>> {
    db.prepare_cached(&format!("{SELECT_OUTLINE} {which}"))?
        .query_map(of, |row| lenient("messages", row, rows::stored))?
        .filter_map(Result::transpose)
        .collect()
}

/// Returns the time at which the bot can be given a message next.
pub(super) fn next_delivery(
    db: &Connection,
    bot: &BotName,
    now: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT min(due_at) FROM messages INDEXED BY messages_inbox
             WHERE receiver_bot = ?1 AND status <= 1 AND closes_at > ?2 AND due_at < closes_at",
        )?
        .query_row(params![bot.as_str(), now.as_millis()], |row| row.get(0))?;
    Ok(next.map(Timestamp::from_millis))
}

/// Returns whether messages are to be ended or forgotten.
pub(super) fn has_work(
    db: &Connection,
    now: Timestamp,
    forget_before: Timestamp,
) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM messages INDEXED BY messages_open
                        WHERE status <= 1 AND closes_at <= ?1)
             OR EXISTS (SELECT 1 FROM messages INDEXED BY messages_ended
                        WHERE status >= 2 AND ended_at < ?2)",
    )?
    .query_row(params![now.as_millis(), forget_before.as_millis()], |row| {
        row.get(0)
    })
}
