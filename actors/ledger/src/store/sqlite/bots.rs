//! Bots: their specification and their desired state.

use deia_model::{Action, BotDesired, BotName, BotRecord, NewEvent};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::{errors::ApplyError, messages, rows, transaction::Tx, unreadable::lenient};
use crate::{BotPorts, CommitNotice, MoveBot, PutBot, Rejection, Reply, StoredBot};

pub(super) fn put(tx: &mut Tx<'_>, put: &PutBot) -> Result<Reply, ApplyError> {
    // A specification that cannot be decoded can still be replaced.
    let stored: Option<i64> = tx
        .db
        .prepare_cached("SELECT version FROM bots WHERE name = ?1")?
        .query_row([put.name.as_str()], |row| row.get(0))
        .optional()?;
    let actual = stored.map_or(0, i64::unsigned_abs);
    if let Some(expected) = put.if_version.filter(|expected| *expected != actual) {
        return Err(Rejection::VersionMismatch { expected, actual }.into());
    }
    let spec = json!(put.spec).to_string();
    let created = stored.is_none();
    if created {
        let port = free_port(tx, put)?;
        tx.db
            .prepare_cached("INSERT INTO bots (name, spec, version, port, created_at) VALUES (?1, ?2, 1, ?3, ?4)")?
            .execute(params![put.name.as_str(), spec, port, tx.now.as_millis()])?;
    } else {
        tx.db
            .prepare_cached("UPDATE bots SET spec = ?2, version = version + 1 WHERE name = ?1")?
            .execute(params![put.name.as_str(), spec])?;
    }
    let action = if created {
        Action::BotCreated
    } else {
        Action::BotChanged
    };
    let details = json!({"kind": put.spec.executor.kind(), "version": actual + 1});
    tx.log_event(&NewEvent::new(action, &put.actor, put.name.as_str()).details(details))?;
    let record = stored_bot(tx, &put.name)?;
    notice(tx, &put.name, Some(&record));
    Ok(Reply::Bot(Box::new(StoredBot { record, created })))
}

/// Returns the lowest free port of the range for a new bot.
fn free_port(tx: &Tx<'_>, put: &PutBot) -> Result<u16, ApplyError> {
    let taken = taken_ports(tx)?;
    if taken.len() >= put.max_bots as usize {
        return Err(Rejection::NoRoomForBot(format!(
            "there are {} already (bots.max_bots)",
            taken.len()
        ))
        .into());
    }
    let BotPorts { first, last, .. } = put.ports;
    free_of(&taken, &put.ports).ok_or_else(|| {
        Rejection::NoRoomForBot(format!(
            "every port from {first} to {last} is taken (bots.first_port, bots.last_port)"
        ))
        .into()
    })
}

