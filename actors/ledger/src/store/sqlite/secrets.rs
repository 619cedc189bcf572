//! Stored secrets. The store gets their values sealed, and never inspects them.

use deia_model::{Action, NewEvent, SecretInfo, SecretName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{errors::ApplyError, rows, transaction::Tx, unreadable::lenient};
use crate::{PutSecret, Rejection, Reply, Resealed, SecretCommand, StoredSecret};

pub(super) fn apply(tx: &mut Tx<'_>, command: &SecretCommand) -> Result<Reply, ApplyError> {
    match command {
        SecretCommand::Put(command) => put(tx, command),
        SecretCommand::Delete(command) => delete(tx, &command.name, &command.actor),
        SecretCommand::Reseal(command) => Ok(reseal(tx, &command.secrets, &command.actor)?),
    }
}

fn put(tx: &mut Tx<'_>, command: &PutSecret) -> Result<Reply, ApplyError> {
    let PutSecret {
        name,
        sealed,
        actor,
        max,
    } = command;
    let limit = *max;
    let changed = tx
        .db
        .prepare_cached("UPDATE secrets SET sealed = ?2, changed_at = ?3 WHERE name = ?1")?
        .execute(params![name.as_str(), sealed, tx.now.as_millis()])?;
    if changed == 0 {
        let there: u32 = tx
            .db
            .prepare_cached("SELECT count(*) FROM secrets WHERE name NOT GLOB 'webhooks/*'")?
            .query_row([], |row| row.get(0))?;
        if there >= limit {
            return Err(Rejection::TooManySecrets { limit }.into());
        }
        tx.db
            .prepare_cached(
                "INSERT INTO secrets (name, sealed, created_at, changed_at) VALUES (?1, ?2, ?3, ?3)",
            )?
            .execute(params![name.as_str(), sealed, tx.now.as_millis()])?;
    }
    let action = match changed {
        0 => Action::SecretCreated,
        _ => Action::SecretChanged,
    };
    tx.log_event(&NewEvent::new(action, actor, name.as_str()))?;
    Ok(Reply::Done(u64::from(changed == 0)))
}

fn delete(tx: &mut Tx<'_>, name: &SecretName, actor: &str) -> Result<Reply, ApplyError> {
    let gone = tx
        .db
        .prepare_cached("DELETE FROM secrets WHERE name = ?1")?
        .execute([name.as_str()])?;
    if gone == 0 {
        return Err(Rejection::NoSuchSecret(name.clone()).into());
    }
    tx.log_event(&NewEvent::new(Action::SecretDeleted, actor, name.as_str()))?;
    Ok(Reply::Done(1))
}

fn reseal(tx: &mut Tx<'_>, secrets: &[Resealed], actor: &str) -> rusqlite::Result<Reply> {
    let mut done = 0;
    for Resealed { name, was, sealed } in secrets {
        done += tx
            .db
            .prepare_cached("UPDATE secrets SET sealed = ?3 WHERE name = ?1 AND sealed = ?2")?
            .execute(params![name.as_str(), was, sealed])? as u64;
    }
    let details = json!({"secrets": done});
    tx.log_event(&NewEvent::new(Action::SecretResealed, actor, "secrets").details(details))?;
    Ok(Reply::Done(done))
}

pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<SecretInfo>> {
    db.prepare_cached("SELECT name, created_at, changed_at FROM secrets ORDER BY name")?
        .query_map([], |row| lenient("secrets", row, info))?
        .filter_map(Result::transpose)
        .collect()
}

pub(super) fn find(db: &Connection, name: &SecretName) -> rusqlite::Result<Option<StoredSecret>> {
    db.prepare_cached("SELECT name, created_at, changed_at, sealed FROM secrets WHERE name = ?1")?
        .query_row([name.as_str()], |row| {
            Ok(StoredSecret {
                info: info(row)?,
                sealed: row.get(3)?,
            })
        })
        .optional()
}

fn info(row: &Row<'_>) -> rusqlite::Result<SecretInfo> {
    Ok(SecretInfo {
        name: rows::parsed(row, 0)?,
        created_at: rows::time(row, 1)?,
        changed_at: rows::time(row, 2)?,
    })
}
