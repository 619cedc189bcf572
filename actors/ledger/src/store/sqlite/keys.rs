//! API keys.

use deia_model::{
    Action, KeyId, KeyInfo, KeyOwner, KeyRecord, NewEvent, Role, Timestamp, User, Violation,
    admin_hold,
};
use rusqlite::{Row, params};
use serde_json::json;

use super::{
    errors::ApplyError,
    idempotency::{remember, remembered},
    logins, read, rows,
    transaction::Tx,
    users,
};
use crate::{
    AccessCommand, AccessLimits, AddKey, AddedKey, Dedup, Hint, Refusal, Reply, RotateKey,
};

/// Applies one command about users or keys.
pub(super) fn apply(tx: &mut Tx<'_>, command: &AccessCommand) -> Result<Reply, ApplyError> {
    match command {
        AccessCommand::AddKey(command) => {
            not_made_already(tx, &command.actor, command.dedup.as_ref())?;
            let added = add(tx, command)?;
            remember_made(
                tx,
                &command.actor,
                command.dedup.as_ref(),
                command.key.info.id,
            )?;
            Ok(added)
        }
        AccessCommand::RotateKey(command) => {
            not_made_already(tx, &command.actor, command.dedup.as_ref())?;
            let rotated = rotate(tx, command)?;
            remember_made(tx, &command.actor, command.dedup.as_ref(), command.new)?;
            Ok(rotated)
        }
        AccessCommand::RevokeKey(command) => revoke(tx, command.key, &command.actor),
        AccessCommand::NoteUses(command) => Ok(note_uses(tx, &command.0)?),
        AccessCommand::RecoverAdmin(command) => recover_admin(tx, &command.key, command.reason),
        AccessCommand::AddUser(command) => users::add(tx, command),
        AccessCommand::ChangeUser(command) => users::change(tx, command),
        AccessCommand::DeleteUser(command) => users::delete(tx, command),
    }
}

/// The text of a key is not kept, so the answer cannot be given again.
fn not_made_already(tx: &mut Tx<'_>, actor: &str, dedup: Option<&Dedup>) -> Result<(), ApplyError> {
    let made = dedup
        .map(|dedup| remembered(tx, actor, dedup))
        .transpose()?;
    match made.flatten() {
        Some(key) => Err(Refusal::KeyMadeAlready(key).into()),
        None => Ok(()),
    }
}

fn remember_made(
    tx: &mut Tx<'_>,
    actor: &str,
    dedup: Option<&Dedup>,
    key: KeyId,
) -> rusqlite::Result<()> {
    dedup.map_or(Ok(()), |dedup| remember(tx, actor, dedup, &key))
}

fn add(tx: &mut Tx<'_>, command: &AddKey) -> Result<Reply, ApplyError> {
    let AddKey {
        key, actor, limits, ..
    } = command;
    let info = &key.info;
    let owner = users::find(tx.db, &info.user)?;
    if let Some(fault) = owner_fault(owner.as_ref(), info, command.new_user) {
        return Err(Refusal::Invalid(vec![fault]).into());
    }
    // Whatever is refused is refused before the first row is written.
    if owner.is_none() {
        users::make_room(tx, &info.user, *limits)?;
    }
    make_room(tx, *limits)?;
    if owner.is_none() {
        users::insert(tx, &info.user, (info.role, true), actor)?;
    }
    insert(tx, key)?;
    let details = json!({
        "user": info.user, "role": info.role, "name": info.name, "scopes": info.scopes,
        "allow_ips": info.allow_ips, "bot": info.bot, "expires_at": info.expires_at,
    });
    log(tx, Action::KeyCreated, actor, info.id, details)?;
    Ok(Reply::KeyAdded(Box::new(AddedKey {
        info: info.clone(),
        user_created: owner.is_none(),
    })))
}

/// Why that user may not have such a key, if so.
fn owner_fault(owner: Option<&User>, key: &KeyInfo, new_user: bool) -> Option<Violation> {
    let at = |pointer: &str, detail: String| {
        Some(Violation {
            pointer: pointer.into(),
            detail,
        })
    };
    match owner {
        None if new_user => None,
        None => at(
            "/user",
            "names no user; make the user first, or say new_user: true".into(),
        ),
        Some(user) if user.role.covers(key.role) => None,
        Some(user) => at(
            "/role",
            format!(
                "is more than the user {:?} may: the role {}",
                user.id, user.role
            ),
        ),
    }
}

