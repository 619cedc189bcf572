//! Conversion between rows of `messages` and the model.

use deia_model::{BotMessageId, DeliveryStatus, Message};
use rusqlite::{Connection, OptionalExtension, Row};

use super::super::rows;

/// A stored message.
pub(super) struct Stored {
    /// Position in the order of acceptance.
    pub(super) seq: i64,
    /// Number of times that its receiver was given it.
    pub(super) deliveries: u32,
    pub(super) message: Message,
}

/// The columns that [`stored`] reads, without the text.
macro_rules! columns {
    () => {
        "seq, id, sender_bot, sent_by, receiver_bot, session_id, priority, status, sent_at,
         delivered_at, read_at, expires_at, deliveries, failure"
    };
}

/// Selects messages with their text.
pub(super) const SELECT: &str = concat!("SELECT ", columns!(), ", content FROM messages");
/// Selects messages without their text, for lists.
pub(super) const SELECT_OUTLINE: &str = concat!("SELECT ", columns!(), ", NULL FROM messages");

pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let deliveries: u32 = row.get(12)?;
    Ok(Stored {
        seq: row.get(0)?,
        deliveries,
        message: Message {
            id: BotMessageId::from_bytes(row.get(1)?),
            sender_bot: rows::optional_parsed(row, 2)?,
            sent_by: row.get(3)?,
            receiver_bot: rows::parsed(row, 4)?,
            content: row.get(14)?,
            priority: rows::priority(row, 6)?,
            delivery_status: status(row, 7)?,
            timestamp: rows::time(row, 8)?,
            delivered_at: rows::optional_time(row, 9)?,
            read_at: rows::optional_time(row, 10)?,
            expires_at: rows::time(row, 11)?,
            retry_count: deliveries.saturating_sub(1),
            session_id: rows::session_id(row, 5)?,
            failure: row.get(13)?,
        },
    })
}

/// Returns the message with that id, with its text.
pub(super) fn find(db: &Connection, id: BotMessageId) -> rusqlite::Result<Option<Stored>> {
    db.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?
        .query_row([id.as_bytes()], stored)
        .optional()
}

/// Returns the position in [`DeliveryStatus::ALL`]; the schema's indexes contain these
/// numbers.
pub(super) fn status_code(status: DeliveryStatus) -> u8 {
    status as u8
}

fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<DeliveryStatus> {
    let code: u8 = row.get(column)?;
    let known = DeliveryStatus::ALL.get(usize::from(code)).copied();
    known.ok_or_else(|| rows::broken(column, format!("{code} is no state of a message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_schema() {
        let codes: Vec<_> = DeliveryStatus::ALL.into_iter().map(status_code).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        for status in DeliveryStatus::ALL {
            assert_eq!(status.is_final(), status_code(status) >= 2, "{status}");
        }
    }
}
