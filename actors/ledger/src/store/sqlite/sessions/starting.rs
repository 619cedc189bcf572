//! Starts of sessions, and their activity.

use deia_model::{Action, BotName, OnBotDeath, Session, SessionId, Violation};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::{
    super::{
        errors::ApplyError,
        idempotency::{remember, remembered},
        transaction::Tx,
    },
    Launched, launched, log,
};
use crate::{Rejection, Reply, StartSession, StartedSession};

pub(super) fn start(tx: &mut Tx<'_>, command: &StartSession) -> Result<Reply, ApplyError> {
    let user = command.user.as_str();
    if let Some(idempotency) = &command.idempotency
        && let Some(session) = remembered(tx, user, idempotency)?
    {
        return Ok(started(session, true));
    }
    admit(tx, command)?;
    let session = new(tx, command);
    insert(tx, &session)?;
    let details = json!({
        "bot": session.bot,
        "on_bot_death": session.on_bot_death,
        "idle_ttl_seconds": session.idle_ttl_seconds,
        "ip_address": session.ip_address,
    });
    log(tx, Action::SessionStarted, user, &session, details)?;
    if let Some(idempotency) = &command.idempotency {
        remember(tx, user, idempotency, &session)?;
    }
    Ok(started(session, false))
}

fn started(session: Session, replayed: bool) -> Reply {
    Reply::SessionStarted(Box::new(StartedSession { session, replayed }))
}

/// Refuses a session whose bot takes no tasks, or one too many of its user.
fn admit(tx: &Tx<'_>, command: &StartSession) -> Result<(), ApplyError> {
    if let Some(bot) = &command.session.bot {
        let detail = match launched(tx.db, bot)? {
            None => Some(format!("is {bot}, and there is no such bot")),
            Some(Launched::Yes) => None,
            Some(_) => Some(format!("is {bot}, which is not launched or drains")),
        };
        if let Some(detail) = detail {
            let pointer = "/bot".to_owned();
            return Err(Rejection::Invalid(vec![Violation { pointer, detail }]).into());
        }
    }
    let active: u32 = tx
        .db
        .prepare_cached(
            "SELECT count(*) FROM sessions INDEXED BY sessions_active
             WHERE user = ?1 AND ended_at IS NULL",
        )?
        .query_row([&command.user], |row| row.get(0))?;
    match active < command.max_per_user {
        true => Ok(()),
        false => Err(Rejection::TooManySessions {
            limit: command.max_per_user,
        }
        .into()),
    }
}

fn new(tx: &Tx<'_>, command: &StartSession) -> Session {
    Session {
        id: SessionId::new(),
        user: command.user.clone(),
        bot: command.session.bot.clone(),
        on_bot_death: command.session.on_bot_death,
        created_at: tx.now,
        ended_at: None,
        end_reason: None,
        last_activity: tx.now,
        idle_ttl_seconds: command.idle_ttl.as_secs(),
        is_active: true,
        tasks_submitted: 0,
        messages_exchanged: 0,
        ip_address: command.ip_address.clone(),
        user_agent: command.user_agent.clone(),
    }
}

fn insert(tx: &Tx<'_>, session: &Session) -> rusqlite::Result<()> {
    let idle_ms = i64::try_from(session.idle_ttl_seconds.saturating_mul(1_000));
    let idle_ms = idle_ms.unwrap_or(i64::MAX);
    let now = tx.now.as_millis();
    tx.db
        .prepare_cached(
            "INSERT INTO sessions (id, user, bot, fails, created_at, last_activity, idle_ms, idle_at,
                                   ip_address, user_agent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            session.id.as_bytes(),
            session.user,
            session.bot.as_ref().map(BotName::as_str),
            session.on_bot_death == OnBotDeath::Fail,
            now,
            idle_ms,
            now.saturating_add(idle_ms),
            session.ip_address,
            session.user_agent,
        ])?;
    Ok(())
}

/// Returns whether there is such a session of that user, and it is active.
pub(in super::super) fn is_active_of(
    db: &Connection,
    id: SessionId,
    user: &str,
) -> rusqlite::Result<bool> {
    let found = db
        .prepare_cached("SELECT 1 FROM sessions WHERE id = ?1 AND user = ?2 AND ended_at IS NULL")?
        .query_row(params![id.as_bytes(), user], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Returns whether a message may belong to a session: it is active and, if a bot sends the
/// message, has that bot.
pub(in super::super) fn takes_message(
    db: &Connection,
    id: SessionId,
    sender: Option<&BotName>,
) -> rusqlite::Result<bool> {
    let found = db
        .prepare_cached(
            "SELECT 1 FROM sessions WHERE id = ?1 AND ended_at IS NULL AND (?2 IS NULL OR bot = ?2)",
        )?
        .query_row(params![id.as_bytes(), sender.map(BotName::as_str)], |_| {
            Ok(())
        })
        .optional()?;
    Ok(found.is_some())
}

/// Counts a message in its session.
pub(in super::super) fn note_message(tx: &Tx<'_>, id: SessionId) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "UPDATE sessions SET messages_exchanged = messages_exchanged + 1, last_activity = ?2,
                                 idle_at = ?2 + idle_ms WHERE id = ?1",
        )?
        .execute(params![id.as_bytes(), tx.now.as_millis()])?;
    Ok(())
}
