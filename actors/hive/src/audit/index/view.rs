//! One state of the index: rows, bundles, and the ranges that they are in.

use std::ops::Range;

use deia_model::{AuditOrder, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, types::Value};

use super::{
    BUNDLE, IndexError,
    dictionary::{self, Class},
    schema::Meta,
    sketch::Probe,
    summary::class_bit,
};

/// One state of the index.
pub(crate) struct IndexView<'c> {
    pub(super) db: &'c Connection,
    meta: Meta,
}

/// The key by which rows are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryKey {
    Target(String),
    Actor(i64),
    Class(i64),
    All,
}

/// An entry that has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryRow {
    pub(crate) index: u64,
    pub(crate) at: i64,
    pub(crate) class: i64,
}

/// The key by which bundles with entries without a row are found.
#[derive(Clone, Debug)]
pub(crate) enum BundleKey {
    /// Bundles that may have an entry about one of the targets.
    Targets(Vec<Probe>),
    Actor(i64),
    Class(i64),
    All,
}

/// A bundle with entries without a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BundleRow {
    pub(crate) bundle: u64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    classes: i64,
}

impl BundleRow {
    /// Returns whether the bundle may have entries without a row of one of the classes.
    pub(crate) fn may_have(&self, classes: &[i64]) -> bool {
        classes
            .iter()
            .any(|class| self.classes & class_bit(*class) != 0)
    }
}

/// A part of a scan.
#[derive(Debug)]
pub(crate) struct Scanned<T> {
    pub(crate) found: Vec<T>,
    /// Number of rows that were looked at.
    pub(crate) examined: usize,
    /// The range that is left.
    pub(crate) rest: Range<u64>,
}

impl<'c> IndexView<'c> {
    pub(super) fn new(db: &'c Connection, meta: Meta) -> Self {
        Self { db, meta }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.meta.origin
    }

    /// Returns the number of entries that the index has.
    pub(crate) fn position(&self) -> u64 {
        self.meta.position
    }

    pub(crate) fn classes(&self) -> Result<Vec<Class>, IndexError> {
        Ok(dictionary::classes(self.db)?)
    }

    pub(crate) fn actor(&self, name: &str) -> Result<Option<i64>, IndexError> {
        Ok(dictionary::actor(self.db, name)?)
    }

    /// Returns whether there are entries of the class without a row.
    pub(crate) fn is_in_bundles(&self, class: i64) -> Result<bool, IndexError> {
        let found = self
            .db
            .prepare_cached("SELECT 1 FROM bundle_classes WHERE class = ?1 LIMIT 1")?
            .exists([class])?;
        Ok(found)
    }

    /// Returns rows in that range of entries.
    pub(crate) fn entries(
        &self,
        key: &EntryKey,
        range: Range<u64>,
        order: AuditOrder,
        limit: usize,
    ) -> Result<Scanned<EntryRow>, IndexError> {
        let value = match key {
            EntryKey::Target(id) => Value::from(id.clone()),
            EntryKey::Actor(id) | EntryKey::Class(id) => Value::from(*id),
            EntryKey::All => Value::Null,
        };
        let scan = Scan {
            sql: &entries_sql(key, order),
            order,
            range,
            limit,
        };
        scan.run(self.db, &value, |row| {
            let index = row.get(0)?;
            let row = EntryRow {
                index,
                at: row.get(1)?,
                class: row.get(2)?,
            };
            Ok((index, Some(row)))
        })
    }

    /// Returns bundles in that range that may have entries without a row.
    pub(crate) fn bundles(
        &self,
        key: &BundleKey,
        range: Range<u64>,
        order: AuditOrder,
        limit: usize,
    ) -> Result<Scanned<BundleRow>, IndexError> {
        let value = match key {
            BundleKey::Actor(id) | BundleKey::Class(id) => Value::from(*id),
            BundleKey::Targets(_) | BundleKey::All => Value::Null,
        };
        let scan = Scan {
            sql: &bundles_sql(key, order),
            order,
            range,
            limit,
        };
        scan.run(self.db, &value, |row| {
            let bundle = row.get(0)?;
            if let BundleKey::Targets(probes) = key {
                let sketch = row.get_ref(4)?.as_blob()?;
                if !probes.iter().any(|probe| probe.may_be_in(sketch)) {
                    return Ok((bundle, None));
                }
            }
            let row = BundleRow {
                bundle,
                first_at: row.get(1)?,
                last_at: row.get(2)?,
                classes: row.get(3)?,
            };
            Ok((bundle, Some(row)))
        })
    }

    /// Returns the range of entries outside which none was recorded in that time. Times follow
    /// the order of entries, except where a clock was set back.
    pub(crate) fn recorded(
        &self,
        after: Option<Timestamp>,
        before: Option<Timestamp>,
    ) -> Result<Range<u64>, IndexError> {
        let reached = |at: Timestamp| {
            self.bundle(
                "SELECT bundle FROM bundles WHERE peak >= ?1 ORDER BY peak, bundle LIMIT 1",
                params![at.as_millis()],
            )
        };
        let from = match after {
            None => 0,
            // No bundle before has a time as late.
            Some(after) => match reached(after)? {
                Some(bundle) => bundle * BUNDLE,
                None => return Ok(0..0),
            },
        };
        let to = match before {
            None => self.position(),
            Some(before) => match reached(before)? {
                None => self.position(),
                Some(bundle) => {
                    let back = self.bundle(
                        "SELECT max(bundle) FROM bundles WHERE is_back = 1 AND first_at < ?1",
                        params![before.as_millis()],
                    )?;
                    (back.unwrap_or(0).max(bundle) + 1) * BUNDLE
                }
            },
        };
        Ok(from..to.min(self.position()))
    }

