//! Commands about users and keys.

use deia_model::{
    Action, KeyId, KeyInfo, KeyRecord, Role, Timestamp, User, Violation, admin_access,
};
use rusqlite::params;
use serde_json::json;

use super::{
    errors::ApplyError,
    idempotency::{remember, remembered},
    keys,
    transaction::Tx,
    users,
};
use crate::{AccessCommand, AddKey, AddedKey, Idempotency, Rejection, Reply, RotateKey};

/// Applies one command about users or keys.
pub(super) fn apply(tx: &mut Tx<'_>, command: &AccessCommand) -> Result<Reply, ApplyError> {
    match command {
        AccessCommand::AddKey(command) => {
            not_made_already(tx, &command.actor, command.idempotency.as_ref())?;
            let added = add(tx, command)?;
            remember_made(
                tx,
                &command.actor,
                command.idempotency.as_ref(),
                command.key.info.id,
            )?;
            Ok(added)
        }
        AccessCommand::RotateKey(command) => {
            not_made_already(tx, &command.actor, command.idempotency.as_ref())?;
            let rotated = rotate(tx, command)?;
            remember_made(
                tx,
                &command.actor,
                command.idempotency.as_ref(),
                command.new,
            )?;
            Ok(rotated)
        }
        AccessCommand::RevokeKey(command) => revoke(tx, command.key, &command.actor),
        AccessCommand::NoteUses(command) => Ok(keys::note_uses(tx, &command.0)?),
        AccessCommand::RecoverAdmin(command) => recover_admin(tx, &command.key, command.reason),
        AccessCommand::AddUser(command) => users::add(tx, command),
        AccessCommand::ChangeUser(command) => users::change(tx, command),
        AccessCommand::DeleteUser(command) => users::delete(tx, command),
    }
}

/// Refuses a repeated request: the text of a key is not stored, so the answer cannot be
/// given again.
fn not_made_already(
    tx: &mut Tx<'_>,
    actor: &str,
    idempotency: Option<&Idempotency>,
) -> Result<(), ApplyError> {
    let made = idempotency
        .map(|idempotency| remembered(tx, actor, idempotency))
        .transpose()?;
    match made.flatten() {
        Some(key) => Err(Rejection::KeyMadeAlready(key).into()),
        None => Ok(()),
    }
}

fn remember_made(
    tx: &mut Tx<'_>,
    actor: &str,
    idempotency: Option<&Idempotency>,
    key: KeyId,
) -> rusqlite::Result<()> {
    idempotency.map_or(Ok(()), |idempotency| remember(tx, actor, idempotency, &key))
}

fn add(tx: &mut Tx<'_>, command: &AddKey) -> Result<Reply, ApplyError> {
    let AddKey {
        key, actor, limits, ..
    } = command;
    let info = &key.info;
    let owner = users::find(tx.db, &info.user)?;
    if let Some(fault) = owner_fault(owner.as_ref(), info, command.new_user) {
        return Err(Rejection::Invalid(vec![fault]).into());
    }
    // All rejections come before the first row is written.
    if owner.is_none() {
        users::make_room(tx, &info.user, *limits)?;
    }
    keys::make_room(tx, *limits)?;
    if owner.is_none() {
        users::insert(tx, &info.user, (info.role, true), actor)?;
    }
    keys::insert(tx, key)?;
    let details = json!({
        "user": info.user, "role": info.role, "name": info.name, "scopes": info.scopes,
        "allow_ips": info.allow_ips, "bot": info.bot, "expires_at": info.expires_at,
    });
    keys::log(tx, Action::KeyCreated, actor, info.id, details)?;
    Ok(Reply::KeyAdded(Box::new(AddedKey {
        info: info.clone(),
        user_created: owner.is_none(),
    })))
}

/// Returns the reason why the user may not have such a key, if there is one.
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

fn rotate(tx: &mut Tx<'_>, rotation: &RotateKey) -> Result<Reply, ApplyError> {
    let keys = keys::all(tx.db)?;
    let old = stored(&keys, rotation.old)?;
    if !old.info.is_in_force(tx.now) {
        return Err(Rejection::KeyNotInForce(old.info.id).into());
    }
    let twin = |key: &&KeyRecord| {
        let info = &key.info;
        info.family == old.info.family && info.id != old.info.id && info.is_in_force(tx.now)
    };
    if keys.iter().any(|key| twin(&key)) {
        return Err(Rejection::RotationRunning(old.info.id).into());
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
    if admin_access(&after, tx.now) < admin_access(&keys, tx.now) {
        return Err(Rejection::LastAdminKey.into());
    }
    keys::make_room(tx, rotation.limits)?;
    tx.db
        .prepare_cached("UPDATE keys SET expires_at = ?2 WHERE id = ?1")?
        .execute(params![old.info.id.as_bytes(), old_until.as_millis()])?;
    keys::insert(tx, &new)?;
    let details = json!({
        "user": old.info.user, "role": old.info.role, "new_key": new.info.id,
        "in_force_until": old_until, "expires_at": new.info.expires_at,
    });
    keys::log(
        tx,
        Action::KeyRotated,
        &rotation.actor,
        old.info.id,
        details,
    )?;
    Ok(Reply::Key(Box::new(new.info)))
}

fn revoke(tx: &mut Tx<'_>, id: KeyId, actor: &str) -> Result<Reply, ApplyError> {
    let keys = keys::all(tx.db)?;
    let mut info = stored(&keys, id)?.info.clone();
    if info.revoked_at.is_some() {
        return Ok(Reply::Key(Box::new(info)));
    }
    let mut after = keys.clone();
    after.retain(|key| key.info.id != id);
    if admin_access(&after, tx.now) < admin_access(&keys, tx.now) {
        return Err(Rejection::LastAdminKey.into());
    }
    info.revoked_at = Some(tx.now);
    keys::mark_revoked(tx, &info, actor)?;
    Ok(Reply::Key(Box::new(info)))
}

fn stored(keys: &[KeyRecord], id: KeyId) -> Result<&KeyRecord, ApplyError> {
    let found = keys.iter().find(|key| key.info.id == id);
    Ok(found.ok_or(Rejection::NoSuchKey(id))?)
}

/// Adds an admin key. The key is created on the machine itself: no limit and no user
/// prevents it. The former admin keys of its user are revoked, and all keys of a user
/// who was no active admin: they must not become valid again with their user.
fn recover_admin(tx: &mut Tx<'_>, key: &KeyRecord, reason: &str) -> Result<Reply, ApplyError> {
    const ACTOR: &str = "deia";
    let info = &key.info;
    let lost: Vec<KeyInfo> = keys::all(tx.db)?
        .into_iter()
        .filter(|old| {
            let was_admin = old.owner.active && old.owner.role == Role::Admin;
            let ends = old.info.role == Role::Admin || !was_admin;
            old.info.user == info.user && old.info.is_in_force(tx.now) && ends
        })
        .map(|old| old.info)
        .collect();
    for old in &lost {
        keys::mark_revoked(tx, old, ACTOR)?;
    }
    users::make_admin(tx, &info.user, ACTOR)?;
    keys::insert(tx, key)?;
    let revoked: Vec<KeyId> = lost.iter().map(|old| old.id).collect();
    let details = json!({"user": info.user, "reason": reason, "revoked": revoked});
    keys::log(tx, Action::KeyRecovered, ACTOR, info.id, details)?;
    Ok(Reply::Key(Box::new(info.clone())))
}
