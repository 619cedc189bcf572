//! Users.

use deia_model::{Action, KeyRecord, NewEvent, Role, User, admin_access};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{
    errors::ApplyError, idempotency, keys, rows, sessions, transaction::Tx, unreadable::lenient,
    web_sessions, webhooks,
};
use crate::{
    AccessLimits, AddUser, ChangeUser, CommitNotice, DeleteUser, NewUser, Rejection, Reply,
};

const SELECT_USER: &str = "SELECT name, role, active, version, created_at, changed_at FROM users";

/// Decodes a row in the order of [`SELECT_USER`].
fn record(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        role: rows::parsed(row, 1)?,
        active: row.get(2)?,
        version: row.get::<_, i64>(3)?.unsigned_abs(),
        created_at: rows::time(row, 4)?,
        changed_at: rows::time(row, 5)?,
    })
}

pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<User>> {
    let sql = format!("{SELECT_USER} ORDER BY name");
    db.prepare_cached(&sql)?
        .query_map([], |row| lenient("users", row, record))?
        .filter_map(Result::transpose)
        .collect()
}

pub(super) fn find(db: &Connection, name: &str) -> rusqlite::Result<Option<User>> {
    let sql = format!("{SELECT_USER} WHERE name = ?1");
    db.prepare_cached(&sql)?
        .query_row([name], record)
        .optional()
}

fn stored(tx: &Tx<'_>, name: &str) -> Result<User, ApplyError> {
    let found = find(tx.db, name)?;
    Ok(found.ok_or_else(|| Rejection::NoSuchUser(name.to_owned()))?)
}

pub(super) fn add(tx: &mut Tx<'_>, command: &AddUser) -> Result<Reply, ApplyError> {
    let AddUser {
        name,
        idempotency,
        actor,
        ..
    } = command;
    if let Some(idempotency) = idempotency
        && let Some(user) = idempotency::remembered(tx, actor, idempotency)?
    {
        let replayed = true;
        return Ok(Reply::UserAdded(NewUser { user, replayed }));
    }
    if find(tx.db, name)?.is_some() {
        return Err(Rejection::UserExists(name.clone()).into());
    }
    make_room(tx, name, command.limits)?;
    insert(tx, name, (command.role, command.active), actor)?;
    let user = stored(tx, name)?;
    if let Some(idempotency) = idempotency {
        idempotency::remember(tx, actor, idempotency, &user)?;
    }
    let replayed = false;
    Ok(Reply::UserAdded(NewUser { user, replayed }))
}

/// Refuses another user beyond the limit, or with the name of a deleted one who still
/// has tasks.
pub(super) fn make_room(tx: &Tx<'_>, name: &str, limits: AccessLimits) -> Result<(), ApplyError> {
    let has_tasks = tx
        .db
        .prepare_cached(
            "SELECT 1 FROM tasks INDEXED BY tasks_submitter WHERE submitter = ?1 LIMIT 1",
        )?
        .exists([name])?;
    if has_tasks {
        return Err(Rejection::NameHasTasks(name.to_owned()).into());
    }
    let count: u32 = tx
        .db
        .prepare_cached("SELECT count(*) FROM users")?
        .query_row([], |row| row.get(0))?;
    match count < limits.max_users {
        true => Ok(()),
        false => Err(Rejection::NoRoomForAccess(
            "there are as many users as may be (auth.max_users)",
        )
        .into()),
    }
}

pub(super) fn insert(
    tx: &mut Tx<'_>,
    name: &str,
    (role, active): (Role, bool),
    actor: &str,
) -> rusqlite::Result<()> {
    idempotency::forget(tx, name)?;
    tx.db
        .prepare_cached(
            "INSERT INTO users (name, role, active, version, created_at, changed_at) VALUES (?1, ?2, ?3, 1, ?4, ?4)",
        )?
        .execute(params![name, role.as_str(), active, tx.now.as_millis()])?;
    let details = json!({"role": role, "active": active});
    log(tx, Action::UserCreated, actor, name, details)
}

fn log(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    name: &str,
    details: serde_json::Value,
) -> rusqlite::Result<()> {
    tx.log_event(
        &NewEvent::new(action, actor, name)
            .owner(name)
            .details(details),
    )?;
    tx.notice_once(CommitNotice::KeysChanged);
    Ok(())
}

