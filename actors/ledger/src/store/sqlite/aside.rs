//! Tasks whose rows cannot be decoded: they are set aside until the next start.

use deia_model::{Action, NewEvent, TargetType, TaskId};
use rusqlite::{OptionalExtension, Params, Row};
use serde_json::json;

use super::{
    rows,
    transaction::Tx,
    unreadable::{is_of_row, tell},
};

impl Tx<'_> {
    /// Returns a row of `tasks`, or sets the task aside if the row cannot be decoded:
    /// it is not read again until the next start.
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

    /// Like [`Tx::or_aside`], for a task that was looked up by its id.
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
        let details = json!({"what": "the stored task cannot be read and is skipped until the next start",
            "row": seq, "error": error.to_string()});
        let target_type = match id {
            Some(_) => TargetType::Task,
            None => TargetType::Row,
        };
        let event = NewEvent::new(Action::SystemError, "deia", target).target_type(target_type);
        self.log_event(&event.details(details).failure())
    }
}
