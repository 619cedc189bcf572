//! Lists of messages, page by page.

use deia_model::{BotMessageId, BotName, Message, MessageFilter, Page};
use rusqlite::{Connection, OptionalExtension, Rows, params, types::Value};

use super::{
    super::{cursors::cursor_text, unreadable::lenient},
    rows::{self, SELECT_OUTLINE},
};

/// The list of messages, in cursors.
pub(super) const MESSAGES: &str = "messages";

/// Maximum number of rows that one page examines. A filter that matches little gives
/// short pages instead of slow ones. Fixed: bounds the time of one read; the next page
/// goes on.
const SCAN_LIMIT: usize = 50_000;

/// A query for one page of messages.
pub(super) struct List {
    pub(super) filter: MessageFilter,
    /// If set, only messages that this bot sent or receives.
    pub(super) only_of: Option<BotName>,
    pub(super) before: Option<BotMessageId>,
    pub(super) limit: u32,
}

/// Returns whether a bot sent or receives a message.
pub(super) fn concerns(message: &Message, bot: &BotName) -> bool {
    message.receiver_bot == *bot || message.sender_bot.as_ref() == Some(bot)
}

impl List {
    fn matches(&self, message: &Message) -> bool {
        let filter = &self.filter;
        let is = |wanted: &Option<BotName>, is: Option<&BotName>| {
            wanted.as_ref().is_none_or(|wanted| Some(wanted) == is)
        };
        is(&filter.sender, message.sender_bot.as_ref())
            && is(&filter.receiver, Some(&message.receiver_bot))
            && filter.status.is_none_or(|it| it == message.delivery_status)
            && filter
                .session
                .is_none_or(|it| message.session_id == Some(it))
            && self
                .only_of
                .as_ref()
                .is_none_or(|bot| concerns(message, bot))
    }

    /// Returns the rows to examine, newest first, with their `?2` if they have one. A bot
    /// must not examine messages of others: the cursor of a short page would reveal them.
    fn source(&self) -> (String, Option<Value>) {
        const OF_RECEIVER: &str =
            "INDEXED BY messages_receiver WHERE receiver_bot = ?2 AND seq < ?1";
        const OF_SENDER: &str = "INDEXED BY messages_sender
             WHERE sender_bot IS NOT NULL AND sender_bot = ?2 AND seq < ?1";
        let of = |which: &str| format!("{SELECT_OUTLINE} {which}");
        let text = |bot: &BotName| Value::Text(bot.as_str().to_owned());
        let filter = &self.filter;
        if let Some(bot) = &self.only_of {
            let both = format!("{} UNION {}", of(OF_RECEIVER), of(OF_SENDER));
            return (both, Some(text(bot)));
        }
        if let Some(session) = &filter.session {
            let which = "INDEXED BY messages_session
                 WHERE session_id IS NOT NULL AND session_id = ?2 AND seq < ?1";
            return (of(which), Some(Value::Blob(session.as_bytes().to_vec())));
        }
        match (&filter.receiver, &filter.sender) {
            (Some(bot), _) => (of(OF_RECEIVER), Some(text(bot))),
            (None, Some(bot)) => (of(OF_SENDER), Some(text(bot))),
            (None, None) => (of("NOT INDEXED WHERE seq < ?1"), None),
        }
    }
}

/// Returns messages without their text, the newest first.
pub(super) fn page(db: &Connection, list: &List) -> rusqlite::Result<Page<Message>> {
    let before = below(db, list.before)?;
    let (source, of) = list.source();
    let mut statement = db.prepare_cached(&format!("{source} ORDER BY seq DESC"))?;
    let found = match of {
        Some(of) => statement.query(params![before, of])?,
        None => statement.query([before])?,
    };
    gather(found, list)
}

fn gather(mut found: Rows<'_>, list: &List) -> rusqlite::Result<Page<Message>> {
    let (mut items, mut looked, mut last, mut more) = (Vec::new(), 0, None, false);
    while let Some(row) = found.next()? {
        let Some(stored) = lenient("messages", row, rows::stored)? else {
            continue;
        };
        if items.len() == list.limit as usize || looked == SCAN_LIMIT {
            more = true;
            break;
        }
        (looked, last) = (looked + 1, Some(stored.message.id));
        if list.matches(&stored.message) {
            items.push(stored.message);
        }
    }
    Ok(Page {
        items,
        next_cursor: last.filter(|_| more).map(|id| cursor_text(MESSAGES, &id)),
    })
}

/// Returns the row number below which a list continues; also for a message that was
/// forgotten meanwhile.
fn below(db: &Connection, before: Option<BotMessageId>) -> rusqlite::Result<i64> {
    let Some(id) = before else {
        return Ok(i64::MAX);
    };
    let seq = db
        .prepare_cached("SELECT seq FROM messages WHERE id >= ?1 ORDER BY id LIMIT 1")?
        .query_row([id.as_bytes()], |row| row.get(0));
    Ok(seq.optional()?.unwrap_or(i64::MAX))
}
