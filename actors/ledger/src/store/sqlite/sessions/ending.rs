//! Ends of sessions: by a caller, by idleness, with their bot, with their user.

use deia_model::{
    Action, BotName, EndReason, OnBotDeath, Session, SessionEnd, SessionId, TaskStatus, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::{
    super::{
        errors::ApplyError,
        transaction::Tx,
        unreadable::lenient,
        waiting::{self, SELECT_WAITING, Waiting},
    },
    Launched, SELECT, binding, find, launched, log, record,
};
use crate::{EndSession, Rejection, ReleaseBot, Reply, SettleSessions};

/// Waiting tasks that are cancelled in the transaction that ends their session. Fixed:
/// bounds one step, so that others get their turn; the whole has no limit here.
const CANCELLED_AT_ONCE: u32 = 500;

pub(super) fn end_by_caller(tx: &mut Tx<'_>, command: &EndSession) -> Result<Reply, ApplyError> {
    let is_of = |session: &Session| {
        let only_of = command.only_of.as_ref();
        only_of.is_none_or(|user| *user == session.user)
    };
    let id = command.session;
    let session = find(tx.db, id)?.filter(is_of);
    let session = session.ok_or(Rejection::NoSuchSession(id))?;
    if session.is_active {
        end(tx, &session, SessionEnd::Ended, &command.actor, None)?;
    }
    if command.cancel_waiting {
        mark(tx, id, &command.actor)?;
        end_waiting(tx, id, CANCELLED_AT_ONCE)?;
    }
    let session = find(tx.db, id)?.ok_or(Rejection::NoSuchSession(id))?;
    Ok(Reply::Session(Box::new(session)))
}

/// Ends an active session.
fn end(
    tx: &mut Tx<'_>,
    session: &Session,
    reason: SessionEnd,
    actor: &str,
    words: Option<&str>,
) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("UPDATE sessions SET ended_at = ?2, end_reason = ?3 WHERE id = ?1")?
        .execute(params![
            session.id.as_bytes(),
            tx.now.as_millis(),
            reason.as_str()
        ])?;
    let mut details = json!({
        "reason": reason,
        "bot": session.bot,
        "tasks_submitted": session.tasks_submitted,
        "messages_exchanged": session.messages_exchanged,
    });
    if let Some(words) = words {
        details["error"] = json!(words);
    }
    log(tx, Action::SessionEnded, actor, session, details)
}

/// Notes that the waiting tasks of an ended session are to be ended as well, also those that
/// are given back later.
fn mark(tx: &Tx<'_>, id: SessionId, actor: &str) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "UPDATE sessions SET cancelled_by = coalesce(cancelled_by, ?2) WHERE id = ?1",
        )?
        .execute(params![id.as_bytes(), actor])?;
    Ok(())
}

