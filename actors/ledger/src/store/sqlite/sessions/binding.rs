//! The bots of sessions, and the tasks that are meant for them.
//!
//! A session without a bot gets the one that its next task starts on, in the transaction of
//! that start. Tasks that became ready before that are found when they are claimed for
//! another bot: they go to the bot of their session instead.

use deia_model::{Action, BotName, SessionId, TaskStatus};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::{
    super::{rows, transaction::Tx, unreadable::lenient, waiting::Waiting},
    ending, find, log,
};
use crate::{CommitNotice, ReadyLane, ReadyQuery, ReadyTask};

/// Counts a task that is submitted in an active session. Returns the bot of the session.
pub(in super::super) fn joined_by_task(
    tx: &Tx<'_>,
    id: SessionId,
) -> rusqlite::Result<Option<BotName>> {
    let bot = tx
        .db
        .prepare_cached(
            "UPDATE sessions SET tasks_submitted = tasks_submitted + 1, last_activity = ?2,
                                 idle_at = ?2 + idle_ms
             WHERE id = ?1 RETURNING bot",
        )?
        .query_row(params![id.as_bytes(), tx.now.as_millis()], |row| {
            rows::optional_parsed(row, 0)
        })
        .optional()?;
    Ok(bot.flatten())
}

/// Gives an active session without a bot that bot.
pub(in super::super) fn bind(
    tx: &mut Tx<'_>,
    id: SessionId,
    bot: &BotName,
) -> rusqlite::Result<()> {
    let bound = tx
        .db
        .prepare_cached(
            "UPDATE sessions SET bot = ?2 WHERE id = ?1 AND bot IS NULL AND ended_at IS NULL",
        )?
        .execute(params![id.as_bytes(), bot.as_str()])?;
    if bound > 0
        && let Some(session) = find(tx.db, id)?
    {
        let details = json!({"bot": bot});
        log(tx, Action::SessionBound, "deia", &session, details)?;
    }
    Ok(())
}

/// Returns whether a ready task of a session may start on that bot. If not, the task is
/// moved to the lane of the right bot, or left to be ended with its session.
pub(in super::super) fn may_start(
    tx: &mut Tx<'_>,
    seq: i64,
    id: SessionId,
    bot: &BotName,
) -> rusqlite::Result<bool> {
    let Some(session) = find(tx.db, id)? else {
        return Ok(true);
    };
    if !session.is_active {
        // Otherwise it was put back since, or its session ended without it.
        return Ok(!ending::is_marked(tx.db, id)?);
    }
    match &session.bot {
        None => bind(tx, id, bot)?,
        Some(own) if own != bot => {
            pin(tx, seq, Some(own))?;
            return Ok(false);
        }
        Some(_) => {}
    }
    // The task keeps its bot when it is given back.
    tx.db
        .prepare_cached("UPDATE tasks SET pinned = ?2 WHERE seq = ?1 AND pinned IS NOT ?2")?
        .execute(params![seq, bot.as_str()])?;
    Ok(true)
}

/// Means a waiting task for that bot, or for any.
pub(super) fn pin(tx: &mut Tx<'_>, seq: i64, bot: Option<&BotName>) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("UPDATE tasks SET pinned = ?2 WHERE seq = ?1")?
        .execute(params![seq, bot.map(BotName::as_str)])?;
    if let Some(task) = Waiting::by_seq(tx.db, seq)?
        && task.status == TaskStatus::Queued
    {
        tx.notice(CommitNotice::Ready(task.ready()));
    }
    Ok(())
}

/// Means a task that is put back for the bot that its session has now; for any bot if the
/// session has ended.
pub(in super::super) fn pin_again(
    tx: &Tx<'_>,
    seq: i64,
    id: SessionId,
) -> rusqlite::Result<Option<BotName>> {
    let session = find(tx.db, id)?.filter(|session| session.is_active);
    let bot = session.and_then(|session| session.bot);
    tx.db
        .prepare_cached("UPDATE tasks SET pinned = ?2 WHERE seq = ?1")?
        .execute(params![seq, bot.as_ref().map(BotName::as_str)])?;
    Ok(bot)
}

