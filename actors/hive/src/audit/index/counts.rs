//! Numbers of entries by hour.

use std::ops::Range;

use rusqlite::params;

use super::{IndexError, view::IndexView};

/// Numbers of entries of a class in a span of hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Number of the span, from 0.
    pub(crate) span: i64,
    pub(crate) class: i64,
    pub(crate) entries: u64,
}

impl IndexView<'_> {
    /// Returns the first and the last hour that have entries.
    pub(crate) fn hours(&self) -> Result<Option<(i64, i64)>, IndexError> {
        let (first, last): (Option<i64>, Option<i64>) = self
            .db
            .prepare_cached(
                "SELECT (SELECT min(hour) FROM hour_classes), (SELECT max(hour) FROM hour_classes)",
            )?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(first.zip(last))
    }

    /// Returns the numbers of entries of each class in spans of so many hours.
    pub(crate) fn counts(&self, hours: Range<i64>, span: i64) -> Result<Vec<Counted>, IndexError> {
        let found = self
            .db
            .prepare_cached(
                "SELECT (hour - ?1) / ?3 AS span, class, sum(n) FROM hour_classes
                 WHERE hour >= ?1 AND hour < ?2 GROUP BY span, class ORDER BY span, class",
            )?
            .query_map(params![hours.start, hours.end, span], |row| {
                Ok(Counted {
                    span: row.get(0)?,
                    class: row.get(1)?,
                    entries: row.get(2)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(found)
    }

    /// Returns the actors with the most entries, and their numbers.
    pub(crate) fn top_actors(
        &self,
        hours: Range<i64>,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, IndexError> {
        let found = self
            .db
            .prepare_cached(
                "SELECT name, entries FROM
                     (SELECT actor, sum(n) AS entries FROM hour_actors
                      WHERE hour >= ?1 AND hour < ?2
                      GROUP BY actor ORDER BY entries DESC, actor LIMIT ?3)
                 JOIN actors ON id = actor ORDER BY entries DESC, name",
            )?
            .query_map(params![hours.start, hours.end, limit], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(found)
    }
}
