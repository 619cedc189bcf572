//! A page: the entries of a walk that match, read from their bundles.

use deia_model::{AuditOrder, AuditRecord};
use deia_trail::{
    TrailReader,
    bundle::Bundle,
    details::Record,
    entry::Entry,
    names::Pseudonyms,
    tile::{TileId, TileKind},
};

use super::{
    AuditReadError,
    filter::{Matcher, Searched},
    record::{details_in, json_of, name_of, record},
    walk::{Candidates, Step, Walk},
};
use crate::audit::index::{BUNDLE, Found, Glance, bundle_of, entry_in};

/// Cost of reading a bundle: as much as looking at that many entries. Fixed: as measured.
const BUNDLE_COST: usize = 30;
/// Maximum number of damaged parts that a page names. Fixed: keeps messages readable.
const UNREADABLE_MAX: usize = 16;

/// The bounds of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Number of entries of the trail.
    pub(super) size: u64,
    /// Maximum number of records.
    pub(super) limit: usize,
    /// Bytes after which the page ends.
    pub(super) bytes: usize,
}

/// A page that was read.
#[derive(Debug, Default)]
pub(super) struct ReadPage {
    pub(super) items: Vec<AuditRecord>,
    /// The place where the next page begins.
    pub(super) next: Option<u64>,
    pub(super) unreadable: Vec<String>,
}

/// Reads a page.
pub(super) struct PageReader<'p> {
    trail: &'p TrailReader,
    names: &'p Pseudonyms,
    matcher: &'p Matcher<'p>,
    order: AuditOrder,
    bounds: Bounds,
    page: ReadPage,
    bytes: usize,
}

/// A bundle with its details, which are read when they are needed.
struct OpenBundle {
    index: u64,
    bundle: Bundle,
    details: Option<Vec<Record>>,
}

impl OpenBundle {
    fn details(&mut self, trail: &TrailReader) -> Result<&[Record], AuditReadError> {
        let records = match self.details.take() {
            Some(records) => records,
            None => trail.details_of_bundle(self.index)?,
        };
        Ok(self.details.insert(records))
    }
}

impl<'p> PageReader<'p> {
    pub(super) fn new(
        trail: &'p TrailReader,
        names: &'p Pseudonyms,
        matcher: &'p Matcher<'p>,
        order: AuditOrder,
        bounds: Bounds,
    ) -> Self {
        Self {
            trail,
            names,
            matcher,
            order,
            bounds,
            page: ReadPage::default(),
            bytes: 0,
        }
    }

    /// Reads the page of a walk.
    pub(super) fn read(mut self, mut walk: Walk<'_>) -> Result<ReadPage, AuditReadError> {
        loop {
            match walk.step()? {
                Step::End => break,
                Step::Pause(rest) => {
                    self.page.next = Some(match self.order {
                        AuditOrder::NewestFirst => rest.end,
                        AuditOrder::OldestFirst => rest.start,
                    });
                    break;
                }
                Step::Bundle(bundle, candidates) => {
                    walk.budget.spend(BUNDLE_COST);
                    let range = walk.range();
                    let candidates = match candidates {
                        Candidates::Some(entries) => entries,
                        Candidates::Whole => {
                            let all = (bundle * BUNDLE..(bundle + 1) * BUNDLE)
                                .filter(|index| range.contains(index));
                            match self.order {
                                AuditOrder::NewestFirst => all.rev().collect(),
                                AuditOrder::OldestFirst => all.collect(),
                            }
                        }
                    };
                    walk.budget.spend(candidates.len());
                    if self.look_at(bundle, &candidates)? {
                        break;
                    }
                    walk.leave(bundle);
                }
            }
        }
        Ok(self.page)
    }

    /// Looks at entries of a bundle. Returns true once the page is full.
    fn look_at(&mut self, index: u64, candidates: &[u64]) -> Result<bool, AuditReadError> {
        let bundle = match bundle_of(self.trail, index, self.bounds.size)? {
            Found::Bundle(bundle) => bundle,
            Found::Pruned { .. } => return Ok(false),
            Found::Damaged => {
                let id = TileId::full(TileKind::Entries, index);
                self.note_unreadable(id.to_string());
                return Ok(false);
            }
        };
        let mut open = OpenBundle {
            index,
            bundle,
            details: None,
        };
        for candidate in candidates {
            let Some(found) = self.find(*candidate, &mut open)? else {
                continue;
            };
            if self.page.items.len() == self.bounds.limit || self.bytes >= self.bounds.bytes {
                // There is another page.
                self.page.next = self.page.items.last().map(|last| match self.order {
                    AuditOrder::NewestFirst => last.index,
                    AuditOrder::OldestFirst => last.index + 1,
                });
                return Ok(true);
            }
            self.bytes += found.bytes;
            self.page.items.push(found.record);
        }
        Ok(false)
    }

    /// Returns the record of an entry if it matches.
    fn find(
        &mut self,
        index: u64,
        open: &mut OpenBundle,
    ) -> Result<Option<FoundRecord>, AuditReadError> {
        let Some(entry) = entry_in(&open.bundle, index) else {
            return Ok(None);
        };
        if self.matcher.rules_out(entry) {
            return Ok(None);
        }
        let bytes = entry.len();
        let Some(glance) = Glance::at(entry) else {
            self.note_unreadable(format!("entry {index}"));
            return Ok(None);
        };
        if !self.matcher.matches(index, &glance) {
            return Ok(None);
        }
        let has_details = glance.has_details();
        if self.matcher.searches() {
            let action = glance.action.into_owned();
            let actor = name_of(self.names, &glance.actor).to_owned();
            let target = name_of(self.names, &glance.target.id).to_owned();
            let mut searched = Searched {
                action: &action,
                actor: &actor,
                target: &target,
                details: None,
            };
            if has_details {
                let records = open.details(self.trail)?;
                searched.details = json_of(details_in(records, index));
            }
            if !self.matcher.finds_text(searched) {
                return Ok(None);
            }
        }
        let Some(entry) = entry_in(&open.bundle, index).and_then(|entry| Entry::parse(entry).ok())
        else {
            self.note_unreadable(format!("entry {index}"));
            return Ok(None);
        };
        let details = match has_details {
            true => details_in(open.details(self.trail)?, index),
            false => None,
        };
        Ok(Some(FoundRecord {
            bytes: bytes + json_of(details).map_or(0, <[u8]>::len),
            record: record(index, entry, details, self.names),
        }))
    }

    fn note_unreadable(&mut self, part: String) {
        let unreadable = &mut self.page.unreadable;
        if unreadable.len() < UNREADABLE_MAX {
            unreadable.push(part);
        }
    }
}

struct FoundRecord {
    record: AuditRecord,
    bytes: usize,
}
