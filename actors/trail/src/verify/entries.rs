//! The check of one bundle: a function of its files, so that bundles are checked side by side.

use std::ops::Range;

use deia_model::Position;

use super::{
    details::{BadSegment, Records, Segment, name_of},
    files::{Files, Unreadable},
    report::{Fault, FaultKind},
    scan::{HASH_DIGITS, commitment_in, read, scan},
    survey::Ranges,
    tiles::{self, Damage, fold},
};
use crate::{
    bundle::entry_at,
    details::BUNDLES,
    hash::{Hash, leaf},
    reader::hashes,
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// Action of the first entry of a log that follows another one.
const BEGAN: &[u8] = b"audit.began";
/// Action of an entry that records the removal of entries by retention.
const PRUNED: &[u8] = b"audit.pruned";
/// Actions of entries that record the erasure of details.
const ERASURES: [&[u8]; 2] = [b"task.erased", b"audit.erased"];

/// The properties of a trail that the check of a bundle depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub(super) size: u64,
    pub(super) bundles: &'a Ranges,
    pub(super) checks_details: bool,
}

/// A record in an entry that later or earlier faults depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// The details of an entry are erased.
    Erased {
        entry: u64,
        event: Position,
        target: Target,
    },
    /// Somebody erased details of this target.
    Erasure(Target),
    /// Retention removed the entries before this one.
    Pruned(u64),
}

/// Type and id of a target.
pub(super) type Target = (String, String);

/// Something that is not as it should be in a bundle or its tile.
#[derive(Debug)]
pub(super) struct Odd {
    /// Hashes of the entries, and the positions of their events.
    pub(super) leaves: Vec<Hash>,
    pub(super) events: Vec<Option<Position>>,
    /// Fault of the bundle.
    pub(super) bundle: Option<BadBundle>,
}

/// Reason why a bundle has no entries, or not all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadBundle {
    /// The survey tells of it.
    Missing,
    Unreadable(Damage),
    /// The lengths of entries do not add up.
    Torn,
    /// It has this number of entries.
    Count(usize),
}

/// Result of the check of one bundle.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) bundle: u64,
    /// The file of the entries.
    pub(super) id: TileId,
    pub(super) entries: u64,
    pub(super) tiles: u64,
    pub(super) details: u64,
    /// Root of the tile; `None` for the last, incomplete one.
    pub(super) root: Option<Hash>,
    /// Set if the entries are not those of the tile.
    pub(super) odd: Option<Box<Odd>>,
    pub(super) first: Option<Position>,
    pub(super) last: Option<Position>,
    /// True if the log follows another one: numbers may begin anew behind its first entry.
    begins: bool,
    /// Faults of single entries and their details.
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<String>,
    pub(super) noted: Vec<Noted>,
    /// The first entry whose details are in a file that cannot be read.
    pub(super) without_details: Option<(u64, BadSegment)>,
}

impl Outcome {
    fn new(bundle: u64, id: TileId) -> Self {
        Self {
            bundle,
            id,
            entries: 0,
            tiles: 0,
            details: 0,
            root: None,
            odd: None,
            first: None,
            last: None,
            begins: false,
            faults: Vec::new(),
            notes: Vec::new(),
            noted: Vec::new(),
            without_details: None,
        }
    }

    fn fault(&mut self, fault: Fault, index: u64, event: Option<Position>) {
        let file = self.id.to_string();
        let fault = Fault { file, ..fault };
        self.faults.push(fault.at_entry(index, event));
    }
}

/// Checks bundles, with memory that it uses again.
#[derive(Debug)]
pub(super) struct Checker {
    files: Files,
    bundle: Vec<u8>,
    tile: Vec<u8>,
    leaves: Vec<Hash>,
    events: Vec<Option<Position>>,
    committed: Vec<Committed>,
    segment: Option<(u64, Result<Segment, BadSegment>)>,
}

/// An entry that has a hash of details.
#[derive(Debug)]
struct Committed {
    entry: u64,
    event: Position,
    /// Place of the entry in the bytes of its bundle.
    bytes: Range<usize>,
    /// Offset of the hash in the entry.
    hash: usize,
}

impl Checker {
    pub(super) fn new(files: Files) -> Self {
        Self {
            files,
            bundle: Vec::new(),
            tile: Vec::new(),
            leaves: Vec::with_capacity(TILE_WIDTH),
            events: Vec::with_capacity(TILE_WIDTH),
            committed: Vec::new(),
            segment: None,
        }
    }

