//! The examination of a database file that no hive uses.

use std::path::Path;

use deia_model::Position;
use rusqlite::Connection;

use super::{connection::BUSY_TIMEOUT, meta::hive_id_of, open::OpenError, positions, schema};

/// Problems that are listed. Fixed: one is enough to refuse the file.
const PROBLEMS_MAX: usize = 20;

/// Result of an examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Id of the hive whose store it is.
    pub hive_id: String,
    /// Position of the newest event.
    pub head: Position,
    /// Reasons why the file is not sound; empty if it is.
    pub problems: Vec<String>,
}

/// Examines a database file: its structure, its schema and its counters.
///
/// # Errors
/// [`OpenError`]: the file cannot be opened, or is no store.
pub fn examine(path: &Path) -> Result<Examined, OpenError> {
    let file = |source| OpenError::of_file(path, source);
    let db = Connection::open(path).map_err(file)?;
    db.busy_timeout(BUSY_TIMEOUT).map_err(file)?;
    let problems = problems(&db).map_err(file)?;
    schema::verify(&db).map_err(|source| OpenError::of_schema(path, source))?;
    Ok(Examined {
        hive_id: hive_id_of(&db).map_err(file)?.unwrap_or_default(),
        head: positions::head(&db).map_err(file)?,
        problems,
    })
}

fn problems(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = format!("PRAGMA integrity_check({PROBLEMS_MAX})");
    let mut problems: Vec<String> = db
        .prepare(&sql)?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    problems.retain(|problem| problem != "ok");
    if !problems.is_empty() {
        return Ok(problems);
    }
    let counted: i64 = db.query_row(
        "SELECT count(*) FROM (
             SELECT type, priority, status, count(*) AS n FROM tasks GROUP BY 1, 2, 3
             EXCEPT SELECT type, priority, status, n FROM task_counts)",
        [],
        |row| row.get(0),
    )?;
    if counted > 0 {
        problems.push(format!("{counted} counters of tasks differ from the tasks"));
    }
    let (least, most, count): (Option<i64>, Option<i64>, i64) = db.query_row(
        "SELECT min(seq), max(seq), count(*) FROM events",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    if let (Some(least), Some(most)) = (least, most)
        && most - least + 1 != count
    {
        problems.push("the events have a gap".to_owned());
    }
    Ok(problems)
}
