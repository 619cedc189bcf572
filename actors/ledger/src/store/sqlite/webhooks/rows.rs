//! Rows of endpoints and deliveries.

use deia_model::{
    Delivery, DeliveryState, Disabled, MessageId, MissedRange, Position, Webhook, WebhookId,
    WebhookStatus,
};
use rusqlite::{Connection, Row};

use super::super::rows;
use crate::{StoredWebhook, WebhookOwner};

/// Number of missed ranges that are kept for each endpoint. Fact: the API, whose schema
/// states it.
pub(super) const MISSED_MAX: u32 = 10;

/// The columns that [`stored`] reads.
pub(super) const SELECT_WEBHOOK: &str =
    "SELECT id, owner, role, issuer, spec, version, created_at, changed_at, public_key,
            old_secret_until, disabled_at, disabled_reason, disabled_detail, disabled_by, failures,
            failing_since, last_success_at, last_failure_at, last_error, waiting, cursor_timeline,
            cursor_seq, changed_after FROM webhooks";

/// Decodes a row in the order of [`SELECT_WEBHOOK`], without its missed ranges.
pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<StoredWebhook> {
    let spec: String = row.get(4)?;
    let disabled_at = rows::optional_time(row, 10)?;
    let disabled = match disabled_at {
        None => None,
        Some(at) => Some(Disabled {
            at,
            reason: rows::parsed(row, 11)?,
            detail: row.get::<_, Option<String>>(12)?.unwrap_or_default(),
            by: row.get::<_, Option<String>>(13)?.unwrap_or_default(),
        }),
    };
    let failures_in_a_row: u32 = row.get(14)?;
    let status = match (&disabled, failures_in_a_row) {
        (Some(_), _) => WebhookStatus::Disabled,
        (None, 0) => WebhookStatus::Enabled,
        (None, _) => WebhookStatus::Failing,
    };
    let user: String = row.get(1)?;
    let webhook = Webhook {
        id: WebhookId::from_bytes(row.get(0)?),
        spec: rows::from_json(4, &spec)?,
        owner: user.clone(),
        status,
        disabled,
        failures_in_a_row,
        failing_since: rows::optional_time(row, 15)?,
        last_success_at: rows::optional_time(row, 16)?,
        last_failure_at: rows::optional_time(row, 17)?,
        last_error: row.get(18)?,
        waiting: row.get::<_, i64>(19)?.unsigned_abs(),
        lag_ms: 0,
        missed: Vec::new(),
        public_key: row.get(8)?,
        old_secret_until: rows::optional_time(row, 9)?,
        version: row.get::<_, i64>(5)?.unsigned_abs(),
        created_at: rows::time(row, 6)?,
        changed_at: rows::time(row, 7)?,
    };
    let cursor = match row.get::<_, Option<i64>>(20)? {
        None => None,
        Some(timeline) => Some(Position {
            timeline: timeline.unsigned_abs(),
            seq: row.get::<_, i64>(21)?.unsigned_abs(),
        }),
    };
    Ok(StoredWebhook {
        webhook,
        owner: WebhookOwner {
            user,
            role: rows::parsed(row, 2)?,
            issuer: row.get(3)?,
        },
        cursor,
        changed_after: row.get::<_, i64>(22)?.unsigned_abs(),
    })
}

/// Adds the missed ranges of an endpoint.
pub(super) fn add_missed(db: &Connection, stored: &mut StoredWebhook) -> rusqlite::Result<()> {
    let webhook = &mut stored.webhook;
    webhook.missed = db
        .prepare_cached(
            "SELECT from_at, to_at FROM webhook_missed WHERE webhook = ?1 ORDER BY from_at DESC",
        )?
        .query_map([webhook.id.as_bytes()], |row| {
            Ok(MissedRange {
                from: rows::time(row, 0)?,
                to: rows::time(row, 1)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(())
}

pub(super) fn state_code(state: DeliveryState) -> u8 {
    match state {
        DeliveryState::Waiting => 0,
        DeliveryState::Delivered => 1,
        DeliveryState::Failed => 2,
    }
}

/// The columns that [`delivery`] reads.
pub(super) const SELECT_DELIVERY: &str =
    "SELECT message, action, state, attempts, first_at, last_at, next_at FROM webhook_deliveries";

/// Decodes a row in the order of [`SELECT_DELIVERY`].
pub(super) fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let state = match row.get::<_, u8>(2)? {
        0 => DeliveryState::Waiting,
        1 => DeliveryState::Delivered,
        _ => DeliveryState::Failed,
    };
    Ok(Delivery {
        id: MessageId::from_bytes(row.get(0)?),
        action: row.get(1)?,
        state,
        attempts: row.get(3)?,
        first_attempt_at: rows::time(row, 4)?,
        last_attempt_at: rows::time(row, 5)?,
        next_attempt_at: rows::optional_time(row, 6)?,
    })
}