    /// Checks a bundle and its tile; `None` if the tree does not have them.
    pub(super) fn check(&mut self, plan: &Plan<'_>, bundle: u64) -> Option<Outcome> {
        let entries = TileId::in_tree(TileKind::Entries, bundle, plan.size)?;
        let tile = TileId::in_tree(TileKind::Hashes(0), bundle, plan.size)?;
        let mut outcome = Outcome::new(bundle, entries);
        self.leaves.clear();
        self.events.clear();
        self.committed.clear();
        let bad_bundle = match plan.bundles.contains(bundle) {
            true => self.entries(entries, &mut outcome),
            false => Some(BadBundle::Missing),
        };
        let tile_read = tiles::read(&self.files, tile, &mut self.tile);
        outcome.tiles = u64::from(tile_read.is_ok());
        let is_same = bad_bundle.is_none()
            && tile_read.is_ok()
            && self.leaves.as_flattened() == self.tile.as_slice();
        if plan.checks_details && bad_bundle.is_none() {
            self.details(plan, &mut outcome);
        }
        if !tile.is_partial() {
            outcome.root = match bad_bundle {
                None => fold(&self.leaves),
                Some(_) => tile_read
                    .is_ok()
                    .then(|| fold(&hashes(&self.tile)))
                    .flatten(),
            };
        }
        if !is_same {
            outcome.odd = Some(Box::new(Odd {
                leaves: self.leaves.clone(),
                events: self.events.clone(),
                bundle: bad_bundle,
            }));
        }
        Some(outcome)
    }

    /// Reads a bundle, and hashes and checks its entries.
    fn entries(&mut self, id: TileId, outcome: &mut Outcome) -> Option<BadBundle> {
        if let Err(damage) = tiles::read(&self.files, id, &mut self.bundle) {
            return Some(match damage {
                Damage::Unreadable(Unreadable::Missing) => BadBundle::Missing,
                damage => BadBundle::Unreadable(damage),
            });
        }
        let bytes = std::mem::take(&mut self.bundle);
        let first = outcome.bundle * TILE_WIDTH as u64;
        let mut at = 0;
        while let Some(range) = entry_at(&bytes, at) {
            if self.leaves.len() == TILE_WIDTH {
                break;
            }
            at = range.end;
            let index = first + self.leaves.len() as u64;
            self.leaves.push(leaf(&bytes[range.clone()]));
            let event = self.entry(index, &bytes, range, outcome);
            self.events.push(event);
        }
        outcome.entries = self.leaves.len() as u64;
        let bad = match (at == bytes.len(), self.leaves.len()) {
            (true, count) if count == id.width() => None,
            (true, count) => Some(BadBundle::Count(count)),
            (false, TILE_WIDTH) => Some(BadBundle::Count(TILE_WIDTH + 1)),
            (false, _) => Some(BadBundle::Torn),
        };
        self.bundle = bytes;
        bad
    }

    /// Checks an entry. Returns the position of its event, if it can be read.
    #[inline]
    fn entry(
        &mut self,
        index: u64,
        bytes: &[u8],
        range: Range<usize>,
        outcome: &mut Outcome,
    ) -> Option<Position> {
        let entry = &bytes[range.clone()];
        let parsed;
        let (action, event, hash) = match scan(entry) {
            Some(scanned) => (scanned.action, scanned.position, scanned.commitment),
            None => match read(entry) {
                Ok(read) => {
                    parsed = read;
                    let hash = commitment_in(entry, &parsed);
                    (parsed.action.as_bytes(), parsed.position(), hash)
                }
                Err(reason) => {
                    outcome.fault(Fault::new(FaultKind::Entry, "", reason), index, None);
                    outcome.last = None;
                    return None;
                }
            },
        };
        if self.events.is_empty() {
            outcome.first = Some(event);
        }
        let begins = action == BEGAN && index == 0;
        if let Some(last) = outcome.last
            && let Some(fault) = follows(last, event, outcome.begins && index == 1)
        {
            outcome.fault(fault, index, Some(event));
        }
        outcome.begins |= begins;
        outcome.last = Some(event);
        if let Some(hash) = hash {
            self.committed.push(Committed {
                entry: index,
                event,
                bytes: range,
                hash,
            });
        }
        if action == PRUNED || ERASURES.contains(&action) {
            outcome.noted.extend(record(entry));
        }
        Some(event)
    }

    /// Checks the details of the entries of the bundle.
    fn details(&mut self, plan: &Plan<'_>, outcome: &mut Outcome) {
        let number = outcome.bundle / BUNDLES as u64;
        if self
            .segment
            .as_ref()
            .is_none_or(|(open, _)| *open != number)
        {
            self.segment = Some((number, Segment::open(&self.files, number)));
        }
        let Some((_, segment)) = &mut self.segment else {
            return;
        };
        match segment {
            Ok(segment) => {
                let mut check = RecordsCheck {
                    size: plan.size,
                    file: name_of(number),
                    bundle: &self.bundle,
                    outcome,
                };
                check.run(&self.committed, segment.records(check.outcome.bundle));
            }
            Err(reason) => {
                let first = self.committed.first();
                // Without a file no entry has details.
                outcome.without_details = first.map(|first| (first.entry, reason.clone()));
            }
        }
    }
}