/// Returns whether the waiting tasks of a session are to be ended.
pub(super) fn is_marked(db: &Connection, id: SessionId) -> rusqlite::Result<bool> {
    let found = db
        .prepare_cached("SELECT 1 FROM sessions WHERE id = ?1 AND cancelled_by IS NOT NULL")?
        .query_row([id.as_bytes()], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Ends the sessions of a user who was deleted or deactivated. Their tasks go on.
pub(in super::super) fn end_of_user(
    tx: &mut Tx<'_>,
    user: &str,
    actor: &str,
) -> rusqlite::Result<()> {
    let active: Vec<Session> = tx
        .db
        .prepare_cached(&format!(
            "{SELECT} INDEXED BY sessions_active WHERE user = ?1 AND ended_at IS NULL"
        ))?
        .query_map([user], |row| lenient("sessions", row, record))?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()?;
    for session in &active {
        end(tx, session, SessionEnd::UserGone, actor, None)?;
    }
    Ok(())
}

pub(super) fn release(tx: &mut Tx<'_>, command: &ReleaseBot) -> rusqlite::Result<Reply> {
    if !command.although_launched && is_wanted(tx.db, &command.bot)? {
        return Ok(Reply::Done(0));
    }
    let words = format!("bot {} {}", command.bot, command.reason);
    let sessions: Vec<Session> = tx
        .db
        .prepare_cached(&format!(
            "{SELECT} INDEXED BY sessions_of_bot
             WHERE ended_at IS NULL AND bot IS NOT NULL AND bot = ?1 LIMIT ?2"
        ))?
        .query_map(params![command.bot.as_str(), command.limit], |row| {
            lenient("sessions", row, record)
        })?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()?;
    for session in &sessions {
        lose_bot(tx, session, &words)?;
    }
    let mut changed = sessions.len() as u64;
    if sessions.len() < command.limit as usize {
        changed += release_tasks(tx, command)?;
    }
    Ok(Reply::Done(changed))
}

fn is_wanted(db: &Connection, bot: &BotName) -> rusqlite::Result<bool> {
    let wanted = [Launched::Yes, Launched::Drains];
    Ok(launched(db, bot)?.is_some_and(|it| wanted.contains(&it)))
}

fn lose_bot(tx: &mut Tx<'_>, session: &Session, words: &str) -> rusqlite::Result<()> {
    match session.on_bot_death {
        OnBotDeath::Fail => {
            end(tx, session, SessionEnd::BotDied, "deia", Some(words))?;
            mark(tx, session.id, "deia")
        }
        OnBotDeath::Rebind => {
            tx.db
                .prepare_cached("UPDATE sessions SET bot = NULL WHERE id = ?1")?
                .execute([session.id.as_bytes()])?;
            let details = json!({"bot": session.bot, "reason": words});
            log(tx, Action::SessionReleased, "deia", session, details)
        }
    }
}

/// Means waiting tasks for the bots that their sessions have now, and fails those of sessions
/// that ended with their bot.
fn release_tasks(tx: &mut Tx<'_>, command: &ReleaseBot) -> rusqlite::Result<u64> {
    let sql = format!(
        "{SELECT_WAITING} INDEXED BY tasks_pinned
         WHERE pinned IS NOT NULL AND pinned = ?1 AND status <= 1
         AND seq NOT IN (SELECT seq FROM unreadable) LIMIT ?2"
    );
    let of = params![command.bot.as_str(), command.limit];
    let waiting = tx.read_tasks(&sql, of, Waiting::read)?;
    for task in &waiting {
        let session = match task.session {
            Some(id) => find(tx.db, id)?,
            None => None,
        };
        match session {
            Some(session) if session.end_reason == Some(SessionEnd::BotDied) => {
                end_task(tx, task, &session, "deia")?;
            }
            Some(session) if session.is_active => {
                binding::pin(tx, task.seq, session.bot.as_ref())?;
            }
            _ => binding::pin(tx, task.seq, None)?,
        }
    }
    Ok(waiting.len() as u64)
}

/// Ends a waiting task of an ended session.
fn end_task(
    tx: &mut Tx<'_>,
    task: &Waiting,
    session: &Session,
    actor: &str,
) -> rusqlite::Result<()> {
    let died = session.end_reason == Some(SessionEnd::BotDied);
    let words = match (died, &session.bot) {
        (true, Some(bot)) => format!("the bot of its session, {bot}, died"),
        (true, None) => "the bot of its session died".to_owned(),
        (false, _) => format!("cancelled with its session by {actor}"),
    };
    let ended = match died {
        true => waiting::End {
            status: TaskStatus::Failed,
            reason: EndReason::Session,
            actor,
            error: &words,
        },
        false => waiting::End {
            status: TaskStatus::Cancelled,
            reason: EndReason::Cancelled,
            actor,
            error: &words,
        },
    };
    waiting::end(tx, task, &ended)
}

/// Ends waiting tasks of a marked session, at most `limit`; returns the number. A session
/// without unfinished tasks is not marked any more.
fn end_waiting(tx: &mut Tx<'_>, id: SessionId, limit: u32) -> rusqlite::Result<u64> {
    let Some(session) = find(tx.db, id)? else {
        return Ok(0);
    };
    let actor: Option<String> = tx
        .db
        .prepare_cached("SELECT cancelled_by FROM sessions WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))?;
    let actor = actor.unwrap_or_else(|| "deia".to_owned());
    let sql = format!(
        "{SELECT_WAITING} INDEXED BY tasks_of_session
         WHERE session IS NOT NULL AND session = ?1 AND status <= 1
         AND seq NOT IN (SELECT seq FROM unreadable) LIMIT ?2"
    );
    let waiting = tx.read_tasks(&sql, params![id.as_bytes(), limit], Waiting::read)?;
    for task in &waiting {
        end_task(tx, task, &session, &actor)?;
    }
    if waiting.len() < limit as usize && !has_unfinished(tx.db, id)? {
        tx.db
            .prepare_cached("UPDATE sessions SET cancelled_by = NULL WHERE id = ?1")?
            .execute([id.as_bytes()])?;
    }
    Ok(waiting.len() as u64)
}

fn has_unfinished(db: &Connection, id: SessionId) -> rusqlite::Result<bool> {
    let found = db
        .prepare_cached(
            "SELECT 1 FROM tasks INDEXED BY tasks_of_session
             WHERE session IS NOT NULL AND session = ?1 AND status <= 2 LIMIT 1",
        )?
        .query_row([id.as_bytes()], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

pub(super) fn settle(tx: &mut Tx<'_>, command: &SettleSessions) -> rusqlite::Result<Reply> {
    let mut changed = end_idle(tx, command.limit)?;
    changed += end_marked(tx, command.limit)?;
    let forgotten = tx
        .db
        .prepare_cached(
            "DELETE FROM sessions WHERE id IN
                 (SELECT id FROM sessions INDEXED BY sessions_ended
                  WHERE ended_at IS NOT NULL AND ended_at < ?1 AND cancelled_by IS NULL
                  ORDER BY ended_at LIMIT ?2)",
        )?
        .execute(params![command.forget_before.as_millis(), command.limit])?;
    Ok(Reply::Done(changed + forgotten as u64))
}

/// Ends sessions that were idle for their time. An unfinished task is activity.
fn end_idle(tx: &mut Tx<'_>, limit: u32) -> rusqlite::Result<u64> {
    let idle: Vec<Session> = tx
        .db
        .prepare_cached(&format!(
            "{SELECT} INDEXED BY sessions_idle
             WHERE ended_at IS NULL AND idle_at <= ?1 ORDER BY idle_at LIMIT ?2"
        ))?
        .query_map(params![tx.now.as_millis(), limit], |row| {
            lenient("sessions", row, record)
        })?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()?;
    for session in &idle {
        match has_unfinished(tx.db, session.id)? {
            true => {
                tx.db
                    .prepare_cached("UPDATE sessions SET idle_at = ?2 + idle_ms WHERE id = ?1")?
                    .execute(params![session.id.as_bytes(), tx.now.as_millis()])?;
            }
            false => end(tx, session, SessionEnd::Idle, "deia", None)?,
        }
    }
    Ok(idle.len() as u64)
}

/// Ends waiting tasks of marked sessions.
fn end_marked(tx: &mut Tx<'_>, limit: u32) -> rusqlite::Result<u64> {
    let marked: Vec<SessionId> = tx
        .db
        .prepare_cached(&format!("SELECT id FROM {MARKED} LIMIT ?1"))?
        .query_map([limit], |row| Ok(SessionId::from_bytes(row.get(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut left = limit;
    for id in &marked {
        let ended = end_waiting(tx, *id, left)?;
        left = left.saturating_sub(u32::try_from(ended).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
    }
    Ok(marked.len() as u64 + u64::from(limit - left))
}

/// The marked sessions with a task to end, and those that need no mark any more.
const MARKED: &str = "sessions INDEXED BY sessions_cancel WHERE cancelled_by IS NOT NULL AND
    (EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_of_session
             WHERE session IS NOT NULL AND session = sessions.id AND status <= 1
             AND seq NOT IN (SELECT seq FROM unreadable))
     OR NOT EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_of_session
                    WHERE session IS NOT NULL AND session = sessions.id AND status <= 2))";

/// Returns whether [`settle`] has something to do.
pub(super) fn has_work(
    db: &Connection,
    now: Timestamp,
    forget_before: Timestamp,
) -> rusqlite::Result<bool> {
    db.prepare_cached(&format!(
        "SELECT EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_idle
                        WHERE ended_at IS NULL AND idle_at <= ?1)
             OR EXISTS (SELECT 1 FROM {MARKED})
             OR EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_ended
                        WHERE ended_at IS NOT NULL AND ended_at < ?2 AND cancelled_by IS NULL)"
    ))?
    .query_row(params![now.as_millis(), forget_before.as_millis()], |row| {
        row.get(0)
    })
}
