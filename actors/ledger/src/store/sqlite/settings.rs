//! Versions of the settings.

use deia_model::{Page, PageRequest, SettingsOrigin, SettingsOutcome, SettingsVersion};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::{SqliteStore, errors::ApplyError, rows, transaction::Tx, unreadable::lenient};
use crate::{
    BoxFuture, Note, Rejection, Reply, SettingsReads, SettingsRecord, SettledVersion, StoreError,
    StoredSettings, WriteSettings,
};

const SELECT: &str = "SELECT version, at, actor, origin, restores, changes, outcome, reason, \
     probation_until, confirm_by, confirmed_by, content FROM settings_versions";

/// Names of the notes.
const REJECTED: &str = "rejected";
const TAKEN_BACK: &str = "taken_back";
const ENDED_UNDER: &str = "ended_under";

pub(super) fn apply(tx: &mut Tx<'_>, command: &WriteSettings) -> Result<Reply, ApplyError> {
    let newest = newest(tx.db)?;
    if newest != command.expected {
        return Err(Rejection::VersionMismatch {
            expected: command.expected,
            actual: newest,
        }
        .into());
    }
    for settled in &command.settle {
        settle(tx.db, settled)?;
    }
    if let Some(stored) = &command.add {
        add(tx, newest + 1, stored)?;
        forget(tx.db, newest + 1, command.keep)?;
    }
    note(tx.db, REJECTED, &command.rejected)?;
    note(tx.db, TAKEN_BACK, &command.taken_back)?;
    note(tx.db, ENDED_UNDER, &command.ended_under)?;
    for event in &command.events {
        tx.log_event(event)?;
    }
    Ok(Reply::Done(newest + u64::from(command.add.is_some())))
}

fn newest(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT coalesce(max(version), 0) FROM settings_versions")?
        .query_row([], |row| row.get(0))
}

fn settle(db: &Connection, settled: &SettledVersion) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE settings_versions SET outcome = ?2, reason = coalesce(?3, reason),
             probation_until = coalesce(?4, probation_until), confirm_by = coalesce(?5, confirm_by),
             confirmed_by = coalesce(?6, confirmed_by) WHERE version = ?1",
    )?
    .execute(params![
        settled.version,
        settled.outcome.as_str(),
        settled.reason,
        settled.probation_until.map(|at| at.as_millis()),
        settled.confirm_by.map(|at| at.as_millis()),
        settled.confirmed_by,
    ])?;
    Ok(())
}

fn add(tx: &Tx<'_>, number: u64, stored: &StoredSettings) -> rusqlite::Result<()> {
    let version = &stored.version;
    // Strings, numbers and lists of them: this serialisation cannot fail.
    let changes = serde_json::to_string(&version.changes).unwrap_or_default();
    tx.db
        .prepare_cached(
            "INSERT INTO settings_versions (version, at, actor, origin, restores, changes, outcome,
                 reason, probation_until, confirm_by, confirmed_by, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            number,
            tx.now.as_millis(),
            version.actor,
            version.origin.as_str(),
            version.restores,
            changes,
            version.outcome.as_str(),
            version.reason,
            version.probation_until.map(|at| at.as_millis()),
            version.confirm_by.map(|at| at.as_millis()),
            version.confirmed_by,
            stored.content.to_string(),
        ])?;
    Ok(())
}

/// Deletes old versions, but never the last confirmed one or those after it.
fn forget(db: &Connection, newest: u64, keep: u32) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM settings_versions WHERE version <= ?1 AND version <
             (SELECT coalesce(max(version), 0) FROM settings_versions WHERE outcome = 'confirmed')",
    )?
    .execute([newest.saturating_sub(u64::from(keep))])?;
    Ok(())
}

fn note(db: &Connection, name: &str, note: &Note) -> rusqlite::Result<()> {
    match note {
        Note::Keep => {}
        Note::Clear => {
            db.prepare_cached("DELETE FROM settings_notes WHERE name = ?1")?
                .execute([name])?;
        }
        Note::Set(text) => {
            db.prepare_cached(
                "INSERT OR REPLACE INTO settings_notes (name, text) VALUES (?1, ?2)",
            )?
            .execute([name, text])?;
        }
    }
    Ok(())
}

fn noted(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT text FROM settings_notes WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

impl SettingsReads for SqliteStore {
    fn settings_record(&self) -> BoxFuture<'_, Result<SettingsRecord, StoreError>> {
        self.internal_readers.read(record)
    }

    fn settings_version(
        &self,
        version: u64,
    ) -> BoxFuture<'_, Result<Option<StoredSettings>, StoreError>> {
        self.internal_readers
            .read(move |db| one(db, "WHERE version = ?1", version))
    }

    fn settings_before(
        &self,
        version: u64,
    ) -> BoxFuture<'_, Result<Option<StoredSettings>, StoreError>> {
        self.internal_readers.read(move |db| {
            let of = "WHERE version < ?1 AND outcome IN ('confirmed', 'probation')
                      ORDER BY version DESC LIMIT 1";
            one(db, of, version)
        })
    }

    fn settings_versions(
        &self,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<SettingsVersion>, StoreError>> {
        let before = match page.cursor.as_deref().map(cursor) {
            Some(None) => return Box::pin(async { Err(StoreError::BadCursor) }),
            Some(Some(before)) => Some(before),
            None => None,
        };
        self.readers
            .read(move |db| versions(db, before, page.limit))
    }
}

