//! Deliveries: their attempts, their retries, and the history.

use deia_model::{
    Action, DeliveryAttempt, DeliveryDetail, DeliveryState, MessageId, Position, WebhookId,
};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::{
    super::{errors::ApplyError, positions, rows as columns, transaction::Tx},
    endpoints, replays, rows,
};
use crate::{AttemptRecord, CommitNotice, RecordDeliveries, Rejection, Reply, RetryDelivery};

/// Number of attempts that are kept of each delivery. Fact: the API, whose schema states
/// it.
const ATTEMPTS_MAX: u32 = 20;

pub(super) fn record(tx: &mut Tx<'_>, command: &RecordDeliveries) -> Result<Reply, ApplyError> {
    let id = command.webhook;
    let health = &command.health;
    let time = |at: Option<deia_model::Timestamp>| at.map(|at| at.as_millis());
    let found = tx
        .db
        .prepare_cached(
            "UPDATE webhooks SET failures = ?2, failing_since = ?3, last_success_at = ?4,
                    last_failure_at = ?5, last_error = ?6 WHERE id = ?1",
        )?
        .execute(params![
            id.as_bytes(),
            health.failures_in_a_row,
            time(health.failing_since),
            time(health.last_success_at),
            time(health.last_failure_at),
            health.last_error,
        ])?;
    if found == 0 {
        return Err(Rejection::NoSuchWebhook(id).into());
    }
    for attempt in &command.attempts {
        record_attempt(tx.db, id, attempt)?;
    }
    if !command.attempts.is_empty() {
        forget(tx.db, id, command.history)?;
    }
    if let Some(from) = command.missed_from {
        endpoints::add_missed(tx, id, from.as_millis())?;
    }
    if let Some(progress) = &command.replay {
        replays::advance(tx, id, progress)?;
    }
    count_waiting(tx.db, id)
        .map(Reply::Done)
        .map_err(Into::into)
}

/// Counts the deliveries that wait for a retry, and notes the number with the endpoint.
fn count_waiting(db: &Connection, id: WebhookId) -> rusqlite::Result<u64> {
    let waiting: i64 = db
        .prepare_cached("SELECT count(*) FROM webhook_deliveries WHERE webhook = ?1 AND state = 0")?
        .query_row([id.as_bytes()], |row| row.get(0))?;
    db.prepare_cached("UPDATE webhooks SET waiting = ?2 WHERE id = ?1 AND waiting != ?2")?
        .execute(params![id.as_bytes(), waiting])?;
    Ok(waiting.unsigned_abs())
}

fn record_attempt(db: &Connection, id: WebhookId, record: &AttemptRecord) -> rusqlite::Result<()> {
    let waits = record.state == DeliveryState::Waiting;
    let attempt: u32 = db
        .prepare_cached(
            "INSERT INTO webhook_deliveries
                 (webhook, message, timeline, seq, action, state, attempts, first_at, last_at, next_at, body, owner)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET state = excluded.state, attempts = attempts + 1,
                 last_at = excluded.last_at, next_at = excluded.next_at, body = excluded.body
             RETURNING attempts",
        )?
        .query_row(
            params![
                id.as_bytes(),
                record.message.as_bytes(),
                positions::number(record.at_event.timeline),
                positions::number(record.at_event.seq),
                record.action,
                rows::state_code(record.state),
                record.at.as_millis(),
                record.next_at.filter(|_| waits).map(|at| at.as_millis()),
                waits.then_some(&record.body),
                record.owner,
            ],
            |row| row.get(0),
        )?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO webhook_attempts
             (webhook, message, attempt, at, duration_ms, status, error, response, truncated)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        id.as_bytes(),
        record.message.as_bytes(),
        attempt,
        record.at.as_millis(),
        positions::number(record.duration_ms),
        record.status,
        record.error,
        record.response,
        record.response_truncated,
    ])?;
    // The answers of all attempts at many deliveries would fill the disk.
    db.prepare_cached(
        "UPDATE webhook_attempts SET response = '' WHERE webhook = ?1 AND message = ?2 AND attempt < ?3",
    )?
    .execute(params![id.as_bytes(), record.message.as_bytes(), attempt])?;
    if attempt > ATTEMPTS_MAX {
        db.prepare_cached(
            "DELETE FROM webhook_attempts WHERE webhook = ?1 AND message = ?2 AND attempt <= ?3",
        )?
        .execute(params![
            id.as_bytes(),
            record.message.as_bytes(),
            attempt - ATTEMPTS_MAX
        ])?;
    }
    Ok(())
}

