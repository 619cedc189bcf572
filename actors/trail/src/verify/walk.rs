//! The walk through the bundles of a trail: results of single bundles are put together, and
//! faults are attributed to the file that is to blame.

use std::collections::BTreeSet;

use super::{
    Verifier,
    details::name_of,
    entries::{BadBundle, Noted, Odd, Outcome, Plan, follows},
    forms,
    report::{Fault, FaultKind},
    state::{AwaitedErasure, Stage},
    tiles::{Damage, LEVELS, Tiles},
};
use crate::{
    details::SEGMENT,
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// Bundles that a thread checks before results are put together. Fixed: bounds one step,
/// so that others get their turn; the whole has no limit here.
const BATCH: usize = 32;

impl Verifier {
    /// Checks bundles, that many at most. Returns how many were checked.
    pub(super) fn walk(&mut self, max: u64) -> u64 {
        let batch = self.next_bundles(max);
        let tiles = match batch.is_empty() {
            true => None,
            false => self.tiles.take(),
        };
        let Some(tiles) = tiles else {
            self.state.stage = Stage::History;
            return 0;
        };
        let plan = Plan {
            size: self.size,
            bundles: &self.survey.bundles,
            checks_details: self.state.check_details && self.survey.has_private,
        };
        let checkers = &mut self.checkers;
        let share = batch.len().div_ceil(checkers.len());
        let outcomes: Vec<Outcome> = if checkers.len() == 1 {
            let check = |bundle: &u64| checkers[0].check(&plan, *bundle);
            batch.iter().filter_map(check).collect()
        } else {
            std::thread::scope(|scope| {
                let parts = batch.chunks(share).zip(checkers.iter_mut());
                let threads: Vec<_> = parts
                    .map(|(part, checker)| {
                        scope.spawn(move || {
                            let check = |bundle: &u64| checker.check(&plan, *bundle);
                            part.iter().filter_map(check).collect::<Vec<_>>()
                        })
                    })
                    .collect();
                let results = threads.into_iter().map(|thread| match thread.join() {
                    Ok(outcomes) => outcomes,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                results.flatten().collect()
            })
        };
        for outcome in outcomes {
            self.put_together(&tiles, outcome);
        }
        self.tiles = Some(tiles);
        batch.len() as u64
    }

    /// Returns the next bundles of which there is something.
    fn next_bundles(&self, max: u64) -> Vec<u64> {
        let most = (BATCH * self.checkers.len()) as u64;
        let (_, end) = self.state.bundles();
        let mut next = self.state.next;
        let mut batch = Vec::new();
        while (batch.len() as u64) < most.min(max)
            && let Some(bundle) = self.survey.any.next(next)
            && (bundle < end || self.state.is_waiting())
        {
            batch.push(bundle);
            next = bundle + 1;
        }
        batch
    }

    fn put_together(&mut self, tiles: &Tiles, mut outcome: Outcome) {
        let bundle = outcome.bundle;
        if bundle != self.state.next {
            self.state.last = None;
        }
        self.tell_above(tiles, bundle);
        if let (Some(last), Some(first)) = (self.state.last, outcome.first)
            && let Some(fault) = follows(last, first, false)
        {
            let file = outcome.id.to_string();
            let index = bundle * TILE_WIDTH as u64;
            let fault = Fault { file, ..fault }.at_entry(index, Some(first));
            outcome.faults.insert(0, fault);
        }
        self.state.next = bundle + 1;
        self.state.checked.entries += outcome.entries;
        self.state.checked.tiles += outcome.tiles;
        self.state.checked.details += outcome.details;
        match outcome.odd.take() {
            None => self.judge_pair(tiles, &outcome),
            Some(odd) => self.judge(tiles, &mut outcome, &odd),
        }
        self.state.last = outcome.last;
        for fault in std::mem::take(&mut outcome.faults) {
            self.state.add(fault);
        }
        for note in std::mem::take(&mut outcome.notes) {
            self.state.notes.push(|| note);
        }
        self.note(&outcome);
        for kind in [TileKind::Hashes(0), TileKind::Entries] {
            self.check_forms(tiles, kind, bundle);
        }
    }

    /// Judges a bundle whose entries have the hashes of their tile.
    fn judge_pair(&mut self, tiles: &Tiles, outcome: &Outcome) {
        let Some(root) = outcome.root else { return };
        let above = tiles.above(&self.files, 0, outcome.bundle);
        let Some(above) = above.filter(|above| above.is_proven) else {
            return;
        };
        if above.hash != Some(root) {
            let tile = TileId::full(TileKind::Hashes(0), outcome.bundle);
            let reason = format!(
                "its entries and their hashes in {tile} do not give the hash that is above them: both were altered"
            );
            self.state.add(Fault::new(
                FaultKind::Altered,
                outcome.id.to_string(),
                reason,
            ));
        }
    }

    /// Judges a bundle whose entries do not have the hashes of their tile.
    fn judge(&mut self, tiles: &Tiles, outcome: &mut Outcome, odd: &Odd) {
        let Some(row) = tiles.row(&self.files, 0, outcome.bundle) else {
            return;
        };
        let id = outcome.id;
        let is_told = id.is_partial() || is_missing(row.damage.as_ref());
        if let Some(damage) = row.damage.as_ref().filter(|_| !is_told) {
            let tile = TileId::full(TileKind::Hashes(0), outcome.bundle);
            self.state
                .add(Fault::new(FaultKind::Tile, tile.to_string(), damage));
        }
        let first = outcome.bundle * TILE_WIDTH as u64;
        let pairs = || odd.leaves.iter().zip(&row.hashes);
        let event = |at: usize| odd.events.get(at).copied().flatten();
        let reason = match &odd.bundle {
            None => {
                let differs = pairs().enumerate().filter(|(_, (leaf, hash))| leaf != hash);
                let altered: BTreeSet<_> = differs.map(|(at, _)| at).collect();
                for (at, count) in runs(&altered) {
                    let what = match count {
                        1 => "it was altered: its hash is".into(),
                        n => format!(
                            "it and the {} behind it were altered: their hashes are",
                            n - 1
                        ),
                    };
                    let reason = match row.is_proven {
                        true => format!("{what} not the ones in the tree"),
                        false => format!("{what} not the ones in the tile"),
                    };
                    let fault = Fault::new(FaultKind::Altered, id.to_string(), reason);
                    self.state.add(fault.at_entry(first + at as u64, event(at)));
                }
                // Further faults of them follow from that.
                let is_altered = |entry: u64| {
                    let at = entry.checked_sub(first).map(usize::try_from);
                    matches!(at, Some(Ok(at)) if altered.contains(&at))
                };
                outcome.faults.retain(|fault| {
                    let entry = fault.entry.unwrap_or(u64::MAX);
                    let follows = matches!(fault.kind, FaultKind::Order | FaultKind::Gap);
                    let before = follows && entry.checked_sub(1).is_some_and(is_altered);
                    !is_altered(entry) && !before
                });
                if altered.last() == Some(&(id.width() - 1)) {
                    outcome.last = None;
                }
                return;
            }
            Some(BadBundle::Missing) if !self.survey.bundles.contains(outcome.bundle) => return,
            Some(BadBundle::Missing) => "it is missing".into(),
            Some(BadBundle::Unreadable(damage)) => damage.to_string(),
            Some(BadBundle::Torn) => "the lengths of its entries do not add up".into(),
            Some(BadBundle::Count(TILE_WIDTH..)) => {
                format!("it has more than {} entries", id.width())
            }
            Some(BadBundle::Count(count)) => {
                format!("it has {count} entries instead of {}", id.width())
            }
        };
        outcome.faults.clear();
        outcome.last = None;
        let fault = Fault::new(FaultKind::Bundle, id.to_string(), reason);
        let at = pairs().position(|(leaf, hash)| leaf != hash);
        let at = at.unwrap_or(odd.leaves.len().min(row.hashes.len()));
        // The first one that differs, or the first that is missing.
        self.state.add(match odd.leaves.is_empty() {
            true => fault,
            false => fault.at_entry(first + at as u64, event(at)),
        });
    }

    /// Keeps what other entries depend on.
    fn note(&mut self, outcome: &Outcome) {
        for noted in &outcome.noted {
            match noted {
                Noted::Pruned(end) => self.state.pruned_to = self.state.pruned_to.max(*end),
                Noted::Erasure(target) => drop(self.state.awaited_erasures.remove(target)),
                Noted::Erased {
                    entry,
                    event,
                    target,
                } => {
                    self.state.erased += 1;
                    let awaited = AwaitedErasure {
                        target: target.clone(),
                        entry: *entry,
                        event: *event,
                        count: 1,
                    };
                    if !self.state.await_erasure(awaited) {
                        let reason = "more targets have erased details than can be compared with the records of erasure";
                        let fault = Fault::new(FaultKind::Erased, name_of(entry / SEGMENT), reason);
                        self.state.add(fault.at_entry(*entry, Some(*event)));
                    }
                }
            }
        }
        let segment = outcome.bundle * TILE_WIDTH as u64 / SEGMENT;
        if let Some((entry, reason)) = &outcome.without_details
            && self.state.told_details != Some(segment)
        {
            self.state.told_details = Some(segment);
            let fault = Fault::new(FaultKind::DetailsMissing, name_of(segment), reason);
            self.state.add(fault.at_entry(*entry, None));
        }
    }

    /// Tells of the tiles above a bundle, if it is the first below them.
    fn tell_above(&mut self, tiles: &Tiles, bundle: u64) {
        let (from, _) = self.state.bundles();
        for level in 1..LEVELS {
            let below = 8 * u32::from(level);
            let Some(index) = bundle.checked_shr(below) else {
                return;
            };
            if bundle != from && bundle.trailing_zeros() < below {
                return;
            }
            let kind = TileKind::Hashes(level);
            let id = TileId::in_tree(kind, index, self.size);
            let Some(id) = id.filter(|id| !id.is_partial()) else {
                continue;
            };
            let Some(row) = tiles.row(&self.files, level, index) else {
                continue;
            };
            self.tell_tile(id, row.damage.as_ref());
            self.check_forms(tiles, kind, index);
        }
    }

    /// Tells of the incomplete tiles at the end of the tree.
    pub(super) fn tell_edge(&mut self) {
        let Some(tiles) = self.tiles.take() else {
            return;
        };
        for level in 0..LEVELS {
            let size = self.size;
            let index = size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
            let kind = TileKind::Hashes(level);
            let id = TileId::in_tree(kind, index, size).filter(|id| id.is_partial());
            if let Some(id) = id
                && let Some(row) = tiles.row(&self.files, level, index)
            {
                self.tell_tile(id, row.damage.as_ref());
                if level > 0 {
                    self.check_forms(&tiles, kind, index);
                }
            }
        }
        if !tiles.have_root() {
            let reason = "the tiles of the tree do not give the root that its checkpoint states";
            self.state.add(Fault::new(FaultKind::Root, "tile", reason));
        }
        self.tiles = Some(tiles);
    }

    fn tell_tile(&mut self, id: TileId, damage: Option<&Damage>) {
        if id.kind() != TileKind::Hashes(0) {
            self.state.checked.tiles += u64::from(!is_missing(damage));
        }
        if let Some(damage) = damage
            && !is_missing(Some(damage))
        {
            self.state
                .add(Fault::new(FaultKind::Tile, id.to_string(), damage));
        }
    }

    /// Compares the narrower forms of a tile or a bundle with it.
    fn check_forms(&mut self, tiles: &Tiles, kind: TileKind, index: u64) {
        let id = TileId::in_tree(kind, index, self.size);
        let Some(id) = id.filter(|id| self.survey.forms.contains(id)) else {
            return;
        };
        let level = match kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        let row = tiles.row(&self.files, level, index);
        let Some(row) = row.filter(|row| row.is_proven) else {
            return;
        };
        let found = forms::check(&self.files, id, &row.hashes);
        for fault in found.faults {
            self.state.add(fault);
        }
        for note in found.notes {
            self.state.notes.push(|| note);
        }
    }
}

/// Returns runs of consecutive numbers: the first, and how many.
fn runs(numbers: &BTreeSet<usize>) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *number => *count += 1,
            _ => runs.push((*number, 1)),
        }
    }
    runs
}

/// Returns whether the file is missing, which the survey tells of.
fn is_missing(damage: Option<&Damage>) -> bool {
    use super::files::Unreadable::Missing;
    damage == Some(&Damage::Unreadable(Missing))
}