/// Forgets keys that ended longest ago until there is room for one more.
fn make_room(tx: &mut Tx<'_>, limits: AccessLimits) -> Result<(), ApplyError> {
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
        return Err(Refusal::NoRoomForAccess(why).into());
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

fn insert(tx: &Tx<'_>, key: &KeyRecord) -> rusqlite::Result<()> {
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

fn log(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    key: KeyId,
    details: serde_json::Value,
) -> rusqlite::Result<()> {
    let mut event = NewEvent::new(action, actor, key.to_string());
    event.owner = details["user"].as_str().map(String::from);
    tx.log_event(&event.details(details))?;
    tx.hint_once(Hint::KeysChanged);
    Ok(())
}

fn rotate(tx: &mut Tx<'_>, rotation: &RotateKey) -> Result<Reply, ApplyError> {
    let keys = read::keys(tx.db)?;
    let old = stored(&keys, rotation.old)?;
    if !old.info.is_in_force(tx.now) {
        return Err(Refusal::KeyNotInForce(old.info.id).into());
    }
    let twin = |key: &&KeyRecord| {
        let info = &key.info;
        info.family == old.info.family && info.id != old.info.id && info.is_in_force(tx.now)
    };
    if keys.iter().any(|key| twin(&key)) {
        return Err(Refusal::RotationRunning(old.info.id).into());
    }
    let overlap = u64::try_from(rotation.overlap.as_millis()).unwrap_or(u64::MAX);
    let overlap_end = tx.now.plus_millis(overlap);
    let old_until = match old.info.expires_at {
        Some(at) => at.min(overlap_end),
        None => overlap_end,
    };
    let life = |at: Timestamp| tx.now.plus_millis(at.millis_since(old.info.created_at));
    let new = KeyRecord {
        info: KeyInfo {
            id: rotation.new,
            created_at: tx.now,
            expires_at: rotation.expires_at.or(old.info.expires_at.map(life)),
            last_used_at: None,
            ..old.info.clone()
        },
        secret_sha256: rotation.secret_sha256,
        owner: old.owner,
    };
    let mut after = keys.clone();
    for key in after.iter_mut().filter(|key| key.info.id == old.info.id) {
        key.info.expires_at = Some(old_until);
    }
    after.push(new.clone());
    if admin_hold(&after, tx.now) < admin_hold(&keys, tx.now) {
        return Err(Refusal::LastAdminKey.into());
    }
    make_room(tx, rotation.limits)?;
    tx.db
        .prepare_cached("UPDATE keys SET expires_at = ?2 WHERE id = ?1")?
        .execute(params![old.info.id.as_bytes(), old_until.as_millis()])?;
    insert(tx, &new)?;
    let details = json!({
        "user": old.info.user, "role": old.info.role, "new_key": new.info.id,
        "in_force_until": old_until, "expires_at": new.info.expires_at,
    });
    log(
        tx,
        Action::KeyRotated,
        &rotation.actor,
        old.info.id,
        details,
    )?;
    Ok(Reply::Key(Box::new(new.info)))
}

fn revoke(tx: &mut Tx<'_>, id: KeyId, actor: &str) -> Result<Reply, ApplyError> {
    let keys = read::keys(tx.db)?;
    let mut info = stored(&keys, id)?.info.clone();
    if info.revoked_at.is_some() {
        return Ok(Reply::Key(Box::new(info)));
    }
    let mut after = keys.clone();
    after.retain(|key| key.info.id != id);
    if admin_hold(&after, tx.now) < admin_hold(&keys, tx.now) {
        return Err(Refusal::LastAdminKey.into());
    }
    info.revoked_at = Some(tx.now);
    mark_revoked(tx, &info, actor)?;
    Ok(Reply::Key(Box::new(info)))
}

/// Refuses the key from now on, ends the sessions that were opened with it, and
/// tells of it.
pub(super) fn mark_revoked(tx: &mut Tx<'_>, info: &KeyInfo, actor: &str) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("UPDATE keys SET revoked_at = ?2 WHERE id = ?1")?
        .execute(params![info.id.as_bytes(), tx.now.as_millis()])?;
    let details = json!({"user": info.user, "role": info.role});
    log(tx, Action::KeyRevoked, actor, info.id, details)?;
    logins::end_of_key(tx, info.id, actor)
}

fn stored(keys: &[KeyRecord], id: KeyId) -> Result<&KeyRecord, ApplyError> {
    let found = keys.iter().find(|key| key.info.id == id);
    Ok(found.ok_or(Refusal::NoSuchKey(id))?)
}

fn note_uses(tx: &Tx<'_>, uses: &[(KeyId, Timestamp)]) -> rusqlite::Result<Reply> {
    let mut note = tx.db.prepare_cached(
        "UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?2) WHERE id = ?1",
    )?;
    let mut noted = 0;
    for (key, at) in uses {
        noted += note.execute(params![key.as_bytes(), at.as_millis()])?;
    }
    Ok(Reply::Done(noted as u64))
}

/// The key is given out on the machine itself: no limit and no user stands
/// against it. What its user had of admin keys ends with it, and all keys of one
/// who was no active admin: they must not come back to life with their user.
fn recover_admin(tx: &mut Tx<'_>, key: &KeyRecord, reason: &str) -> Result<Reply, ApplyError> {
    const ACTOR: &str = "deia";
    let info = &key.info;
    let lost: Vec<KeyInfo> = read::keys(tx.db)?
        .into_iter()
        .filter(|old| {
            let was_admin = old.owner.active && old.owner.role == Role::Admin;
            let ends = old.info.role == Role::Admin || !was_admin;
            old.info.user == info.user && old.info.is_in_force(tx.now) && ends
        })
        .map(|old| old.info)
        .collect();
    for old in &lost {
        mark_revoked(tx, old, ACTOR)?;
    }
    users::make_admin(tx, &info.user, ACTOR)?;
    insert(tx, key)?;
    let revoked: Vec<KeyId> = lost.iter().map(|old| old.id).collect();
    let details = json!({"user": info.user, "reason": reason, "revoked": revoked});
    log(tx, Action::KeyRecovered, ACTOR, info.id, details)?;
    Ok(Reply::Key(Box::new(info.clone())))
}

/// The columns that [`record`] reads.
pub(super) const SELECT_KEY: &str =
    "SELECT k.id, k.user, k.role, k.secret_sha256, k.created_at, k.expires_at, k.revoked_at,
        k.name, k.scopes, k.allow_ips, k.bot, k.family, k.last_used_at, u.role, u.active
     FROM keys k JOIN users u ON u.name = k.user";

/// A row in the order of [`SELECT_KEY`].
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
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