/// Returns the ports of all bots, in order.
fn taken_ports(tx: &Tx<'_>) -> rusqlite::Result<Vec<u16>> {
    tx.db
        .prepare_cached("SELECT port FROM bots ORDER BY port")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Returns the lowest port that no bot has, if possible one that nothing listens at.
fn free_of(taken: &[u16], ports: &BotPorts) -> Option<u16> {
    let free = || (ports.first..=ports.last).filter(|port| taken.binary_search(port).is_err());
    let unused = free().find(|port| !ports.in_use.contains(port));
    unused.or_else(|| free().next())
}

pub(super) fn move_port(tx: &mut Tx<'_>, command: &MoveBot) -> Result<Reply, ApplyError> {
    let mut record = stored_bot(tx, &command.name)?;
    let free = free_of(&taken_ports(tx)?, &command.ports);
    let better = free.filter(|port| !command.ports.in_use.contains(port));
    if let Some(port) = better {
        tx.db
            .prepare_cached("UPDATE bots SET port = ?2 WHERE name = ?1")?
            .execute(params![command.name.as_str(), port])?;
        let details =
            json!({"port": port, "was": record.port, "cause": "something else listens there"});
        let event = NewEvent::new(Action::BotChanged, "deia", command.name.as_str());
        tx.log_event(&event.details(details))?;
        record.port = port;
    }
    let created = false;
    Ok(Reply::Bot(Box::new(StoredBot { record, created })))
}

fn stored_bot(tx: &Tx<'_>, name: &BotName) -> Result<BotRecord, ApplyError> {
    Ok(find(tx.db, name)?.ok_or_else(|| Rejection::NoSuchBot(name.clone()))?)
}

pub(super) fn delete(tx: &mut Tx<'_>, name: &BotName, actor: &str) -> Result<Reply, ApplyError> {
    let stored = tx
        .db
        .prepare_cached("SELECT launched FROM bots WHERE name = ?1")?
        .query_row([name.as_str()], |row| desired(row, 0))
        .optional()?
        .ok_or_else(|| Rejection::NoSuchBot(name.clone()))?;
    let busy = tx
        .db
        .prepare_cached(
            "SELECT 1 FROM tasks INDEXED BY tasks_running WHERE status = 2 AND bot = ?1 LIMIT 1",
        )?
        .query_row([name.as_str()], |_| Ok(()))
        .optional()?
        .is_some();
    if busy || stored != BotDesired::Stopped {
        return Err(Rejection::BotInUse(name.clone()).into());
    }
    tx.db
        .prepare_cached("DELETE FROM bots WHERE name = ?1")?
        .execute([name.as_str()])?;
    tx.log_event(&NewEvent::new(Action::BotDeleted, actor, name.as_str()))?;
    messages::receiver_removed(tx, name, actor)?;
    notice(tx, name, None);
    Ok(Reply::Done(1))
}

pub(super) fn set_desired(
    tx: &mut Tx<'_>,
    name: &BotName,
    desired: BotDesired,
    actor: &str,
) -> Result<Reply, ApplyError> {
    let bot = stored_bot(tx, name)?;
    let event = match (bot.desired, desired) {
        // A stopped bot holds no tasks.
        (BotDesired::Stopped, BotDesired::Draining)
        | (BotDesired::Draining, BotDesired::Draining) => None,
        (BotDesired::Launched, BotDesired::Draining) => Some(Action::BotDraining),
        // The bot continues: this is not a new launch.
        (BotDesired::Draining, BotDesired::Launched) => Some(Action::BotLaunchRequested),
        (_, BotDesired::Launched) => {
            tx.db
                .prepare_cached("UPDATE bots SET launched_at = ?2 WHERE name = ?1")?
                .execute(params![name.as_str(), tx.now.as_millis()])?;
            Some(Action::BotLaunchRequested)
        }
        (BotDesired::Stopped, BotDesired::Stopped) => None,
        (_, BotDesired::Stopped) => Some(Action::BotStopped),
    };
    if (bot.desired, desired) != (BotDesired::Stopped, BotDesired::Draining) {
        write_desired(tx, name, desired)?;
    }
    if let Some(action) = event {
        tx.log_event(&NewEvent::new(action, actor, name.as_str()))?;
    }
    let record = stored_bot(tx, name)?;
    notice(tx, name, Some(&record));
    let created = false;
    Ok(Reply::Bot(Box::new(StoredBot { record, created })))
}

/// Stops a draining bot; leaves any other unchanged.
pub(super) fn drained(tx: &mut Tx<'_>, name: &BotName) -> Result<Reply, ApplyError> {
    let stored = find(tx.db, name)?;
    if stored.is_none_or(|bot| bot.desired != BotDesired::Draining) {
        return Ok(Reply::Done(0));
    }
    write_desired(tx, name, BotDesired::Stopped)?;
    let details = json!({"cause": "it has drained"});
    tx.log_event(&NewEvent::new(Action::BotStopped, "deia", name.as_str()).details(details))?;
    notice(tx, name, None);
    Ok(Reply::Done(1))
}

/// Sends a notice after the commit that the bot changed, with the generation that may
/// take tasks from then on.
fn notice(tx: &mut Tx<'_>, name: &BotName, record: Option<&BotRecord>) {
    tx.notice(CommitNotice::BotChanged {
        bot: name.clone(),
        eligible: record.and_then(BotRecord::eligible),
    });
}

fn write_desired(tx: &Tx<'_>, name: &BotName, desired: BotDesired) -> rusqlite::Result<usize> {
    let launched = match desired {
        BotDesired::Stopped => 0,
        BotDesired::Launched => 1,
        BotDesired::Draining => 2,
    };
    tx.db
        .prepare_cached("UPDATE bots SET launched = ?2 WHERE name = ?1")?
        .execute(params![name.as_str(), launched])
}

/// Reads the column `launched`, which is NULL for bots that were never launched.
pub(super) fn desired(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<BotDesired> {
    Ok(match row.get::<_, Option<i64>>(column)? {
        Some(1) => BotDesired::Launched,
        Some(2) => BotDesired::Draining,
        _ => BotDesired::Stopped,
    })
}

/// Decodes a row of `bots` in the order of [`SELECT_BOT`].
fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<BotRecord> {
    let spec: String = row.get(1)?;
    Ok(BotRecord {
        name: rows::parsed(row, 0)?,
        spec: rows::from_json(1, &spec)?,
        desired: desired(row, 2)?,
        version: row.get::<_, i64>(3)?.unsigned_abs(),
        port: row.get(4)?,
        created_at: rows::time(row, 5)?,
        launched_at: rows::optional_time(row, 6)?,
        tasks_completed: row.get::<_, i64>(7)?.unsigned_abs(),
        tasks_failed: row.get::<_, i64>(8)?.unsigned_abs(),
    })
}

/// The columns that [`record`] reads.
const SELECT_BOT: &str = "SELECT name, spec, launched, version, port, created_at, launched_at,
        tasks_completed, tasks_failed FROM bots";

/// Returns all bots that can be read, by name.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<BotRecord>> {
    let sql = format!("{} ORDER BY name", SELECT_BOT);
    db.prepare_cached(&sql)?
        .query_map([], |row| lenient("bots", row, record))?
        .filter_map(Result::transpose)
        .collect()
}

/// Returns the bot of that name.
pub(super) fn find(db: &Connection, name: &BotName) -> rusqlite::Result<Option<BotRecord>> {
    let sql = format!("{} WHERE name = ?1", SELECT_BOT);
    db.prepare_cached(&sql)?
        .query_row([name.as_str()], record)
        .optional()
}
