//! Rows that this version cannot decode. An upgrade or a downgrade leaves such
//! rows; each is logged and left out, so that it stops nothing else.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, Row, params, types::ValueRef};

use crate::metrics::UNREADABLE_ROWS;

/// Maximum number of rows that are logged, once each; further ones are only counted.
/// Fixed: keeps a log from being flooded.
const TOLD_MAX: usize = 1_000;

static TOLD: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Returns whether the row, and not the file or the statement, is to blame.
pub(super) fn is_of_row(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Decodes one row; `None` if that is impossible. The first column names the row.
pub(super) fn lenient<T>(
    table: &str,
    row: &Row<'_>,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    match read(row) {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_of_row(&error) => {
            tell(table, &name(row), &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn name(row: &Row<'_>) -> String {
    match row.get_ref(0) {
        Ok(ValueRef::Integer(n)) => n.to_string(),
        Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        Ok(ValueRef::Blob(bytes)) => data_encoding::HEXLOWER.encode(bytes),
        _ => "?".to_owned(),
    }
}

/// Counts the row and logs it, once.
pub(super) fn tell(table: &str, row: &str, error: &rusqlite::Error) {
    UNREADABLE_ROWS.add(1);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let told = told.get_or_insert_default();
    if told.len() < TOLD_MAX && told.insert(format!("{table} {row}")) {
        tracing::error!(
            table,
            row,
            %error,
            "a row of the store cannot be read by this version and is skipped"
        );
    }
}

/// Lets a new run try all rows again: it may be a version that can decode them. Tasks
/// that wait for finished tasks are settled again, as that end may have been skipped.
pub(super) fn readmit(db: &Connection) {
    let readmitted = db
        .query_row("SELECT EXISTS (SELECT 1 FROM unreadable)", params![], |row| {
            row.get::<_, bool>(0)
        })
        .and_then(|any| match any {
            false => Ok(()),
            true => db.execute_batch(
                "BEGIN IMMEDIATE;
                 INSERT OR IGNORE INTO dependency_outbox
                     SELECT DISTINCT parent FROM dependencies WHERE child IN (SELECT seq FROM unreadable);
                 DELETE FROM unreadable;
                 COMMIT",
            ),
        });
    if let Err(error) = readmitted {
        if !db.is_autocommit() {
            let _ = db.execute_batch("ROLLBACK");
        }
        tracing::warn!(%error, "tasks that could not be read are still skipped");
    }
}
