//! Sessions: their start and end, their bots, and the tasks that go to these.

mod binding;
mod ending;
mod lists;
mod starting;

use deia_model::{
    Action, BotName, NewEvent, OnBotDeath, Page, PageRequest, Session, SessionFilter, SessionId,
    Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row};

pub(super) use self::{
    binding::{ahead, bind, joined_by_task, may_start, pin_again, ready, ready_lanes, unpin},
    ending::end_of_user,
    starting::{is_active_of, note_message, takes_message},
};
use super::{SqliteStore, cursors, errors::ApplyError, rows, transaction::Tx};
use crate::{BoxFuture, Reply, SessionCommand, StoreError};

pub(super) fn apply(tx: &mut Tx<'_>, command: &SessionCommand) -> Result<Reply, ApplyError> {
    match command {
        SessionCommand::Start(command) => starting::start(tx, command),
        SessionCommand::End(command) => ending::end_by_caller(tx, command),
        SessionCommand::Release(command) => Ok(ending::release(tx, command)?),
        SessionCommand::Settle(command) => Ok(ending::settle(tx, command)?),
    }
}

const SELECT: &str = "SELECT id, user, bot, fails, created_at, ended_at, end_reason, last_activity,
        idle_ms, tasks_submitted, messages_exchanged, ip_address, user_agent FROM sessions";

fn record(row: &Row<'_>) -> rusqlite::Result<Session> {
    let ended_at = rows::optional_time(row, 5)?;
    Ok(Session {
        id: SessionId::from_bytes(row.get(0)?),
        user: row.get(1)?,
        bot: rows::optional_parsed(row, 2)?,
        on_bot_death: match row.get(3)? {
            true => OnBotDeath::Fail,
            false => OnBotDeath::Rebind,
        },
        created_at: rows::time(row, 4)?,
        ended_at,
        end_reason: rows::optional_parsed(row, 6)?,
        last_activity: rows::time(row, 7)?,
        idle_ttl_seconds: row.get::<_, i64>(8)?.unsigned_abs() / 1_000,
        is_active: ended_at.is_none(),
        tasks_submitted: row.get::<_, i64>(9)?.unsigned_abs(),
        messages_exchanged: row.get::<_, i64>(10)?.unsigned_abs(),
        ip_address: row.get(11)?,
        user_agent: row.get(12)?,
    })
}

fn find(db: &Connection, id: SessionId) -> rusqlite::Result<Option<Session>> {
    db.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?
        .query_row([id.as_bytes()], record)
        .optional()
}

/// The part of a bot's desired state that its sessions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Launched {
    No,
    Yes,
    Drains,
}

/// Returns whether a bot is launched; `None` if it does not exist.
fn launched(db: &Connection, bot: &BotName) -> rusqlite::Result<Option<Launched>> {
    db.prepare_cached("SELECT launched FROM bots WHERE name = ?1")?
        .query_row([bot.as_str()], |row| {
            Ok(match row.get::<_, Option<i64>>(0)? {
                Some(1) => Launched::Yes,
                Some(2) => Launched::Drains,
                _ => Launched::No,
            })
        })
        .optional()
}

fn log(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    session: &Session,
    details: serde_json::Value,
) -> rusqlite::Result<()> {
    let event = NewEvent::new(action, actor, session.id.to_string());
    tx.log_event(&event.owner(&*session.user).details(details))
}

/// Reads of sessions, for [`MessagingReads`](crate::MessagingReads).
impl SqliteStore {
    pub(super) fn find_session(
        &self,
        id: SessionId,
        only_of: Option<String>,
    ) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.readers.read(move |db| {
            let found = find(db, id)?;
            let is_of = |it: &Session| only_of.as_ref().is_none_or(|user| *user == it.user);
            Ok(found.filter(is_of))
        })
    }

    pub(super) fn list_sessions(
        &self,
        filter: SessionFilter,
        only_of: Option<String>,
        page: &PageRequest,
    ) -> BoxFuture<'_, Result<Page<Session>, StoreError>> {
        let before = match cursors::place(lists::SESSIONS, page) {
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

    pub(super) fn are_sessions_to_settle(
        &self,
        now: Timestamp,
        forget_before: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.internal_readers
            .read(move |db| ending::has_work(db, now, forget_before))
    }

    pub(super) fn all_bots_of_sessions(&self) -> BoxFuture<'_, Result<Vec<BotName>, StoreError>> {
        self.internal_readers.read(binding::bots)
    }
}
