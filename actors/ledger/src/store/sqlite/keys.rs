//! API keys: their table.

use deia_model::{Action, KeyId, KeyInfo, KeyOwner, KeyRecord, NewEvent, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{errors::ApplyError, rows, transaction::Tx, unreadable::lenient, web_sessions};
use crate::{AccessLimits, CommitNotice, Rejection, Reply};

/// Deletes the keys that ended longest ago until one more is within the limit.
pub(super) fn make_room(tx: &mut Tx<'_>, limits: AccessLimits) -> Result<(), ApplyError> {
    let count: u32 = tx
        .db
        .prepare_cached("SELECT count(*) FROM keys")?
        .query_row([], |row| row.get(0))?;
    if count < limits.max_keys {
        return Ok(());
    }
    let excess = count - limits.max_keys + 1;
    let ended: u32 = tx
        .db
        .prepare_cached("SELECT count(*) FROM keys WHERE coalesce(revoked_at, expires_at) <= ?1")?
        .query_row([tx.now.as_millis()], |row| row.get(0))?;
    if ended < excess {
        let why = "as many keys are in force as may be (auth.max_keys)";
        return Err(Rejection::NoRoomForAccess(why).into());
    }
    tx.db
        .prepare_cached(
            "DELETE FROM keys WHERE id IN (
                 SELECT id FROM keys WHERE coalesce(revoked_at, expires_at) <= ?1
                 ORDER BY coalesce(revoked_at, expires_at) LIMIT ?2)",
        )?
        .execute(params![tx.now.as_millis(), excess])?;
    Ok(())
}

pub(super) fn insert(tx: &Tx<'_>, key: &KeyRecord) -> rusqlite::Result<()> {
    let info = &key.info;
    let family = (info.family != info.id).then_some(info.family);
    let list = |list: Option<serde_json::Value>| list.map(|list| list.to_string());
    tx.db
        .prepare_cached(
            "INSERT INTO keys (id, user, role, secret_sha256, created_at, expires_at, name, scopes, allow_ips, bot, family)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            info.id.as_bytes(),
            info.user,
            info.role.as_str(),
            key.secret_sha256,
            info.created_at.as_millis(),
            info.expires_at.map(|at| at.as_millis()),
            info.name,
            list(info.scopes.as_ref().map(|scopes| json!(scopes))),
            list((!info.allow_ips.is_empty()).then(|| json!(info.allow_ips))),
            info.bot.as_ref().map(|bot| bot.as_str()),
            family.as_ref().map(KeyId::as_bytes),
        ])?;
    Ok(())
}

pub(super) fn log(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    key: KeyId,
    details: serde_json::Value,
) -> rusqlite::Result<()> {
    let mut event = NewEvent::new(action, actor, key.to_string());
    event.owner = details["user"].as_str().map(String::from);
    tx.log_event(&event.details(details))?;
    tx.notice_once(CommitNotice::KeysChanged);
    Ok(())
}

/// Revokes the key now, ends the sessions that were opened with it, and records the
/// event.
pub(super) fn mark_revoked(tx: &mut Tx<'_>, info: &KeyInfo, actor: &str) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("UPDATE keys SET revoked_at = ?2 WHERE id = ?1")?
        .execute(params![info.id.as_bytes(), tx.now.as_millis()])?;
    let details = json!({"user": info.user, "role": info.role});
    log(tx, Action::KeyRevoked, actor, info.id, details)?;
    web_sessions::end_of_key(tx, info.id, actor)
}

pub(super) fn note_uses(tx: &Tx<'_>, uses: &[(KeyId, Timestamp)]) -> rusqlite::Result<Reply> {
    let mut note = tx.db.prepare_cached(
        "UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?2) WHERE id = ?1",
    )?;
    let mut noted = 0;
    for (key, at) in uses {
        noted += note.execute(params![key.as_bytes(), at.as_millis()])?;
    }
    Ok(Reply::Done(noted as u64))
}

/// The columns that [`record`] reads.
const SELECT_KEY: &str =
    "SELECT k.id, k.user, k.role, k.secret_sha256, k.created_at, k.expires_at, k.revoked_at,
        k.name, k.scopes, k.allow_ips, k.bot, k.family, k.last_used_at, u.role, u.active
     FROM keys k JOIN users u ON u.name = k.user";

/// Decodes a row in the order of [`SELECT_KEY`].
fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let list = |column| row.get::<_, Option<String>>(column);
    let id = KeyId::from_bytes(row.get(0)?);
    let bot: Option<String> = row.get(10)?;
    Ok(KeyRecord {
        info: KeyInfo {
            id,
            user: row.get(1)?,
            role: rows::parsed(row, 2)?,
            created_at: rows::time(row, 4)?,
            expires_at: rows::optional_time(row, 5)?,
            revoked_at: rows::optional_time(row, 6)?,
            name: row.get(7)?,
            scopes: list(8)?.map(|text| rows::from_json(8, &text)).transpose()?,
            allow_ips: list(9)?
                .map(|text| rows::from_json(9, &text))
                .transpose()?
                .unwrap_or_default(),
            bot: bot
                .map(|name| name.parse().map_err(|error| rows::broken(10, error)))
                .transpose()?,
            family: row.get::<_, Option<_>>(11)?.map_or(id, KeyId::from_bytes),
            last_used_at: rows::optional_time(row, 12)?,
        },
        secret_sha256: row.get(3)?,
        owner: KeyOwner {
            role: rows::parsed(row, 13)?,
            active: row.get(14)?,
        },
    })
}

/// Returns all keys that can be read.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<KeyRecord>> {
    let sql = format!("{} ORDER BY k.id", SELECT_KEY);
    db.prepare_cached(&sql)?
        .query_map([], |row| lenient("keys", row, record))?
        .filter_map(Result::transpose)
        .collect()
}

/// Returns the key with that id.
pub(super) fn find(db: &Connection, id: KeyId) -> rusqlite::Result<Option<KeyRecord>> {
    let sql = format!("{SELECT_KEY} WHERE k.id = ?1");
    db.prepare_cached(&sql)?
        .query_row([id.as_bytes()], record)
        .optional()
}
