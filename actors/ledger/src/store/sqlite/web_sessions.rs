//! Web sessions.

use deia_model::{
    Action, KeyId, NewEvent, OpenedWith, Timestamp, WebSession, WebSessionEnd, WebSessionId,
    WebSessionRecord,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{errors::ApplyError, idempotency, rows, transaction::Tx, unreadable};
use crate::{CommitNotice, OpenWebSession, Rejection, Reply, WebSessionCommand};

/// Applies one command about web sessions.
pub(super) fn apply(tx: &mut Tx<'_>, command: &WebSessionCommand) -> Result<Reply, ApplyError> {
    match command {
        WebSessionCommand::Open(command) => open(tx, command),
        WebSessionCommand::End(command) => {
            Ok(end(tx, &command.web_sessions, command.why, &command.actor)?)
        }
        WebSessionCommand::EndAll(command) => {
            let web_sessions = of_user(tx.db, &command.user)?;
            let why = WebSessionEnd::LoggedOutEverywhere;
            Ok(end(tx, &web_sessions, why, &command.actor)?)
        }
        WebSessionCommand::NoteUses(command) => Ok(note_seen(tx, &command.0)?),
    }
}

fn open(tx: &mut Tx<'_>, command: &OpenWebSession) -> Result<Reply, ApplyError> {
    let OpenWebSession {
        web_session,
        max_per_user,
        max,
        idempotency,
    } = command;
    let info = &web_session.info;
    // The cookie is not stored, so the answer cannot be given again.
    if let Some(idempotency) = idempotency
        && let Some(opened) = idempotency::remembered(tx, &info.user, idempotency)?
    {
        return Err(Rejection::WebSessionOpenedAlready(opened).into());
    }
    let before = of_user(tx.db, &info.user)?;
    let too_many = (before.len() + 1).saturating_sub(*max_per_user as usize);
    let all: i64 = tx
        .db
        .prepare_cached("SELECT count(*) FROM web_sessions")?
        .query_row([], |row| row.get(0))?;
    if too_many == 0 && all >= i64::from(*max) {
        return Err(Rejection::TooManyWebSessions.into());
    }
    end(
        tx,
        &before[..too_many],
        WebSessionEnd::Displaced,
        &info.user,
    )?;
    let (key, issuer, role) = match &info.opened_with {
        OpenedWith::Key(key) => (Some(*key.as_bytes()), None, None),
        OpenedWith::Token { issuer, role } => (None, Some(issuer), Some(role.as_str())),
    };
    tx.db
        .prepare_cached(
            "INSERT INTO web_sessions (id, user, key_id, issuer, role, secret_sha256, created_at, last_seen_at,
                                 expires_at, ip_address, user_agent, trust_anchor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            info.id.as_bytes(),
            info.user,
            key,
            issuer,
            role,
            web_session.secret_sha256,
            info.created_at.as_millis(),
            info.last_seen_at.as_millis(),
            info.expires_at.as_millis(),
            info.ip_address,
            info.user_agent,
            web_session.trust_anchor,
        ])?;
    if let Some(idempotency) = idempotency {
        idempotency::remember(tx, &info.user, idempotency, &info.id)?;
    }
    let mut details = json!({"expires_at": info.expires_at, "ip_address": info.ip_address});
    match &info.opened_with {
        OpenedWith::Key(key) => details["key_id"] = json!(key),
        OpenedWith::Token { issuer, role } => {
            details["issuer"] = json!(issuer);
            details["role"] = json!(role);
        }
    }
    let opened = NewEvent::new(Action::AuthLogin, &*info.user, info.id.to_string());
    tx.log_event(&opened.owner(&*info.user).details(details))?;
    tx.notice(CommitNotice::WebSessionsChanged);
    Ok(Reply::Done(1))
}

fn end(
    tx: &mut Tx<'_>,
    web_sessions: &[WebSessionId],
    why: WebSessionEnd,
    actor: &str,
) -> rusqlite::Result<Reply> {
    let mut ended = 0;
    for web_session in web_sessions {
        let gone: Option<String> = tx
            .db
            .prepare_cached("DELETE FROM web_sessions WHERE id = ?1 RETURNING user")?
            .query_row([web_session.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(user) = gone else { continue };
        ended += 1;
        let event = NewEvent::new(Action::AuthLogout, actor, web_session.to_string());
        let details = json!({"reason": why.as_str(), "user": &user});
        tx.log_event(&event.owner(user).details(details))?;
    }
    if ended > 0 {
        tx.notice(CommitNotice::WebSessionsChanged);
    }
    Ok(Reply::Done(ended))
}

/// Ends the sessions that were opened with a key: it is no longer valid.
pub(super) fn end_of_key(tx: &mut Tx<'_>, key: KeyId, actor: &str) -> rusqlite::Result<()> {
    let web_sessions: Vec<_> = tx
        .db
        .prepare_cached("SELECT id FROM web_sessions WHERE key_id = ?1 ORDER BY id")?
        .query_map([key.as_bytes()], |row| {
            Ok(WebSessionId::from_bytes(row.get(0)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    end(tx, &web_sessions, WebSessionEnd::Withdrawn, actor).map(drop)
}

/// Ends the sessions of a user who was deleted or deactivated.
pub(super) fn end_of_user(tx: &mut Tx<'_>, user: &str, actor: &str) -> rusqlite::Result<()> {
    let web_sessions = of_user(tx.db, user)?;
    end(tx, &web_sessions, WebSessionEnd::Withdrawn, actor).map(drop)
}

fn note_seen(tx: &mut Tx<'_>, seen: &[(WebSessionId, Timestamp)]) -> rusqlite::Result<Reply> {
    let mut noted = 0;
    let mut note = tx.db.prepare_cached(
        "UPDATE web_sessions SET last_seen_at = ?2 WHERE id = ?1 AND last_seen_at < ?2",
    )?;
    for (web_session, at) in seen {
        noted += note.execute(params![web_session.as_bytes(), at.as_millis()])? as u64;
    }
    Ok(Reply::Done(noted))
}

/// Returns the sessions of a user, the least recently used first.
fn of_user(db: &Connection, user: &str) -> rusqlite::Result<Vec<WebSessionId>> {
    db.prepare_cached("SELECT id FROM web_sessions WHERE user = ?1 ORDER BY last_seen_at, id")?
        .query_map([user], |row| Ok(WebSessionId::from_bytes(row.get(0)?)))?
        .collect()
}

/// Returns all sessions.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<WebSessionRecord>> {
    db.prepare_cached(
        "SELECT id, user, key_id, issuer, role, secret_sha256, created_at, last_seen_at, expires_at,
                ip_address, user_agent, trust_anchor
         FROM web_sessions ORDER BY id",
    )?
    .query_map([], |row| unreadable::lenient("web_sessions", row, record))?
    .filter_map(Result::transpose)
    .collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<WebSessionRecord> {
    let opened_with = match row.get::<_, Option<[u8; 16]>>(2)? {
        Some(key) => OpenedWith::Key(KeyId::from_bytes(key)),
        None => OpenedWith::Token {
            issuer: row.get(3)?,
            role: rows::parsed(row, 4)?,
        },
    };
    Ok(WebSessionRecord {
        info: WebSession {
            id: WebSessionId::from_bytes(row.get(0)?),
            user: row.get(1)?,
            opened_with,
            created_at: rows::time(row, 6)?,
            last_seen_at: rows::time(row, 7)?,
            expires_at: rows::time(row, 8)?,
            ip_address: row.get(9)?,
            user_agent: row.get(10)?,
        },
        secret_sha256: row.get(5)?,
        trust_anchor: row.get(11)?,
    })
}