pub(super) fn change(tx: &mut Tx<'_>, command: &ChangeUser) -> Result<Reply, ApplyError> {
    let ChangeUser {
        name,
        change,
        if_version,
        actor,
    } = command;
    let user = stored(tx, name)?;
    check_version(&user, *if_version)?;
    let role = change.role.unwrap_or(user.role);
    let active = change.active.unwrap_or(user.active);
    if (role, active) == (user.role, user.active) {
        return Ok(Reply::User(user));
    }
    keep_an_admin(tx, name, |key| {
        key.owner.role = role;
        key.owner.active = active;
        true
    })?;
    write(tx, name, (role, active))?;
    let details = json!({
        "role": role, "active": active, "was": {"role": user.role, "active": user.active},
    });
    log(tx, Action::UserChanged, actor, name, details)?;
    if user.active && !active {
        // The keys do not become valid again with the user.
        web_sessions::end_of_user(tx, name, actor)?;
        sessions::end_of_user(tx, name, actor)?;
    }
    Ok(Reply::User(stored(tx, name)?))
}

fn write(tx: &Tx<'_>, name: &str, (role, active): (Role, bool)) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "UPDATE users SET role = ?2, active = ?3, version = version + 1, changed_at = ?4 WHERE name = ?1",
        )?
        .execute(params![name, role.as_str(), active, tx.now.as_millis()])?;
    Ok(())
}

pub(super) fn delete(tx: &mut Tx<'_>, command: &DeleteUser) -> Result<Reply, ApplyError> {
    let DeleteUser {
        name,
        if_version,
        actor,
    } = command;
    let user = stored(tx, name)?;
    check_version(&user, *if_version)?;
    keep_an_admin(tx, name, |_| false)?;
    let keys = keys::all(tx.db)?;
    for key in keys.iter().filter(|key| key.info.user == *name) {
        if key.info.is_in_force(tx.now) {
            keys::mark_revoked(tx, &key.info, actor)?;
        }
    }
    tx.db
        .prepare_cached("DELETE FROM keys WHERE user = ?1")?
        .execute([name])?;
    tx.db
        .prepare_cached("DELETE FROM users WHERE name = ?1")?
        .execute([name])?;
    idempotency::forget(tx, name)?;
    webhooks::disable_of_user(tx, name, actor)?;
    let details = json!({"role": user.role, "active": user.active});
    log(tx, Action::UserDeleted, actor, name, details)?;
    web_sessions::end_of_user(tx, name, actor)?;
    sessions::end_of_user(tx, name, actor)?;
    Ok(Reply::User(user))
}

fn check_version(user: &User, expected: Option<u64>) -> Result<(), Rejection> {
    let actual = user.version;
    match expected.filter(|expected| *expected != actual) {
        Some(expected) => Err(Rejection::VersionMismatch { expected, actual }),
        None => Ok(()),
    }
}

/// Refuses a change that would leave nobody who can create keys. `change` returns
/// whether the user's keys stay, after changing them.
fn keep_an_admin(
    tx: &Tx<'_>,
    user: &str,
    change: impl Fn(&mut KeyRecord) -> bool,
) -> Result<(), ApplyError> {
    let before = keys::all(tx.db)?;
    let mut after = before.clone();
    after.retain_mut(|key| key.info.user != user || change(key));
    match admin_access(&after, tx.now) < admin_access(&before, tx.now) {
        true => Err(Rejection::LastAdmin(user.to_owned()).into()),
        false => Ok(()),
    }
}

/// Creates the user, or makes an existing one an active admin.
pub(super) fn make_admin(tx: &mut Tx<'_>, name: &str, actor: &str) -> rusqlite::Result<()> {
    let admin = (Role::Admin, true);
    match find(tx.db, name)? {
        None => insert(tx, name, admin, actor),
        Some(user) if (user.role, user.active) == admin => Ok(()),
        Some(user) => {
            write(tx, name, admin)?;
            let details = json!({
                "role": Role::Admin, "active": true, "was": {"role": user.role, "active": user.active},
            });
            log(tx, Action::UserChanged, actor, name, details)
        }
    }
}
