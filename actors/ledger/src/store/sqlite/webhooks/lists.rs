//! Lists of endpoints and deliveries, page by page, and the work that is due.

use std::{fmt, str::FromStr};

use deia_model::{Delivery, DeliveryState, MessageId, Page, Timestamp, WebhookId};
use rusqlite::{Connection, params};

use super::{
    super::{cursors::cursor_text, positions, rows as columns, unreadable::lenient},
    rows,
};
use crate::{StoredWebhook, WaitingDelivery};

/// The list of endpoints, in cursors.
pub(super) const WEBHOOKS: &str = "webhooks";
/// A list of deliveries, in cursors.
pub(super) const DELIVERIES: &str = "deliveries";

/// Troubled endpoints that are looked at, the longest failing first. Fixed: bounds one
/// step, so that others get their turn; the whole has no limit here.
const TROUBLED_MAX: u32 = 1_000;

/// A place in a list of deliveries: the newest first attempt comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeliveryPlace {
    first_at: i64,
    message: MessageId,
}

impl fmt::Display for DeliveryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.first_at, self.message)
    }
}

impl FromStr for DeliveryPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first_at, message) = text.split_once('.').ok_or(())?;
        Ok(Self {
            first_at: first_at.parse().map_err(drop)?,
            message: message.parse().map_err(drop)?,
        })
    }
}

/// Returns all endpoints that can be read, without their missed ranges.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<StoredWebhook>> {
    db.prepare_cached(&format!("{} ORDER BY id", rows::SELECT_WEBHOOK))?
        .query_map([], |row| lenient("webhooks", row, rows::stored))?
        .filter_map(Result::transpose)
        .collect()
}

/// Returns endpoints, the newest first, before the given one.
pub(super) fn page(
    db: &Connection,
    owner: Option<&str>,
    before: Option<WebhookId>,
    limit: u32,
) -> rusqlite::Result<Page<StoredWebhook>> {
    let of_owner = match owner {
        Some(_) => "owner = ?3 AND",
        None => "?3 IS NULL AND",
    };
    let sql = format!(
        "{} WHERE {of_owner} id < ?1 ORDER BY id DESC LIMIT ?2",
        rows::SELECT_WEBHOOK
    );
    let before = before.unwrap_or(WebhookId::from_bytes([0xff; 16]));
    let mut items: Vec<StoredWebhook> = db
        .prepare_cached(&sql)?
        .query_map(params![before.as_bytes(), limit + 1, owner], |row| {
            lenient("webhooks", row, rows::stored)
        })?
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    for stored in &mut items {
        rows::add_missed(db, stored)?;
    }
    let last = items.last().filter(|_| more);
    Ok(Page {
        next_cursor: last.map(|stored| cursor_text(WEBHOOKS, &stored.webhook.id)),
        items,
    })
}

/// Returns endpoints that are failing, or that the hive has disabled.
pub(super) fn troubled(db: &Connection) -> rusqlite::Result<Vec<StoredWebhook>> {
    let of = |condition: &str| -> rusqlite::Result<Vec<StoredWebhook>> {
        db.prepare_cached(&format!(
            "{} WHERE {condition} LIMIT ?1",
            rows::SELECT_WEBHOOK
        ))?
        .query_map([TROUBLED_MAX], |row| lenient("webhooks", row, rows::stored))?
        .filter_map(Result::transpose)
        .collect()
    };
    let mut found = of("disabled_at IS NULL AND failing_since IS NOT NULL ORDER BY failing_since")?;
    found.extend(of(
        "disabled_at IS NOT NULL AND disabled_reason NOT IN ('requested', 'owner_lost_rights')
         ORDER BY disabled_at DESC",
    )?);
    Ok(found)
}

/// Returns enabled endpoints that have a delivery or a replay to make.
pub(super) fn with_work(
    db: &Connection,
    now: Timestamp,
    max: u32,
) -> rusqlite::Result<Vec<WebhookId>> {
    db.prepare_cached(
        "SELECT id FROM webhooks WHERE waiting > 0 AND disabled_at IS NULL AND EXISTS (
             SELECT 1 FROM webhook_deliveries
             WHERE webhook = webhooks.id AND state = 0 AND next_at <= ?1)
         UNION SELECT webhook FROM webhook_replays WHERE state = 0 LIMIT ?2",
    )?
    .query_map(params![now.as_millis(), max], |row| {
        Ok(WebhookId::from_bytes(row.get(0)?))
    })?
    .collect()
}

/// Returns deliveries of an endpoint that are due, the earliest first.
pub(super) fn due(
    db: &Connection,
    webhook: WebhookId,
    now: Timestamp,
    max: u32,
) -> rusqlite::Result<Vec<WaitingDelivery>> {
    db.prepare_cached(
        "SELECT message, timeline, seq, action, body, attempts, next_at, owner FROM webhook_deliveries
         WHERE webhook = ?1 AND state = 0 AND next_at <= ?2 ORDER BY next_at LIMIT ?3",
    )?
    .query_map(params![webhook.as_bytes(), now.as_millis(), max], |row| {
        Ok(WaitingDelivery {
            message: MessageId::from_bytes(row.get(0)?),
            at_event: positions::position(row, 1)?,
            action: row.get(3)?,
            body: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            attempts: row.get(5)?,
            next_at: columns::time(row, 6)?,
            owner: row.get(7)?,
        })
    })?
    .collect()
}

/// Returns deliveries of an endpoint, the newest first, before the given one.
pub(super) fn deliveries(
    db: &Connection,
    webhook: WebhookId,
    state: Option<DeliveryState>,
    before: Option<DeliveryPlace>,
    limit: u32,
) -> rusqlite::Result<Page<Delivery>> {
    let before = before.unwrap_or(DeliveryPlace {
        first_at: i64::MAX,
        message: MessageId::from_bytes([0xff; 16]),
    });
    let mut items: Vec<Delivery> = db
        .prepare_cached(&format!(
            "{} WHERE webhook = ?1 AND (first_at, message) < (?2, ?3) AND state = coalesce(?4, state)
             ORDER BY first_at DESC, message DESC LIMIT ?5",
            rows::SELECT_DELIVERY
        ))?
        .query_map(
            params![
                webhook.as_bytes(),
                before.first_at,
                before.message.as_bytes(),
                state.map(rows::state_code),
                limit + 1
            ],
            |row| lenient("webhook_deliveries", row, rows::delivery),
        )?
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more).map(|delivery| DeliveryPlace {
        first_at: delivery.first_attempt_at.as_millis(),
        message: delivery.id,
    });
    Ok(Page {
        next_cursor: last.map(|place| cursor_text(DELIVERIES, &place)),
        items,
    })
}
