//! Tasks whose time has come: they expire, lose a lease that was not extended, proceed
//! because a dependency has ended, or become ready.

use rusqlite::params;

use super::{
    attempts, dependencies,
    transaction::Tx,
    waiting::{self, SELECT_WAITING, Waiting},
};
use crate::Reply;

/// Processes what is due, at most `limit` of each kind.
pub(super) fn run(tx: &mut Tx<'_>, limit: u32) -> rusqlite::Result<Reply> {
    let expired = due(
        tx,
        "INDEXED BY tasks_expiry WHERE expires_at IS NOT NULL AND status <= 1 AND attempt = 0 AND expires_at <= ?1
         AND seq NOT IN (SELECT seq FROM unreadable) ORDER BY expires_at LIMIT ?2",
        limit,
    )?;
    for task in &expired {
        waiting::expire(tx, task)?;
    }
    let leases = attempts::expire_leases(tx, limit)?;
    let settled = dependencies::settle(tx, limit)?;
    let ready = due(
        tx,
        "INDEXED BY tasks_due WHERE status = 0 AND blocked_by = 0 AND run_at <= ?1
         AND seq NOT IN (SELECT seq FROM unreadable) ORDER BY run_at LIMIT ?2",
        limit,
    )?;
    for task in &ready {
        waiting::make_ready(tx, task)?;
    }
    Ok(Reply::Done(
        expired.len() as u64 + leases + settled + ready.len() as u64,
    ))
}

fn due(tx: &mut Tx<'_>, which: &str, limit: u32) -> rusqlite::Result<Vec<Waiting>> {
    let sql = format!("{SELECT_WAITING} {which}");
    let now = tx.now.as_millis();
    tx.read_tasks(&sql, params![now, limit], Waiting::read)
}