/// Notes that a task that was meant for a bot has ended.
pub(in super::super) fn unpin(tx: &Tx<'_>, seq: i64) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("UPDATE tasks SET pinned = NULL WHERE seq = ?1")?
        .execute([seq])?;
    Ok(())
}

/// Counts ready tasks that are meant for a bot, by their lanes, among tasks of that type and
/// priority.
pub(in super::super) fn ready_lanes(
    db: &Connection,
    of: &ReadyLane,
) -> rusqlite::Result<Vec<ReadyLane>> {
    db.prepare_cached(
        "SELECT pinned, count(*) FROM tasks INDEXED BY tasks_ready
         WHERE status = 1 AND type = ?1 AND priority = ?2 AND pinned IS NOT NULL GROUP BY pinned",
    )?
    .query_map(
        params![of.demand.task_type.as_str(), of.priority.rank()],
        |row| {
            lenient("tasks", row, |row| {
                Ok(ReadyLane {
                    demand: of.demand.clone().on(rows::optional_parsed(row, 0)?),
                    priority: of.priority,
                    tasks: row.get::<_, i64>(1)?.unsigned_abs(),
                })
            })
        },
    )?
    .filter_map(Result::transpose)
    .collect()
}

/// Returns ready tasks that are meant for that bot.
pub(in super::super) fn ready(
    db: &Connection,
    query: &ReadyQuery,
    bot: &BotName,
) -> rusqlite::Result<Vec<ReadyTask>> {
    db.prepare_cached(
        "SELECT seq, id, type, priority, run_at, bot FROM tasks INDEXED BY tasks_ready
         WHERE status = 1 AND type = ?1 AND priority = ?2 AND pinned = ?5 AND seq > ?3
         AND seq NOT IN (SELECT seq FROM unreadable) ORDER BY seq LIMIT ?4",
    )?
    .query_map(
        params![
            query.demand.task_type.as_str(),
            query.priority.rank(),
            query.after,
            query.limit,
            bot.as_str(),
        ],
        |row| {
            lenient("tasks", row, |row| {
                let mut task = rows::ready_task(row)?;
                task.demand = query.demand.clone();
                Ok(task)
            })
        },
    )?
    .filter_map(Result::transpose)
    .collect()
}

/// Returns the number of ready tasks before one that is meant for a bot, of its lane.
pub(in super::super) fn ahead(db: &Connection, task: &ReadyTask) -> rusqlite::Result<u64> {
    let ahead: i64 = db
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_ready
             WHERE status = 1 AND type = ?1 AND priority = ?2 AND pinned = ?4 AND seq < ?3 LIMIT 10000)",
        )?
        .query_row(
            params![
                task.demand.task_type.as_str(),
                task.priority.rank(),
                task.order,
                task.demand.bot.as_ref().map(BotName::as_str),
            ],
            |row| row.get(0),
        )?;
    Ok(ahead.unsigned_abs())
}

/// Returns the bots of active sessions, and those that unfinished tasks are meant for.
pub(super) fn bots(db: &Connection) -> rusqlite::Result<Vec<BotName>> {
    // Each step of the recursion finds the next name in the index.
    db.prepare_cached(
        "WITH RECURSIVE of_tasks(name) AS (
             SELECT min(pinned) FROM tasks INDEXED BY tasks_pinned
                 WHERE pinned IS NOT NULL
             UNION ALL SELECT (SELECT min(pinned) FROM tasks INDEXED BY tasks_pinned
                 WHERE pinned IS NOT NULL AND pinned > name)
                 FROM of_tasks WHERE name IS NOT NULL)
         SELECT name FROM of_tasks WHERE name IS NOT NULL
         UNION SELECT bot FROM sessions INDEXED BY sessions_of_bot
             WHERE ended_at IS NULL AND bot IS NOT NULL",
    )?
    .query_map([], |row| {
        lenient("sessions", row, |row| rows::parsed(row, 0))
    })?
    .filter_map(Result::transpose)
    .collect()
}