/// Returns the versions that a start needs; none if the table does not exist yet.
pub(super) fn record(db: &Connection) -> rusqlite::Result<SettingsRecord> {
    let exists = db
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE name = 'settings_versions'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    if exists.is_none() {
        return Ok(SettingsRecord::default());
    }
    let confirmed = "WHERE outcome = 'confirmed' AND version > ?1 ORDER BY version DESC LIMIT 1";
    // One on probation below the last confirmed version is over with it.
    let open = format!(
        "{SELECT} WHERE outcome = 'pending' OR (outcome = 'probation' AND version >
             (SELECT coalesce(max(version), 0) FROM settings_versions WHERE outcome = 'confirmed'))
         ORDER BY version"
    );
    let open = db
        .prepare_cached(&open)?
        .query_map([], stored)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(SettingsRecord {
        newest: newest(db)?,
        confirmed: one(db, confirmed, 0)?,
        open,
        rejected: noted(db, REJECTED)?,
        taken_back: noted(db, TAKEN_BACK)?,
        is_running: is_running(db)?,
        ended_under: noted(db, ENDED_UNDER)?,
    })
}

fn is_running(db: &Connection) -> rusqlite::Result<bool> {
    let running = db
        .prepare_cached("SELECT value FROM meta WHERE key = 'running'")?
        .query_row([], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(running.as_deref() == Some("yes"))
}

/// Returns the version that a condition on a number selects. A number beyond those of SQLite is
/// that of no version.
fn one(db: &Connection, of: &str, number: u64) -> rusqlite::Result<Option<StoredSettings>> {
    let Ok(number) = i64::try_from(number) else {
        return Ok(None);
    };
    db.prepare_cached(&format!("{SELECT} {of}"))?
        .query_row([number], stored)
        .optional()
}

/// Returns the version that a cursor stands for.
fn cursor(text: &str) -> Option<u64> {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?;
    let plain = std::str::from_utf8(&bytes).ok()?;
    let version = plain.strip_prefix("settings:")?.parse().ok()?;
    // Only the canonical encoding of a version is a cursor.
    (cursor_text(version) == text && i64::try_from(version).is_ok()).then_some(version)
}

fn cursor_text(version: u64) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("settings:{version}").as_bytes())
}

fn versions(
    db: &Connection,
    before: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Page<SettingsVersion>> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let sql = format!("{SELECT} WHERE version < ?1 ORDER BY version DESC LIMIT ?2");
    let mut items: Vec<SettingsVersion> = db
        .prepare_cached(&sql)?
        .query_map(params![before, u64::from(limit) + 1], |row| {
            lenient("settings_versions", row, described)
        })?
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more);
    Ok(Page {
        next_cursor: last.map(|version| cursor_text(version.version)),
        items,
    })
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredSettings> {
    Ok(StoredSettings {
        version: described(row)?,
        content: json(row, 11)?,
    })
}

fn described(row: &Row<'_>) -> rusqlite::Result<SettingsVersion> {
    let origin: String = row.get(3)?;
    let outcome: String = row.get(6)?;
    Ok(SettingsVersion {
        version: row.get(0)?,
        at: rows::time(row, 1)?,
        actor: row.get(2)?,
        origin: SettingsOrigin::parse(&origin).ok_or_else(|| unknown(3, &origin))?,
        restores: row.get(4)?,
        changes: serde_json::from_value(json(row, 5)?).map_err(|error| malformed(5, error))?,
        outcome: SettingsOutcome::parse(&outcome).ok_or_else(|| unknown(6, &outcome))?,
        reason: row.get(7)?,
        probation_until: rows::optional_time(row, 8)?,
        confirm_by: rows::optional_time(row, 9)?,
        confirmed_by: row.get(10)?,
    })
}

fn json(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| malformed(column, error))
}

fn malformed(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    let text = rusqlite::types::Type::Text;
    rusqlite::Error::FromSqlConversionFailure(column, text, Box::new(error))
}

fn unknown(column: usize, name: &str) -> rusqlite::Error {
    malformed(
        column,
        std::io::Error::other(format!("{name:?} is not known to this version")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_read_back_and_nothing_else_is() {
        assert_eq!(cursor(&cursor_text(7)), Some(7));
        for text in ["", "x", "c2V0dGluZ3M6", "7", &cursor_text(u64::MAX)] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
