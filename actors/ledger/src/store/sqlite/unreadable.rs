//! Rows that this version cannot decode. An upgrade or a downgrade leaves such
//! rows; each is logged and left out, so that it stops nothing else.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use deia_model::{Action, NewEvent, TargetType, TaskId};
use rusqlite::{Connection, OptionalExtension, Params, Row, params, types::ValueRef};
use serde_json::json;

use super::{rows, transaction::Tx};
use crate::metrics::UNREADABLE_ROWS;

/// Maximum number of rows that are logged, once each; beyond, they are only counted.
const TOLD_MAX: usize = 1_000;

static TOLD: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Returns whether the row, and not the file or the statement, is to blame.
fn is_of_row(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Decodes one row; `None` if that cannot be done. The first column names the row.
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

fn tell(table: &str, row: &str, error: &rusqlite::Error) {
    UNREADABLE_ROWS.add(1);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let told = told.get_or_insert_default();
    if told.len() < TOLD_MAX && told.insert(format!("{table} {row}")) {
        tracing::error!(
            table,
            row,
            %error,
            "row of the store cannot be read by this version; it is left out"
        );
    }
}

impl Tx<'_> {
    /// Passes on a row of `tasks`, or sets the task aside when the row cannot be
    /// decoded: until the next start nothing comes across it again.
    pub(super) fn or_aside<T>(
        &mut self,
        seq: i64,
        row: rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        match row {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_of_row(&error) => {
                self.set_aside(seq, &error)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Tx::or_aside`], for a task that was looked for by its id.
    pub(super) fn found_or_aside<T>(
        &mut self,
        id: TaskId,
        row: rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        match row.optional() {
            Err(error) if is_of_row(&error) => {
                let seq = self
                    .db
                    .prepare_cached("SELECT seq FROM tasks WHERE id = ?1")?
                    .query_row([id.as_bytes()], |row| row.get(0))?;
                self.or_aside(seq, Err(error))
            }
            found => found,
        }
    }

    /// Reads rows of `tasks` that begin with `seq`, and sets aside those that cannot
    /// be decoded.
    pub(super) fn read_tasks<T>(
        &mut self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut statement = self.db.prepare_cached(sql)?;
        let rows: Vec<(i64, rusqlite::Result<T>)> = statement
            .query_map(params, |row| Ok((row.get(0)?, read(row))))?
            .collect::<rusqlite::Result<_>>()?;
        let mut readable = Vec::with_capacity(rows.len());
        for (seq, row) in rows {
            readable.extend(self.or_aside(seq, row)?);
        }
        Ok(readable)
    }

    fn set_aside(&mut self, seq: i64, error: &rusqlite::Error) -> rusqlite::Result<()> {
        let new = self
            .db
            .prepare_cached("INSERT OR IGNORE INTO unreadable (seq) VALUES (?1)")?
            .execute([seq])?;
        if new == 0 {
            return Ok(());
        }
        tell("tasks", &seq.to_string(), error);
        let id: Option<TaskId> = self
            .db
            .prepare_cached("SELECT id FROM tasks WHERE seq = ?1")?
            .query_row([seq], |row| rows::task_id(row, 0))
            .ok();
        let target = id.map_or_else(|| format!("task {seq}"), |id| id.to_string());
        let details = json!({"what": "the stored task cannot be read; it is left out until the next start",
            "row": seq, "error": error.to_string()});
        let target_type = match id {
            Some(_) => TargetType::Task,
            None => TargetType::Row,
        };
        let event = NewEvent::new(Action::SystemError, "deia", target).target_type(target_type);
        self.log_event(&event.details(details).failure())
    }
}

/// Lets a new run try all rows again: it may be of a version that can read them. Tasks
/// that wait for ended tasks are settled again, as that end may have been passed over.
pub(super) fn readmit(db: &Connection) {
    let readmitted = db
        .query_row("SELECT EXISTS (SELECT 1 FROM unreadable)", params![], |row| {
            row.get::<_, bool>(0)
        })
        .and_then(|any| match any {
            false => Ok(()),
            true => db.execute_batch(
                "BEGIN IMMEDIATE;
                 INSERT OR IGNORE INTO settled
                     SELECT DISTINCT parent FROM dependencies WHERE child IN (SELECT seq FROM unreadable);
                 DELETE FROM unreadable;
                 COMMIT",
            ),
        });
    if let Err(error) = readmitted {
        if !db.is_autocommit() {
            let _ = db.execute_batch("ROLLBACK");
        }
        tracing::warn!(%error, "tasks that could not be read stay left out");
    }
}
