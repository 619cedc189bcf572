//! Replays: events of a range, delivered again.

use deia_model::{Action, Replay, ReplayId, ReplayState, WebhookId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{
    super::{
        errors::ApplyError,
        positions::{number, position},
        rows as columns,
        transaction::Tx,
    },
    endpoints,
};
use crate::{
    CommitNotice, Rejection, ReplayProgress, Reply, RunningReplay, StartReplay, StopReplay,
};

/// Number of replays that are kept of each endpoint. Fact: the API, whose schema states
/// it.
const KEPT: u32 = 20;

fn state_code(state: ReplayState) -> u8 {
    match state {
        ReplayState::Running => 0,
        ReplayState::Completed => 1,
        ReplayState::Stopped => 2,
    }
}

const SELECT: &str =
    "SELECT id, actor, from_at, to_at, after_seq, upto, cursor_seq, state, delivered, failed,
            started_at, ended_at FROM webhook_replays";

fn replay(row: &Row<'_>) -> rusqlite::Result<Replay> {
    let count = |at: usize| row.get::<_, i64>(at).map(i64::unsigned_abs);
    let (after, upto, cursor) = (count(4)?, count(5)?, count(6)?);
    let state = match row.get::<_, u8>(7)? {
        0 => ReplayState::Running,
        1 => ReplayState::Completed,
        _ => ReplayState::Stopped,
    };
    Ok(Replay {
        id: ReplayId::from_bytes(row.get(0)?),
        actor: row.get(1)?,
        from: columns::time(row, 2)?,
        to: columns::time(row, 3)?,
        state,
        progress_percent: percent(cursor.saturating_sub(after), upto.saturating_sub(after)),
        delivered: count(8)?,
        failed: count(9)?,
        started_at: columns::time(row, 10)?,
        ended_at: columns::optional_time(row, 11)?,
    })
}

fn percent(done: u64, all: u64) -> f64 {
    match all {
        0 => 100.0,
        // Whole thousandths are exact enough, and short on the wire.
        _ => {
            let thousandths = done.min(all).saturating_mul(1_000) / all;
            f64::from(u32::try_from(thousandths).unwrap_or(1_000)) / 10.0
        }
    }
}

fn find(db: &Connection, webhook: WebhookId, id: ReplayId) -> Result<Replay, ApplyError> {
    let found = db
        .prepare_cached(&format!("{SELECT} WHERE id = ?1 AND webhook = ?2"))?
        .query_row(params![id.as_bytes(), webhook.as_bytes()], replay)
        .optional()?;
    Ok(found.ok_or(Rejection::NoSuchReplay(id))?)
}

pub(super) fn start(tx: &mut Tx<'_>, command: &StartReplay) -> Result<Reply, ApplyError> {
    let webhook = command.webhook;
    let stored = endpoints::find(tx.db, webhook)?.ok_or(Rejection::NoSuchWebhook(webhook))?;
    if stored.webhook.disabled.is_some() {
        return Err(Rejection::WebhookDisabled(webhook).into());
    }
    if running(tx.db, webhook)?.is_some() {
        return Err(Rejection::ReplayRunning(webhook).into());
    }
    let is_empty = command.upto <= command.after.seq;
    let state = match is_empty {
        true => ReplayState::Completed,
        false => ReplayState::Running,
    };
    let now = tx.now.as_millis();
    tx.db
        .prepare_cached(
            "INSERT INTO webhook_replays (id, webhook, actor, from_at, to_at, after_seq, upto,
                                          cursor_timeline, cursor_seq, state, started_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?6, ?9, ?10, ?11)",
        )?
        .execute(params![
            command.id.as_bytes(),
            webhook.as_bytes(),
            command.actor,
            command.from.as_millis(),
            command.to.as_millis(),
            number(command.after.seq),
            number(command.upto.max(command.after.seq)),
            number(command.after.timeline),
            state_code(state),
            now,
            is_empty.then_some(now),
        ])?;
    tx.db
        .prepare_cached(
            "DELETE FROM webhook_replays WHERE webhook = ?1 AND id NOT IN (
                 SELECT id FROM webhook_replays WHERE webhook = ?1 ORDER BY id DESC LIMIT ?2)",
        )?
        .execute(params![webhook.as_bytes(), KEPT])?;
    let details = json!({"replay": command.id, "from": command.from, "to": command.to});
    tx.notice_once(CommitNotice::WebhookWork(webhook));
    let of = (webhook, &*stored.owner.user);
    endpoints::log(tx, Action::WebhookReplayed, &command.actor, of, details)?;
    Ok(Reply::Replay(Box::new(find(tx.db, webhook, command.id)?)))
}