    /// Returns the range of entries outside which none has a sequence number between these.
    pub(crate) fn numbered(&self, min: u64, max: u64) -> Result<Range<u64>, IndexError> {
        let timelines: Vec<(u64, u64)> = self
            .db
            .prepare_cached("SELECT timeline, first FROM timelines ORDER BY first")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let mut found: Option<Range<u64>> = None;
        for (i, (timeline, first)) in timelines.iter().enumerate() {
            let end = timelines.get(i + 1).map_or(self.position(), |next| next.1);
            // Within a timeline numbers rise. Its first entries are in a bundle that may begin
            // with another.
            let from = self.bundle(
                "SELECT bundle FROM bundles WHERE timeline = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1",
                params![timeline, capped(min)],
            )?;
            let to = self.bundle(
                "SELECT bundle FROM bundles WHERE timeline = ?1 AND seq > ?2 ORDER BY seq LIMIT 1",
                params![timeline, capped(max)],
            )?;
            let from = from.map_or(*first, |bundle| (bundle * BUNDLE).max(*first));
            let to = to.map_or(end, |bundle| (bundle * BUNDLE).min(end));
            if from < to {
                let hull = found.get_or_insert(from..to);
                *hull = hull.start.min(from)..hull.end.max(to);
            }
        }
        Ok(found.unwrap_or(0..0))
    }

    fn bundle(&self, sql: &str, values: &[&dyn ToSql]) -> Result<Option<u64>, IndexError> {
        let found = self
            .db
            .prepare_cached(sql)?
            .query_row(values, |row| row.get::<_, Option<u64>>(0))
            .optional()?;
        Ok(found.flatten())
    }
}

/// Returns the statement for rows, with the key, the range and the limit as its values.
pub(super) fn entries_sql(key: &EntryKey, order: AuditOrder) -> String {
    let condition = match key {
        EntryKey::Target(_) => "target = ?1",
        EntryKey::Actor(_) => "actor = ?1",
        EntryKey::Class(_) => "class = ?1",
        EntryKey::All => "?1 IS NULL",
    };
    format!(
        "SELECT idx, at, class FROM entries
         WHERE {condition} AND idx >= ?2 AND idx < ?3 ORDER BY idx {} LIMIT ?4",
        direction(order)
    )
}

/// Returns the statement for bundles, with the same values.
pub(super) fn bundles_sql(key: &BundleKey, order: AuditOrder) -> String {
    let (table, condition) = match key {
        // Each bundle with entries without a row has a sketch.
        BundleKey::Targets(_) | BundleKey::All => ("bundle_targets", "?1 IS NULL"),
        BundleKey::Actor(_) => ("bundle_actors", "x.actor = ?1"),
        BundleKey::Class(_) => ("bundle_classes", "x.class = ?1"),
    };
    let sketch = match key {
        BundleKey::Targets(_) => "x.sketch",
        _ => "NULL",
    };
    format!(
        "SELECT x.bundle, first_at, last_at, classes, {sketch}
         FROM {table} AS x CROSS JOIN bundles AS b ON b.bundle = x.bundle
         WHERE {condition} AND x.bundle >= ?2 AND x.bundle < ?3 ORDER BY x.bundle {} LIMIT ?4",
        direction(order)
    )
}

fn direction(order: AuditOrder) -> &'static str {
    match order {
        AuditOrder::NewestFirst => "DESC",
        AuditOrder::OldestFirst => "ASC",
    }
}

/// Returns a number that SQLite can compare.
fn capped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A scan of the rows of a range, a part at a time.
struct Scan<'s> {
    sql: &'s str,
    order: AuditOrder,
    range: Range<u64>,
    limit: usize,
}

impl Scan<'_> {
    /// Runs one part. `read` returns the place of a row in the range, and the row if it counts.
    fn run<T>(
        self,
        db: &Connection,
        value: &Value,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<(u64, Option<T>)>,
    ) -> Result<Scanned<T>, IndexError> {
        let mut scanned = Scanned {
            found: Vec::new(),
            examined: 0,
            rest: self.range.clone(),
        };
        let (from, to) = (capped(self.range.start), capped(self.range.end));
        let mut statement = db.prepare_cached(self.sql)?;
        let mut rows = statement.query(params![value, from, to, self.limit])?;
        while let Some(row) = rows.next()? {
            let (place, found) = read(row)?;
            scanned.examined += 1;
            scanned.found.extend(found);
            scanned.rest = match self.order {
                AuditOrder::NewestFirst => self.range.start..place,
                AuditOrder::OldestFirst => place + 1..self.range.end,
            };
        }
        if scanned.examined < self.limit {
            scanned.rest = self.range.end..self.range.end;
        }
        Ok(scanned)
    }
}
