//! API keys.

use rusqlite::{Row, params};

use super::{
    apply::ApplyError,
    idempotency::{remember, remembered},
    read, rows,
    transaction::Tx,
};
use crate::{
    auth::Role,
    ledger::{Dedup, Hint, Outcome, Refusal},
    model::{Action, KeyId, KeyInfo, KeyRecord, NewEvent},
};

pub(super) fn add(
    tx: &mut Tx<'_>,
    key: &KeyRecord,
    actor: &str,
    dedup: Option<&Dedup>,
) -> Result<Outcome, ApplyError> {
    if let Some(dedup) = dedup {
        // Its text is not kept, so the answer cannot be given again.
        if let Some(made) = remembered(tx, actor, dedup)? {
            return Err(Refusal::KeyMadeAlready(made).into());
        }
        remember(tx, actor, dedup, &key.info.id)?;
    }
    let info = &key.info;
    tx.db
        .prepare_cached(
            "INSERT INTO keys (id, user, role, secret_sha256, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            info.id.as_bytes(),
            info.user,
            info.role.as_str(),
            key.secret_sha256,
            info.created_at.as_millis(),
            info.expires_at.map(|at| at.as_millis()),
        ])?;
    let details =
        serde_json::json!({"user": info.user, "role": info.role, "expires_at": info.expires_at});
    tx.log_event(&NewEvent::new(Action::KeyCreated, actor, info.id.to_string()).details(details))?;
    tx.hint(Hint::KeysChanged);
    Ok(Outcome::Key(info.clone()))
}

pub(super) fn revoke(tx: &mut Tx<'_>, id: KeyId, actor: &str) -> Result<Outcome, ApplyError> {
    let keys = read::keys(tx.db)?;
    let mut info = keys
        .iter()
        .find(|key| key.info.id == id)
        .map(|key| key.info.clone())
        .ok_or(Refusal::NoSuchKey(id))?;
    if info.revoked_at.is_some() {
        return Ok(Outcome::Key(info));
    }
    let in_force = |key: &&KeyRecord| {
        key.info.role == Role::Admin
            && key.info.revoked_at.is_none()
            && key.info.expires_at.is_none_or(|at| at > tx.now)
    };
    if info.role == Role::Admin && !keys.iter().filter(in_force).any(|key| key.info.id != id) {
        return Err(Refusal::LastAdminKey.into());
    }
    tx.db
        .prepare_cached("UPDATE keys SET revoked_at = ?2 WHERE id = ?1")?
        .execute(params![id.as_bytes(), tx.now.as_millis()])?;
    info.revoked_at = Some(tx.now);
    let details = serde_json::json!({"user": info.user, "role": info.role});
    tx.log_event(&NewEvent::new(Action::KeyRevoked, actor, id.to_string()).details(details))?;
    tx.hint(Hint::KeysChanged);
    Ok(Outcome::Key(info))
}

/// The columns that [`record`] reads.
pub(super) const SELECT_KEY: &str =
    "SELECT id, user, role, secret_sha256, created_at, expires_at, revoked_at FROM keys";

/// A row in the order of [`SELECT_KEY`].
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    Ok(KeyRecord {
        info: KeyInfo {
            id: KeyId::from_bytes(row.get(0)?),
            user: row.get(1)?,
            role: rows::parsed(row, 2)?,
            created_at: rows::time(row, 4)?,
            expires_at: rows::optional_time(row, 5)?,
            revoked_at: rows::optional_time(row, 6)?,
        },
        secret_sha256: row.get(3)?,
    })
}
