//! Alerts, open and resolved.

use deia_model::{
    Action, Alert, AlertId, Condition, EventLevel, EventTarget, NewEvent, Page, PageRequest,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{SqliteStore, errors::ApplyError, rows, transaction::Tx, unreadable::lenient};
use crate::{
    AcknowledgeAlert, AlertCommand, AlertReads, BoxFuture, Rejection, Reply, SettleAlerts,
    StoreError,
};

/// Resolved alerts that one command forgets. Fixed: bounds one step, so that others get
/// their turn; the whole has no limit here.
const FORGET_MAX: u32 = 100;

pub(super) fn apply(tx: &mut Tx<'_>, command: &AlertCommand) -> Result<Reply, ApplyError> {
    match command {
        AlertCommand::Settle(command) => Ok(settle(tx, command)?),
        AlertCommand::Acknowledge(command) => acknowledge(tx, command),
    }
}

fn settle(tx: &mut Tx<'_>, command: &SettleAlerts) -> rusqlite::Result<Reply> {
    let mut changed = 0;
    for condition in &command.raise {
        changed += u64::from(raise(tx, condition)?);
    }
    for seen in &command.seen {
        tx.db
            .prepare_cached(
                "UPDATE alerts SET last_seen = ?2, what = ?3 WHERE id = ?1 AND resolved_at IS NULL",
            )?
            .execute(params![
                seen.alert.as_bytes(),
                tx.now.as_millis(),
                seen.what
            ])?;
    }
    for alert in &command.resolve {
        changed += u64::from(resolve(tx, *alert)?);
    }
    if let Some(before) = command.forget_before {
        tx.db
            .prepare_cached(
                "DELETE FROM alerts WHERE id IN
                     (SELECT id FROM alerts WHERE resolved_at < ?1 ORDER BY resolved_at LIMIT ?2)",
            )?
            .execute(params![before.as_millis(), FORGET_MAX])?;
    }
    Ok(Reply::Done(changed))
}

/// Raises an alert unless one is open. Returns whether it did.
fn raise(tx: &mut Tx<'_>, condition: &Condition) -> rusqlite::Result<bool> {
    let id = AlertId::new();
    let raised = tx
        .db
        .prepare_cached(
            "INSERT INTO alerts (id, name, target_type, target, level, since, last_seen, what, what_to_do)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            id.as_bytes(),
            condition.name.as_str(),
            condition.target_type.as_str(),
            condition.target,
            rows::level_code(condition.name.level()),
            tx.now.as_millis(),
            condition.what,
            condition.what_to_do,
        ])?;
    if raised > 0 {
        let details = json!({
            "name": condition.name.as_str(),
            "target": {"type": condition.target_type.as_str(), "id": condition.target},
            "what": condition.what,
            "what_to_do": condition.what_to_do,
        });
        log(tx, Action::AlertRaised, "deia", id, details)?;
    }
    Ok(raised > 0)
}

fn resolve(tx: &mut Tx<'_>, id: AlertId) -> rusqlite::Result<bool> {
    let resolved = tx
        .db
        .prepare_cached("UPDATE alerts SET resolved_at = ?2 WHERE id = ?1 AND resolved_at IS NULL")?
        .execute(params![id.as_bytes(), tx.now.as_millis()])?;
    if resolved > 0
        && let Some(alert) = find(tx.db, id)?
    {
        log(tx, Action::AlertResolved, "deia", id, of(&alert))?;
    }
    Ok(resolved > 0)
}

fn acknowledge(tx: &mut Tx<'_>, command: &AcknowledgeAlert) -> Result<Reply, ApplyError> {
    let (id, actor) = (command.alert, &command.actor);
    let acknowledged = tx
        .db
        .prepare_cached(
            "UPDATE alerts SET acknowledged_by = ?2, acknowledged_at = ?3
             WHERE id = ?1 AND acknowledged_by IS NULL",
        )?
        .execute(params![id.as_bytes(), actor, tx.now.as_millis()])?;
    let alert = find(tx.db, id)?.ok_or(Rejection::NoSuchAlert(id))?;
    if acknowledged > 0 {
        log(tx, Action::AlertAcknowledged, actor, id, of(&alert))?;
    }
    Ok(Reply::Alert(Box::new(alert)))
}

