//! Summaries of bundles and hours.

use std::collections::{BTreeMap, BTreeSet};

use deia_model::Position;
use rusqlite::{Connection, OptionalExtension, params};

use super::{glance::Glance, sketch::Sketch};

/// Milliseconds of an hour. Fact: the definition of the unit.
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// The summary of a bundle.
#[derive(Debug)]
pub(super) struct Summary {
    bundle: u64,
    first_at: i64,
    last_at: i64,
    /// The latest time of the bundles before.
    peak_before: i64,
    first: Position,
    class_bits: i64,
    targets: Sketch,
    /// New entries without a row.
    classes: BTreeMap<i64, u64>,
    actors: BTreeSet<i64>,
    is_new: bool,
}

impl Summary {
    /// Continues the summary of a bundle, or begins it with the position of its first entry.
    pub(super) fn of(db: &Connection, bundle: u64, first: Position) -> rusqlite::Result<Self> {
        let peak_before = db
            .prepare_cached(
                "SELECT peak FROM bundles WHERE bundle < ?1 ORDER BY bundle DESC LIMIT 1",
            )?
            .query_row([bundle], |row| row.get(0))
            .optional()?;
        let mut summary = Self {
            bundle,
            first_at: i64::MAX,
            last_at: i64::MIN,
            peak_before: peak_before.unwrap_or(i64::MIN),
            first,
            class_bits: 0,
            targets: Sketch::new(),
            classes: BTreeMap::new(),
            actors: BTreeSet::new(),
            is_new: true,
        };
        summary.read(db)?;
        Ok(summary)
    }

    fn read(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut statement = db.prepare_cached(
            "SELECT first_at, last_at, timeline, seq, classes, sketch
             FROM bundles LEFT JOIN bundle_targets USING (bundle) WHERE bundle = ?1",
        )?;
        let mut rows = statement.query([self.bundle])?;
        if let Some(row) = rows.next()? {
            self.first_at = row.get(0)?;
            self.last_at = row.get(1)?;
            self.first = Position {
                timeline: row.get(2)?,
                seq: row.get(3)?,
            };
            self.class_bits = row.get(4)?;
            if let Some(sketch) = row.get_ref(5)?.as_blob_or_null()? {
                self.targets = Sketch::read(sketch);
            }
            self.is_new = false;
        }
        Ok(())
    }

    /// Notes an entry, with or without a row.
    pub(super) fn note_time(&mut self, at: i64) {
        self.first_at = self.first_at.min(at);
        self.last_at = self.last_at.max(at);
    }

    /// Notes an entry without a row.
    pub(super) fn note(&mut self, glance: &Glance<'_>, class: i64, actor: i64) {
        *self.classes.entry(class).or_default() += 1;
        self.actors.insert(actor);
        self.class_bits |= class_bit(class);
        self.targets.add(&glance.target.id);
    }

    /// Writes the summary.
    pub(super) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached(
            "INSERT OR REPLACE INTO bundles
                 (bundle, first_at, last_at, peak, is_back, timeline, seq, classes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            self.bundle,
            self.first_at,
            self.last_at,
            self.last_at.max(self.peak_before),
            self.first_at < self.peak_before,
            self.first.timeline,
            self.first.seq,
            self.class_bits,
        ])?;
        if !self.targets.is_empty() {
            db.prepare_cached(
                "INSERT OR REPLACE INTO bundle_targets (bundle, sketch) VALUES (?1, ?2)",
            )?
            .execute(params![self.bundle, self.targets.bytes()])?;
        }
        let mut add = db.prepare_cached(
            "INSERT INTO bundle_classes (class, bundle, n) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )?;
        for (class, n) in &self.classes {
            add.execute(params![class, self.bundle, n])?;
        }
        let mut add = db.prepare_cached(
            "INSERT OR IGNORE INTO bundle_actors (actor, bundle) VALUES (?1, ?2)",
        )?;
        for actor in &self.actors {
            add.execute(params![actor, self.bundle])?;
        }
        Ok(())
    }
}

/// Returns the bit that stands for a class in the summary of a bundle. Some classes share one.
pub(super) fn class_bit(class: i64) -> i64 {
    1 << class.rem_euclid(64)
}

/// Numbers of entries by hour that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Hours {
    classes: BTreeMap<(i64, i64), u64>,
    actors: BTreeMap<(i64, i64), u64>,
}

impl Hours {
    pub(super) fn count(&mut self, at: i64, class: i64, actor: i64) {
        let hour = at.div_euclid(HOUR_MS);
        *self.classes.entry((hour, class)).or_default() += 1;
        *self.actors.entry((hour, actor)).or_default() += 1;
    }

    pub(super) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        let mut add = db.prepare_cached(
            "INSERT INTO hour_classes (hour, class, n) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )?;
        for ((hour, class), n) in &self.classes {
            add.execute(params![hour, class, n])?;
        }
        let mut add = db.prepare_cached(
            "INSERT INTO hour_actors (hour, actor, n) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )?;
        for ((hour, actor), n) in &self.actors {
            add.execute(params![hour, actor, n])?;
        }
        Ok(())
    }
}
