//! Web sessions.

use deia_model::{
    Action, KeyId, Login, LoginEnd, LoginId, LoginRecord, NewEvent, OpenedWith, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{errors::ApplyError, idempotency, rows, transaction::Tx, unreadable};
use crate::{Hint, LoginCommand, OpenLogin, Refusal, Reply};

/// Applies one command about web sessions.
pub(super) fn apply(tx: &mut Tx<'_>, command: &LoginCommand) -> Result<Reply, ApplyError> {
    match command {
        LoginCommand::Open(command) => open(tx, command),
        LoginCommand::End(command) => Ok(end(tx, &command.logins, command.why, &command.actor)?),
        LoginCommand::EndAll(command) => {
            let logins = of_user(tx.db, &command.user)?;
            let why = LoginEnd::LoggedOutEverywhere;
            Ok(end(tx, &logins, why, &command.actor)?)
        }
        LoginCommand::NoteUses(command) => Ok(note_seen(tx, &command.0)?),
    }
}

fn open(tx: &mut Tx<'_>, command: &OpenLogin) -> Result<Reply, ApplyError> {
    let OpenLogin {
        login,
        max_per_user,
        max,
        dedup,
    } = command;
    let info = &login.info;
    // The cookie is not stored, so the answer cannot be given again.
    if let Some(dedup) = dedup
        && let Some(opened) = idempotency::remembered(tx, &info.user, dedup)?
    {
        return Err(Refusal::LoginOpenedAlready(opened).into());
    }
    let before = of_user(tx.db, &info.user)?;
    let too_many = (before.len() + 1).saturating_sub(*max_per_user as usize);
    let all: i64 = tx
        .db
        .prepare_cached("SELECT count(*) FROM logins")?
        .query_row([], |row| row.get(0))?;
    if too_many == 0 && all >= i64::from(*max) {
        return Err(Refusal::TooManyLogins.into());
    }
    end(tx, &before[..too_many], LoginEnd::Displaced, &info.user)?;
    let (key, issuer, role) = match &info.opened_with {
        OpenedWith::Key(key) => (Some(*key.as_bytes()), None, None),
        OpenedWith::Token { issuer, role } => (None, Some(issuer), Some(role.as_str())),
    };
    tx.db
        .prepare_cached(
            "INSERT INTO logins (id, user, key_id, issuer, role, secret_sha256, created_at, last_seen_at,
                                 expires_at, ip_address, user_agent, basis)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            info.id.as_bytes(),
            info.user,
            key,
            issuer,
            role,
            login.secret_sha256,
            info.created_at.as_millis(),
            info.last_seen_at.as_millis(),
            info.expires_at.as_millis(),
            info.ip_address,
            info.user_agent,
            login.basis,
        ])?;
    if let Some(dedup) = dedup {
        idempotency::remember(tx, &info.user, dedup, &info.id)?;
    }
    let mut details = json!({"expires_at": info.expires_at, "ip_address": info.ip_address});
    match &info.opened_with {
        OpenedWith::Key(key) => details["key_id"] = json!(key),
        OpenedWith::Token { issuer, role } => {
            details["issuer"] = json!(issuer);
            details["role"] = json!(role);
        }
    }
    let opened = NewEvent::new(Action::LoginOpened, &*info.user, info.id.to_string());
    tx.log_event(&opened.owner(&*info.user).details(details))?;
    tx.hint(Hint::LoginsChanged);
    Ok(Reply::Done(1))
}

fn end(tx: &mut Tx<'_>, logins: &[LoginId], why: LoginEnd, actor: &str) -> rusqlite::Result<Reply> {
    let mut ended = 0;
    for login in logins {
        let gone: Option<String> = tx
            .db
            .prepare_cached("DELETE FROM logins WHERE id = ?1 RETURNING user")?
            .query_row([login.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(user) = gone else { continue };
        ended += 1;
        let event = NewEvent::new(Action::LoginEnded, actor, login.to_string());
        let details = json!({"reason": why.as_str(), "user": &user});
        tx.log_event(&event.owner(user).details(details))?;
    }
    if ended > 0 {
        tx.hint(Hint::LoginsChanged);
    }
    Ok(Reply::Done(ended))
}

/// Ends the sessions that were opened with a key: it is no longer valid.
pub(super) fn end_of_key(tx: &mut Tx<'_>, key: KeyId, actor: &str) -> rusqlite::Result<()> {
    let logins: Vec<_> = tx
        .db
        .prepare_cached("SELECT id FROM logins WHERE key_id = ?1 ORDER BY id")?
        .query_map([key.as_bytes()], |row| Ok(LoginId::from_bytes(row.get(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    end(tx, &logins, LoginEnd::Withdrawn, actor).map(drop)
}

/// Ends the sessions of a user who was deleted or deactivated.
pub(super) fn end_of_user(tx: &mut Tx<'_>, user: &str, actor: &str) -> rusqlite::Result<()> {
    let logins = of_user(tx.db, user)?;
    end(tx, &logins, LoginEnd::Withdrawn, actor).map(drop)
}

fn note_seen(tx: &mut Tx<'_>, seen: &[(LoginId, Timestamp)]) -> rusqlite::Result<Reply> {
    let mut noted = 0;
    let mut note = tx.db.prepare_cached(
        "UPDATE logins SET last_seen_at = ?2 WHERE id = ?1 AND last_seen_at < ?2",
    )?;
    for (login, at) in seen {
        noted += note.execute(params![login.as_bytes(), at.as_millis()])? as u64;
    }
    Ok(Reply::Done(noted))
}

/// Returns the sessions of a user, the least recently used first.
fn of_user(db: &Connection, user: &str) -> rusqlite::Result<Vec<LoginId>> {
    db.prepare_cached("SELECT id FROM logins WHERE user = ?1 ORDER BY last_seen_at, id")?
        .query_map([user], |row| Ok(LoginId::from_bytes(row.get(0)?)))?
        .collect()
}

/// Returns all sessions.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<LoginRecord>> {
    db.prepare_cached(
        "SELECT id, user, key_id, issuer, role, secret_sha256, created_at, last_seen_at, expires_at,
                ip_address, user_agent, basis
         FROM logins ORDER BY id",
    )?
    .query_map([], |row| unreadable::lenient("logins", row, record))?
    .filter_map(Result::transpose)
    .collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<LoginRecord> {
    let opened_with = match row.get::<_, Option<[u8; 16]>>(2)? {
        Some(key) => OpenedWith::Key(KeyId::from_bytes(key)),
        None => OpenedWith::Token {
            issuer: row.get(3)?,
            role: rows::parsed(row, 4)?,
        },
    };
    Ok(LoginRecord {
        info: Login {
            id: LoginId::from_bytes(row.get(0)?),
            user: row.get(1)?,
            opened_with,
            created_at: rows::time(row, 6)?,
            last_seen_at: rows::time(row, 7)?,
            expires_at: rows::time(row, 8)?,
            ip_address: row.get(9)?,
            user_agent: row.get(10)?,
        },
        secret_sha256: row.get(5)?,
        basis: row.get(11)?,
    })
}
