//! Taking entries in.

use std::collections::HashMap;

use deia_model::Position;
use deia_trail::{
    TrailReader,
    bundle::Bundle,
    details::{Details, Record},
    hash,
};
use rusqlite::{Connection, params};

use super::{
    BUNDLE, Found, IndexError, bundle_of,
    dictionary::Dictionary,
    erasure,
    glance::{Glance, is_timing_only},
    schema::Meta,
    scope::Scope,
    summary::{Hours, Summary},
};

/// The entries of one transaction.
pub(super) struct Batch<'b> {
    db: &'b Connection,
    reader: &'b TrailReader,
    scope: &'b Scope,
    names: &'b mut Dictionary,
    hours: Hours,
    /// True for actions whose entries get a row.
    has_row: HashMap<String, bool>,
    erased: u64,
    timeline: Option<u64>,
}

/// Details of the entries of a bundle, read when the first entry needs them.
struct BundleDetails<'b> {
    reader: &'b TrailReader,
    bundle: u64,
    records: Option<Vec<Record>>,
}

impl<'b> Batch<'b> {
    pub(super) fn new(
        db: &'b Connection,
        reader: &'b TrailReader,
        scope: &'b Scope,
        names: &'b mut Dictionary,
    ) -> Self {
        Self {
            db,
            reader,
            scope,
            names,
            hours: Hours::default(),
            has_row: HashMap::new(),
            erased: 0,
            timeline: None,
        }
    }

    /// Returns the number of entries whose details were erased.
    pub(super) fn erased(&self) -> u64 {
        self.erased
    }

    /// Takes in the entries from the position up to `end`.
    pub(super) fn take(&mut self, meta: &mut Meta, end: u64, size: u64) -> Result<(), IndexError> {
        while meta.position < end {
            let index = meta.position / BUNDLE;
            let upto = end.min((index + 1) * BUNDLE);
            match bundle_of(self.reader, index, size)? {
                Found::Pruned { first } => {
                    meta.position = end.min(first * BUNDLE);
                    meta.last = None;
                }
                Found::Damaged => {
                    meta.unreadable += upto - meta.position;
                    meta.position = upto;
                    meta.last = None;
                }
                Found::Bundle(bundle) => self.take_bundle(meta, &bundle, index, upto)?,
            }
        }
        Ok(())
    }

    fn take_bundle(
        &mut self,
        meta: &mut Meta,
        bundle: &Bundle,
        number: u64,
        upto: u64,
    ) -> Result<(), IndexError> {
        let mut details = BundleDetails {
            reader: self.reader,
            bundle: number,
            records: None,
        };
        let mut summary = None;
        let from = usize::try_from(meta.position % BUNDLE).unwrap_or(0);
        let entries = (meta.position..upto).zip(bundle.iter().skip(from));
        let mut last = None;
        for (index, entry) in entries {
            last = Some(entry);
            let Some(glance) = Glance::at(entry) else {
                meta.unreadable += 1;
                continue;
            };
            if summary.is_none() {
                let first = Position {
                    timeline: glance.timeline,
                    seq: glance.seq,
                };
                summary = Some(Summary::of(self.db, number, first)?);
            }
            if let Some(summary) = &mut summary {
                self.take_entry(index, &glance, summary, &mut details)?;
            }
        }
        if let Some(summary) = summary {
            summary.write(self.db)?;
        }
        meta.position = upto;
        meta.last = last.map(|entry| hash::leaf(entry).to_vec());
        Ok(())
    }

    fn take_entry(
        &mut self,
        index: u64,
        glance: &Glance<'_>,
        summary: &mut Summary,
        details: &mut BundleDetails<'_>,
    ) -> Result<(), IndexError> {
        let at = glance.at.as_millis();
        let class = self
            .names
            .class(self.db, &glance.action, glance.level, glance.result)?;
        let actor = self.names.actor(self.db, &glance.actor)?;
        self.note_timeline(glance.timeline, index)?;
        summary.note_time(at);
        self.hours.count(at, class, actor);
        if self.has_row(&glance.action) {
            self.db
                .prepare_cached(
                    "INSERT OR REPLACE INTO entries (idx, at, class, actor, target_type, target)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    index,
                    at,
                    class,
                    actor,
                    glance.target.r#type,
                    glance.target.id
                ])?;
        } else {
            summary.note(glance, class, actor);
            if glance.has_details() && details.say_more(index)? {
                erasure::note(self.db, index, &glance.target)?;
            }
        }
        if erasure::erases(&glance.action) {
            self.erased += erasure::erase(self.db, self.reader, &glance.target, index)?;
        }
        Ok(())
    }

    fn has_row(&mut self, action: &str) -> bool {
        if let Some(has_row) = self.has_row.get(action) {
            return *has_row;
        }
        let has_row = self.scope.contains(action);
        self.has_row.insert(action.to_owned(), has_row);
        has_row
    }

    fn note_timeline(&mut self, timeline: u64, index: u64) -> rusqlite::Result<()> {
        if self.timeline != Some(timeline) {
            self.db
                .prepare_cached(
                    "INSERT OR IGNORE INTO timelines (timeline, first) VALUES (?1, ?2)",
                )?
                .execute([timeline, index])?;
            self.timeline = Some(timeline);
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        std::mem::take(&mut self.hours).write(self.db)
    }
}

impl BundleDetails<'_> {
    /// Returns whether the details of an entry are there and say more than times.
    fn say_more(&mut self, index: u64) -> Result<bool, IndexError> {
        if self.records.is_none() {
            self.records = Some(self.reader.details_of_bundle(self.bundle)?);
        }
        let records = self.records.as_deref().unwrap_or_default();
        let found = records.binary_search_by_key(&index, |record| record.index);
        Ok(found.is_ok_and(|at| match &records[at].details {
            Details::Kept { json, .. } => !is_timing_only(json),
            Details::Erased => false,
        }))
    }
}