/// Deletes all but the last ended deliveries of an endpoint.
fn forget(db: &Connection, id: WebhookId, keep: u32) -> rusqlite::Result<()> {
    let newest_to_go: Option<(i64, [u8; 16])> = db
        .prepare_cached(
            "SELECT last_at, message FROM webhook_deliveries WHERE webhook = ?1 AND state > 0
             ORDER BY last_at DESC, message DESC LIMIT 1 OFFSET ?2",
        )?
        .query_row(params![id.as_bytes(), keep], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((last_at, message)) = newest_to_go else {
        return Ok(());
    };
    for table in ["webhook_attempts", "webhook_deliveries"] {
        db.prepare_cached(&format!(
            "DELETE FROM {table} WHERE webhook = ?1 AND message IN (
                 SELECT message FROM webhook_deliveries
                 WHERE webhook = ?1 AND state > 0 AND (last_at, message) <= (?2, ?3))"
        ))?
        .execute(params![id.as_bytes(), last_at, message])?;
    }
    Ok(())
}

pub(super) fn retry(tx: &mut Tx<'_>, command: &RetryDelivery) -> Result<Reply, ApplyError> {
    let (webhook, message) = (command.webhook, command.message);
    let due = tx
        .db
        .prepare_cached(
            "UPDATE webhook_deliveries SET state = 0, next_at = ?3, body = coalesce(body, ?4)
             WHERE webhook = ?1 AND message = ?2 AND coalesce(body, ?4) IS NOT NULL",
        )?
        .execute(params![
            webhook.as_bytes(),
            message.as_bytes(),
            tx.now.as_millis(),
            command.body
        ])?;
    if due == 0 {
        return Err(Rejection::NoSuchDelivery(message).into());
    }
    count_waiting(tx.db, webhook)?;
    tx.notice_once(CommitNotice::WebhookWork(webhook));
    let details = json!({"message": message});
    endpoints::log_of(
        tx,
        Action::WebhookReplayed,
        &command.actor,
        webhook,
        details,
    )?;
    Ok(Reply::Done(1))
}

/// Returns a delivery with its attempts.
pub(super) fn detail(
    db: &Connection,
    webhook: WebhookId,
    message: MessageId,
) -> rusqlite::Result<Option<DeliveryDetail>> {
    let key = params![webhook.as_bytes(), message.as_bytes()];
    let found = db
        .prepare_cached(&format!(
            "{} WHERE webhook = ?1 AND message = ?2",
            rows::SELECT_DELIVERY
        ))?
        .query_row(key, rows::delivery)
        .optional()?;
    let Some(delivery) = found else {
        return Ok(None);
    };
    let tries = db
        .prepare_cached(
            "SELECT attempt, at, duration_ms, status, error, response, truncated
             FROM webhook_attempts WHERE webhook = ?1 AND message = ?2 ORDER BY attempt",
        )?
        .query_map(key, |row| {
            Ok(DeliveryAttempt {
                attempt: row.get(0)?,
                at: columns::time(row, 1)?,
                duration_ms: row.get::<_, i64>(2)?.unsigned_abs(),
                status: row.get(3)?,
                error: row.get(4)?,
                response: row.get(5)?,
                response_truncated: row.get(6)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Some(DeliveryDetail { delivery, tries }))
}

/// Returns the position of the event of a delivery.
pub(super) fn position(
    db: &Connection,
    webhook: WebhookId,
    message: MessageId,
) -> rusqlite::Result<Option<Position>> {
    db.prepare_cached(
        "SELECT timeline, seq FROM webhook_deliveries WHERE webhook = ?1 AND message = ?2",
    )?
    .query_row(params![webhook.as_bytes(), message.as_bytes()], |row| {
        positions::position(row, 0)
    })
    .optional()
}