pub(super) fn stop(tx: &mut Tx<'_>, command: &StopReplay) -> Result<Reply, ApplyError> {
    let found = find(tx.db, command.webhook, command.id)?;
    if found.state == ReplayState::Running {
        stop_of(tx, command.webhook)?;
        let details = json!({"replay": command.id});
        endpoints::log_of(
            tx,
            Action::WebhookReplayStopped,
            &command.actor,
            command.webhook,
            details,
        )?;
    }
    let stopped = find(tx.db, command.webhook, command.id)?;
    Ok(Reply::Replay(Box::new(stopped)))
}

/// Stops the running replay of an endpoint, if there is one.
pub(super) fn stop_of(tx: &mut Tx<'_>, webhook: WebhookId) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "UPDATE webhook_replays SET state = ?2, ended_at = ?3 WHERE webhook = ?1 AND state = 0",
        )?
        .execute(params![
            webhook.as_bytes(),
            state_code(ReplayState::Stopped),
            tx.now.as_millis()
        ])?;
    tx.notice_once(CommitNotice::WebhookWork(webhook));
    Ok(())
}

/// Notes the progress of a replay. One that was stopped meanwhile stays stopped.
pub(super) fn advance(
    tx: &Tx<'_>,
    webhook: WebhookId,
    progress: &ReplayProgress,
) -> rusqlite::Result<()> {
    let state = match progress.is_done {
        true => ReplayState::Completed,
        false => ReplayState::Running,
    };
    tx.db
        .prepare_cached(
            "UPDATE webhook_replays SET cursor_timeline = ?3, cursor_seq = ?4,
                    delivered = delivered + ?5, failed = failed + ?6, state = max(state, ?7),
                    ended_at = coalesce(ended_at, ?8)
             WHERE id = ?1 AND webhook = ?2",
        )?
        .execute(params![
            progress.id.as_bytes(),
            webhook.as_bytes(),
            number(progress.cursor.timeline),
            number(progress.cursor.seq),
            number(progress.delivered),
            number(progress.failed),
            state_code(state),
            progress.is_done.then_some(tx.now.as_millis()),
        ])?;
    Ok(())
}

/// Returns the replays of an endpoint, the newest first.
pub(super) fn list(db: &Connection, webhook: WebhookId) -> rusqlite::Result<Vec<Replay>> {
    db.prepare_cached(&format!(
        "{SELECT} WHERE webhook = ?1 ORDER BY id DESC LIMIT ?2"
    ))?
    .query_map(params![webhook.as_bytes(), KEPT], replay)?
    .collect()
}

/// Returns the replay of an endpoint that runs.
pub(super) fn running(
    db: &Connection,
    webhook: WebhookId,
) -> rusqlite::Result<Option<RunningReplay>> {
    db.prepare_cached(
        "SELECT id, cursor_timeline, cursor_seq, upto FROM webhook_replays
         WHERE webhook = ?1 AND state = 0",
    )?
    .query_row([webhook.as_bytes()], |row| {
        Ok(RunningReplay {
            id: ReplayId::from_bytes(row.get(0)?),
            cursor: position(row, 1)?,
            upto: row.get::<_, i64>(3)?.unsigned_abs(),
        })
    })
    .optional()
}