/// Returns the fault of an entry behind another one, if there is one.
pub(super) fn follows(last: Position, next: Position, begins: bool) -> Option<Fault> {
    if next <= last {
        let reason = format!("event {next} is not behind event {last}, which precedes it");
        return Some(Fault::new(FaultKind::Order, "", reason));
    }
    let is_next = last.seq.checked_add(1) == Some(next.seq);
    if next.timeline == last.timeline && !is_next && !begins {
        let reason = format!("the events between {last} and {next} are missing");
        return Some(Fault::new(FaultKind::Gap, "", reason));
    }
    None
}

/// Returns the record in an entry about erasure or retention.
fn record(entry: &[u8]) -> Option<Noted> {
    let entry = read(entry).ok()?;
    if entry.action.as_bytes() != PRUNED {
        return Some(Noted::Erasure((entry.target.r#type, entry.target.id)));
    }
    let end = entry.target.id.strip_prefix("0-")?.parse().ok()?;
    (entry.target.r#type == "audit_entries").then_some(Noted::Pruned(end))
}

/// The check of the details of one bundle.
struct RecordsCheck<'a> {
    size: u64,
    file: String,
    bundle: &'a [u8],
    outcome: &'a mut Outcome,
}

impl RecordsCheck<'_> {
    fn run(&mut self, committed: &[Committed], mut records: Records<'_>) {
        let first = self.outcome.bundle * TILE_WIDTH as u64;
        let after = (first + TILE_WIDTH as u64).min(self.size);
        let mut expected = committed.iter().peekable();
        let mut last = None;
        loop {
            let record = match records.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(none) => {
                    // Behind the last entry it may belong to one beyond the checkpoint.
                    if after < self.size || expected.peek().is_some() {
                        let reason = format!("there is no record at byte {}", none.offset);
                        let next = expected.peek().map(|next| (next.entry, Some(next.event)));
                        let (entry, event) = next.unwrap_or((after - 1, None));
                        self.fault(FaultKind::DetailsAltered, entry, event, &reason);
                    } else {
                        let (file, offset) = (&self.file, none.offset);
                        self.outcome.notes.push(format!(
                            "{file} has no records of the checkpoint from byte {offset} on"
                        ));
                    }
                    return;
                }
            };
            let index = record.index;
            if after == self.size && index >= self.size {
                break;
            }
            if index < first || index >= after || last.is_some_and(|last| index <= last) {
                let reason = "the record is not in the order of entries";
                self.fault(FaultKind::DetailsAltered, index, None, reason);
                return;
            }
            last = Some(index);
            while let Some(missed) = expected.next_if(|next| next.entry < index) {
                self.missing(missed);
            }
            match expected.next_if(|next| next.entry == index) {
                None => {
                    let reason = "there are details, of which the entry has no hash";
                    self.fault(FaultKind::DetailsAltered, index, None, reason);
                }
                Some(entry) if record.is_erased => {
                    if !record.is_zeroed() {
                        let reason = "the details are marked as erased and were not";
                        self.fault(FaultKind::DetailsAltered, index, Some(entry.event), reason);
                    }
                    self.erased(entry);
                }
                Some(entry) => {
                    let mut digits = [0; HASH_DIGITS];
                    data_encoding::HEXLOWER.encode_mut(&record.commitment(), &mut digits);
                    if self.hash_of(entry) != Some(&digits) {
                        let reason = "the details do not have the hash that the entry has of them";
                        self.fault(FaultKind::DetailsAltered, index, Some(entry.event), reason);
                    }
                }
            }
            self.outcome.details += 1;
        }
        for missed in expected {
            self.missing(missed);
        }
    }

    /// Returns the hash that an entry has of its details.
    fn hash_of(&self, entry: &Committed) -> Option<&[u8; HASH_DIGITS]> {
        let bytes = self.bundle.get(entry.bytes.clone())?;
        bytes.get(entry.hash..)?.first_chunk()
    }

    fn missing(&mut self, entry: &Committed) {
        let reason = "the details are missing, of which the entry has the hash";
        self.fault(
            FaultKind::DetailsMissing,
            entry.entry,
            Some(entry.event),
            reason,
        );
    }

    fn erased(&mut self, entry: &Committed) {
        let target = read(&self.bundle[entry.bytes.clone()]).map(|entry| entry.target);
        let target = target.map_or_else(|_| Target::default(), |it| (it.r#type, it.id));
        self.outcome.noted.push(Noted::Erased {
            entry: entry.entry,
            event: entry.event,
            target,
        });
    }

    fn fault(&mut self, kind: FaultKind, entry: u64, event: Option<Position>, reason: &str) {
        let fault = Fault::new(kind, &self.file, reason);
        self.outcome.faults.push(fault.at_entry(entry, event));
    }
}