/// Returns the details that tell an alert's events apart without the alert.
fn of(alert: &Alert) -> serde_json::Value {
    json!({"name": alert.name, "target": alert.target, "what": alert.what})
}

fn log(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    id: AlertId,
    details: serde_json::Value,
) -> rusqlite::Result<()> {
    tx.log_event(&NewEvent::new(action, actor, id.to_string()).details(details))
}

impl AlertReads for SqliteStore {
    fn open_alerts(&self) -> BoxFuture<'_, Result<Vec<Alert>, StoreError>> {
        self.internal_readers.read(open)
    }

    fn alerts(
        &self,
        only_open: bool,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Alert>, StoreError>> {
        let before = match page.cursor.as_deref().map(cursor) {
            Some(None) => return Box::pin(async { Err(StoreError::BadCursor) }),
            Some(Some(before)) => Some(before),
            None => None,
        };
        let list = List {
            only_open,
            before,
            limit: page.limit,
        };
        self.readers.read(move |db| self::page(db, list))
    }
}

const SELECT: &str =
    "SELECT id, name, target_type, target, level, since, last_seen, what, what_to_do,
     acknowledged_by, acknowledged_at, resolved_at FROM alerts";

fn find(db: &Connection, id: AlertId) -> rusqlite::Result<Option<Alert>> {
    db.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?
        .query_row([id.as_bytes()], record)
        .optional()
}

/// Returns all open alerts, oldest first.
pub(super) fn open(db: &Connection) -> rusqlite::Result<Vec<Alert>> {
    db.prepare_cached(&format!("{SELECT} WHERE resolved_at IS NULL ORDER BY id"))?
        .query_map([], |row| lenient("alerts", row, record))?
        .filter_map(Result::transpose)
        .collect()
}

/// A query for one page of alerts.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) only_open: bool,
    pub(super) before: Option<AlertId>,
    pub(super) limit: u32,
}

/// Returns the alert that a cursor stands for.
pub(super) fn cursor(text: &str) -> Option<AlertId> {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?;
    let plain = std::str::from_utf8(&bytes).ok()?;
    let id = plain.strip_prefix("alerts:")?.parse().ok()?;
    // Only the canonical encoding of an id is a cursor.
    (cursor_text(id) == text).then_some(id)
}

fn cursor_text(id: AlertId) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("alerts:{id}").as_bytes())
}

/// Returns alerts, the newest first.
pub(super) fn page(db: &Connection, list: List) -> rusqlite::Result<Page<Alert>> {
    let open = if list.only_open {
        "resolved_at IS NULL AND"
    } else {
        ""
    };
    let sql = format!("{SELECT} WHERE {open} id < ?1 ORDER BY id DESC LIMIT ?2");
    let before = list.before.unwrap_or(AlertId::from_bytes([0xff; 16]));
    let mut statement = db.prepare_cached(&sql)?;
    let found = statement.query_map(params![before.as_bytes(), list.limit + 1], |row| {
        lenient("alerts", row, record)
    })?;
    let mut items: Vec<Alert> = found
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    let more = items.len() > list.limit as usize;
    items.truncate(list.limit as usize);
    let last = items.last().filter(|_| more);
    Ok(Page {
        next_cursor: last.map(|alert| cursor_text(alert.id)),
        items,
    })
}

fn record(row: &Row<'_>) -> rusqlite::Result<Alert> {
    Ok(Alert {
        id: AlertId::from_bytes(row.get(0)?),
        name: row.get(1)?,
        target: EventTarget {
            r#type: row.get(2)?,
            id: row.get(3)?,
        },
        level: match row.get::<_, i64>(4)? {
            0 => EventLevel::Info,
            1 => EventLevel::Warning,
            _ => EventLevel::Critical,
        },
        since: rows::time(row, 5)?,
        last_seen: rows::time(row, 6)?,
        what: row.get(7)?,
        what_to_do: row.get(8)?,
        acknowledged_by: row.get(9)?,
        acknowledged_at: rows::optional_time(row, 10)?,
        resolved_at: rows::optional_time(row, 11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_read_back_and_nothing_else_is() {
        let id = AlertId::new();
        assert_eq!(cursor(&cursor_text(id)), Some(id));
        for text in ["", "x", "YWxlcnRzOg", &id.to_string()] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
