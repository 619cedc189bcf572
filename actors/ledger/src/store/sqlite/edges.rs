//! Edges between tasks, from dependencies to dependents, and the finished tasks whose
//! edges are still to be processed.

use deia_model::{TaskId, TaskStatus};
use rusqlite::{Connection, OptionalExtension, params};

use super::{rows, transaction::Tx};

/// A task that another one depends on.
#[derive(Clone, Copy)]
pub(super) struct Parent {
    pub(super) seq: i64,
    pub(super) id: TaskId,
    pub(super) status: TaskStatus,
}

/// Records that `child` waits for `parent`. Returns `false` if it did already.
pub(super) fn add_edge(tx: &mut Tx<'_>, parent: &Parent, child: i64) -> rusqlite::Result<bool> {
    let new = tx
        .db
        .prepare_cached("INSERT OR IGNORE INTO dependencies (parent, child) VALUES (?1, ?2)")?
        .execute([parent.seq, child])?;
    tx.db
        .prepare_cached("UPDATE tasks SET dependents = dependents + ?2 WHERE seq = ?1")?
        .execute(params![parent.seq, new])?;
    if parent.status.is_final() {
        settle_later(tx, parent.seq, 1)?;
    }
    Ok(new > 0)
}

/// Schedules the settlement of the dependents of a finished task, if there are any.
pub(super) fn settle_later(tx: &mut Tx<'_>, seq: i64, dependents: u32) -> rusqlite::Result<()> {
    if dependents > 0 {
        tx.db
            .prepare_cached("INSERT OR IGNORE INTO dependency_outbox (parent) VALUES (?1)")?
            .execute([seq])?;
        tx.notice_due_now();
    }
    Ok(())
}

/// Returns a finished task whose edges are still to be processed.
pub(super) fn next_settled(db: &Connection) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(
        "SELECT s.parent FROM dependency_outbox s CROSS JOIN tasks t ON t.seq = s.parent
         WHERE s.parent NOT IN (SELECT seq FROM unreadable) LIMIT 1",
    )?
    .query_row([], |row| row.get(0))
    .optional()
}

/// Returns the id and the status of such a task.
pub(super) fn settled(db: &Connection, parent: i64) -> rusqlite::Result<(TaskId, TaskStatus)> {
    db.prepare_cached("SELECT id, status FROM tasks WHERE seq = ?1")?
        .query_row([parent], |row| {
            Ok((rows::task_id(row, 0)?, rows::status(row, 1)?))
        })
}

/// Returns tasks that wait for `parent`.
pub(super) fn waiting_for(db: &Connection, parent: i64, limit: u32) -> rusqlite::Result<Vec<i64>> {
    db.prepare_cached(
        "SELECT child FROM dependencies WHERE parent = ?1
         AND child NOT IN (SELECT seq FROM unreadable) LIMIT ?2",
    )?
    .query_map(params![parent, limit], |row| row.get(0))?
    .collect()
}

/// Removes the edge from `parent` to `child`.
pub(super) fn remove_edge(tx: &Tx<'_>, parent: i64, child: i64) -> rusqlite::Result<()> {
    let gone = tx
        .db
        .prepare_cached("DELETE FROM dependencies WHERE parent = ?1 AND child = ?2")?
        .execute([parent, child])?;
    tx.db
        .prepare_cached("UPDATE tasks SET dependents = max(dependents - ?2, 0) WHERE seq = ?1")?
        .execute(params![parent, gone])?;
    Ok(())
}

/// Records that the edges of a finished task are processed.
pub(super) fn forget_settled(tx: &Tx<'_>, parent: i64) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("DELETE FROM dependency_outbox WHERE parent = ?1")?
        .execute([parent])?;
    Ok(())
}

/// Removes all edges to `child`.
pub(super) fn remove_edges_of(tx: &Tx<'_>, child: i64) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "UPDATE tasks SET dependents = max(dependents - 1, 0)
             WHERE seq IN (SELECT parent FROM dependencies WHERE child = ?1)",
        )?
        .execute([child])?;
    tx.db
        .prepare_cached("DELETE FROM dependencies WHERE child = ?1")?
        .execute([child])?;
    Ok(())
}

/// Returns the tasks that a task waits for, with their status.
pub(super) fn blockers(db: &Connection, child: i64) -> rusqlite::Result<Vec<(TaskId, TaskStatus)>> {
    db.prepare_cached(
        "SELECT t.id, t.status FROM dependencies d JOIN tasks t ON t.seq = d.parent WHERE d.child = ?1 LIMIT 100",
    )?
    .query_map([child], |row| Ok((rows::task_id(row, 0)?, rows::status(row, 1)?)))?
    .collect()
}
