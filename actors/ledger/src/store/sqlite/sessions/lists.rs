//! Lists of sessions, page by page.

use deia_model::{Page, Session, SessionFilter, SessionId};
use rusqlite::{Connection, params};

use super::{
    super::{cursors::cursor_text, unreadable::lenient},
    SELECT, record,
};

/// The list of sessions, in cursors.
pub(super) const SESSIONS: &str = "sessions";

/// Maximum number of rows that one page examines. Fixed: bounds the time of one read; the
/// next page goes on.
const SCAN_LIMIT: usize = 50_000;

/// A query for one page of sessions.
pub(super) struct List {
    pub(super) filter: SessionFilter,
    /// If set, only sessions of this user.
    pub(super) only_of: Option<String>,
    pub(super) before: Option<SessionId>,
    pub(super) limit: u32,
}

impl List {
    fn matches(&self, session: &Session) -> bool {
        let filter = &self.filter;
        filter.active.is_none_or(|it| it == session.is_active)
            && filter.user.as_ref().is_none_or(|it| *it == session.user)
            && (filter.bot.is_none() || filter.bot == session.bot)
    }
}

/// Returns sessions, the newest first. Callers who see only their own examine no others.
pub(super) fn page(db: &Connection, list: &List) -> rusqlite::Result<Page<Session>> {
    let user = list.only_of.as_ref().or(list.filter.user.as_ref());
    let source = match user {
        Some(_) => "INDEXED BY sessions_of_user WHERE user = ?2 AND",
        None => "WHERE ?2 IS NULL AND",
    };
    let before = list.before.unwrap_or(SessionId::from_bytes([0xff; 16]));
    let sql = format!("{SELECT} {source} id < ?1 ORDER BY id DESC");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params![before.as_bytes(), user])?;
    let (mut items, mut looked, mut last, mut more) = (Vec::new(), 0, None, false);
    while let Some(row) = found.next()? {
        let Some(session) = lenient("sessions", row, record)? else {
            continue;
        };
        if items.len() == list.limit as usize || looked == SCAN_LIMIT {
            more = true;
            break;
        }
        (looked, last) = (looked + 1, Some(session.id));
        if list.matches(&session) {
            items.push(session);
        }
    }
    Ok(Page {
        items,
        next_cursor: last.filter(|_| more).map(|id| cursor_text(SESSIONS, &id)),
    })
}
