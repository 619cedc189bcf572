//! The numbers that the index has in place of names.

use std::collections::HashMap;

use deia_model::{EventLevel, EventResult};
use rusqlite::{Connection, OptionalExtension, params};

/// Maximum number of names that are remembered: with more, some are read again. Fixed: a
/// table of fixed size, so that callers cannot make it grow.
const NAMES_MAX: usize = 65_536;

const LEVELS: [EventLevel; 3] = [EventLevel::Info, EventLevel::Warning, EventLevel::Critical];
const RESULTS: [EventResult; 3] = [
    EventResult::Success,
    EventResult::Failure,
    EventResult::Partial,
];

/// Traits that entries of one class have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) id: i64,
    pub(crate) action: String,
    pub(crate) level: EventLevel,
    pub(crate) result: EventResult,
}

/// Returns the number that stands for a level in the file.
pub(super) fn level_number(level: EventLevel) -> usize {
    LEVELS.iter().position(|one| *one == level).unwrap_or(0)
}

/// Returns the number that stands for a result in the file.
pub(super) fn result_number(result: EventResult) -> usize {
    RESULTS.iter().position(|one| *one == result).unwrap_or(0)
}

/// Returns all classes that the index has.
pub(super) fn classes(db: &Connection) -> rusqlite::Result<Vec<Class>> {
    db.prepare_cached("SELECT id, action, level, result FROM classes")?
        .query_map([], |row| {
            Ok(Class {
                id: row.get(0)?,
                action: row.get(1)?,
                level: LEVELS[row.get::<_, usize>(2)?.min(2)],
                result: RESULTS[row.get::<_, usize>(3)?.min(2)],
            })
        })?
        .collect()
}

/// Returns the number of an actor, if the index has it.
pub(super) fn actor(db: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM actors WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Gives names their numbers, and remembers them.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    actors: HashMap<String, i64>,
    /// By action, level and result.
    classes: HashMap<String, [[Option<i64>; 3]; 3]>,
}

impl Dictionary {
    /// Forgets what was not committed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn actor(&mut self, db: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.actors.get(name) {
            return Ok(*id);
        }
        let id = match actor(db, name)? {
            Some(id) => id,
            None => db
                .prepare_cached("INSERT INTO actors (name) VALUES (?1)")?
                .insert([name])?,
        };
        if self.actors.len() >= NAMES_MAX {
            self.actors.clear();
        }
        self.actors.insert(name.to_owned(), id);
        Ok(id)
    }

    pub(super) fn class(
        &mut self,
        db: &Connection,
        action: &str,
        level: EventLevel,
        result: EventResult,
    ) -> rusqlite::Result<i64> {
        let (level, result) = (level_number(level), result_number(result));
        let known = self.classes.get(action);
        if let Some(id) = known.and_then(|known| known[level][result]) {
            return Ok(id);
        }
        let found = db
            .prepare_cached(
                "SELECT id FROM classes WHERE action = ?1 AND level = ?2 AND result = ?3",
            )?
            .query_row(params![action, level, result], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => db
                .prepare_cached("INSERT INTO classes (action, level, result) VALUES (?1, ?2, ?3)")?
                .insert(params![action, level, result])?,
        };
        if self.classes.len() >= NAMES_MAX {
            self.classes.clear();
        }
        self.classes.entry(action.to_owned()).or_default()[level][result] = Some(id);
        Ok(id)
    }
}
