//! The survey of a directory: which tiles and bundles there are, so that what is missing is
//! told as ranges, and a tree that is only claimed to be huge takes no time.

use std::{collections::BTreeSet, str::FromStr};

use super::{
    files::{EntryKind, Files, Unreadable},
    report::{Fault, FaultKind, Notes},
    tiles::LEVELS,
};
use crate::{
    details,
    tile::{TileId, TileKind},
};

/// Maximum depth of the directories of a level. Fact: C2SP tlog-tiles: each directory
/// stands for three digits of an index.
const DEPTH: usize = 7;
/// Maximum number of tiles whose incomplete forms are compared. Fixed: bounds the memory.
const FORMS_MAX: usize = 65_536;

/// Numbers as sorted, disjoint, half-open ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Creates ranges from numbers in any order.
    fn new(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, end)) if number < *end => {}
                Some((_, end)) if number == *end => *end += 1,
                _ => ranges.push((number, number + 1)),
            }
        }
        Self(ranges)
    }

    /// Returns whether the number is in a range.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.range_behind(number)
            .is_some_and(|(from, _)| from <= number)
    }

    /// Returns the least number that is in a range and not below this one.
    pub(super) fn next(&self, number: u64) -> Option<u64> {
        self.range_behind(number).map(|(from, _)| from.max(number))
    }

    fn range_behind(&self, number: u64) -> Option<(u64, u64)> {
        let at = self.0.partition_point(|(_, end)| *end <= number);
        self.0.get(at).copied()
    }

    /// Iterates over the ranges of numbers within `from..to` that are missing.
    pub(super) fn missing(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let mut at = from;
        std::iter::from_fn(move || {
            while at < to {
                let gap = at;
                let (next, end) = self.range_behind(at).unwrap_or((to, to));
                at = end;
                if next > gap {
                    return Some((gap, next.min(to)));
                }
            }
            None
        })
    }

    /// Returns the number of numbers within `from..to`.
    pub(super) fn count(&self, from: u64, to: u64) -> u64 {
        let within = self.0.iter();
        let lengths = within.map(|(a, b)| (*b).min(to).saturating_sub((*a).max(from)));
        lengths.sum()
    }

    /// Returns the union of two sets of ranges.
    fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (from, to) in all {
            match ranges.last_mut() {
                Some((_, end)) if from <= *end => *end = (*end).max(to),
                _ => ranges.push((from, to)),
            }
        }
        Self(ranges)
    }
}

/// The files of a trail.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Entry bundles of the tree.
    pub(super) bundles: Ranges,
    /// Hash tiles of the tree, by level.
    pub(super) tiles: Vec<Ranges>,
    /// Indices of bundles that there is something of: entries or hashes.
    pub(super) any: Ranges,
    /// Tiles and bundles with files of incomplete forms.
    pub(super) forms: BTreeSet<TileId>,
    /// True if there is a part that is private.
    pub(super) has_private: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Notes,
}

/// The files of one level that were found.
#[derive(Default)]
struct Found {
    full: Vec<u64>,
    /// Indices with a directory of incomplete forms.
    partial: Vec<u64>,
}

impl Survey {
    /// Looks at the names of all files of the trail.
    pub(super) fn new(files: &Files, size: u64) -> Self {
        let mut survey = Self::default();
        survey.top(files);
        survey.private(files, size);
        let mut kinds: Vec<_> = (0..LEVELS).map(TileKind::Hashes).collect();
        kinds.push(TileKind::Entries);
        for kind in kinds {
            let full = TileId::full(kind, 0).to_string();
            let dir = full.rsplit_once('/').map_or("", |(dir, _)| dir);
            let mut found = Found::default();
            survey.level(files, dir, DEPTH, &mut found);
            survey.keep(files, kind, size, found);
        }
        survey.any = match survey.tiles.first() {
            Some(hashes) => survey.bundles.union(hashes),
            None => survey.bundles.clone(),
        };
        survey
    }

    /// Looks at the directory itself.
    fn top(&mut self, files: &Files) {
        let mut names = Vec::new();
        let listed = files.list("", |name, kind| match (name, kind) {
            ("checkpoint" | "checkpoints" | "keys", EntryKind::File) => {}
            ("tile" | "private" | "former", EntryKind::Dir) => names.push(name.to_owned()),
            ("tile" | "private" | "former" | "checkpoint" | "checkpoints" | "keys", _) => {
                let fault = Fault::new(FaultKind::Unreadable, name, Unreadable::NotAFile);
                self.faults.push(fault);
            }
            _ => self
                .notes
                .push(|| format!("{name} is no part of a trail and was not checked")),
        });
        self.told("", listed);
        self.has_private = names.iter().any(|name| name == "private");
        if names.iter().any(|name| name == "former") {
            self.notes
                .push(|| "former has earlier logs; each is verified by itself".into());
        }
        if names.iter().any(|name| name == "tile") {
            let notes = &mut self.notes;
            let listed = files.list("tile", |name, kind| {
                let is_level = name
                    .parse::<u8>()
                    .is_ok_and(|level| level < LEVELS && level.to_string() == name);
                if kind != EntryKind::Dir || !(is_level || name == "entries") {
                    notes.push(|| format!("tile/{name} is no part of a trail"));
                }
            });
            self.told("tile", listed);
        }
    }

    /// Looks for files of details that belong to no entry of the tree.
    fn private(&mut self, files: &Files, size: u64) {
        if !self.has_private {
            return;
        }
        let segments = size.div_ceil(details::SEGMENT);
        let notes = &mut self.notes;
        let listed = files.list("private/details", |name, kind| {
            let number = u64::from_str(name).ok();
            let number = number.filter(|number| format!("{number:06}") == name);
            if kind != EntryKind::File || number.is_none_or(|number| number >= segments) {
                notes.push(|| {
                    format!("private/details/{name} belongs to no entry of the checkpoint")
                });
            }
        });
        if listed != Err(Unreadable::Missing) {
            self.told("private/details", listed);
        }
    }

    /// Looks at a directory of tiles.
    fn level(&mut self, files: &Files, dir: &str, depth: usize, found: &mut Found) {
        let mut deeper = Vec::new();
        let notes = &mut self.notes;
        let listed = files.list(dir, |name, kind| {
            let id = |name: &str| format!("{dir}/{name}").parse::<TileId>();
            let known = match kind {
                EntryKind::File => id(name).map(|id| found.full.push(id.index())).is_ok(),
                EntryKind::Dir => match name.strip_suffix(".p") {
                    Some(full) => id(full).map(|id| found.partial.push(id.index())).is_ok(),
                    // An index begins with a group that is not zero.
                    None => {
                        let group = name.strip_prefix('x').and_then(|n| u16::from_str(n).ok());
                        let is_group = group.is_some_and(|n| format!("x{n:03}") == name);
                        if is_group {
                            deeper.push(format!("{dir}/{name}"));
                        }
                        is_group
                    }
                },
                EntryKind::Other => false,
            };
            if !known {
                notes.push(|| format!("{dir}/{name} is no part of a trail"));
            }
        });
        if listed != Err(Unreadable::Missing) {
            self.told(dir, listed);
        }
        for dir in deeper {
            match depth {
                0 => self
                    .notes
                    .push(|| format!("{dir} is deeper than tiles are")),
                depth => self.level(files, &dir, depth - 1, found),
            }
        }
    }

    /// Keeps what belongs to the tree.
    fn keep(&mut self, files: &Files, kind: TileKind, size: u64, found: Found) {
        let of_tree = |index: &u64| TileId::in_tree(kind, *index, size);
        let beyond = |index: &&u64| of_tree(index).is_none();
        let mut beyond_count = found.full.iter().filter(beyond).count();
        beyond_count += found.partial.iter().filter(beyond).count();
        let mut present = Vec::new();
        let mut forms: Vec<TileId> = found.partial.iter().filter_map(&of_tree).collect();
        for index in &found.full {
            if let Some(id) = of_tree(index) {
                present.push(*index);
                // The full form of an incomplete tile is one more form.
                forms.extend(id.is_partial().then_some(id));
            }
        }
        for id in forms {
            // A full tile may have incomplete forms left, an incomplete one has its own.
            if id.is_partial() && files.exists(&id.to_string()) {
                present.push(id.index());
            }
            if self.forms.len() < FORMS_MAX {
                self.forms.insert(id);
            } else {
                let fault = Fault::new(
                    FaultKind::Tile,
                    id.partials_dir(),
                    "more tiles have incomplete forms than are compared",
                );
                self.faults.push(fault);
                break;
            }
        }
        if beyond_count > 0 {
            let what = match kind {
                TileKind::Hashes(level) => format!("tiles of tile/{level}"),
                TileKind::Entries => "bundles of tile/entries".into(),
            };
            self.notes.push(|| {
                format!("{beyond_count} {what} are beyond the checkpoint and were not checked")
            });
        }
        match kind {
            TileKind::Hashes(_) => self.tiles.push(Ranges::new(present)),
            TileKind::Entries => self.bundles = Ranges::new(present),
        }
    }

    /// Notes a directory that cannot be listed.
    fn told(&mut self, dir: &str, listed: Result<(), Unreadable>) {
        if let Err(reason) = listed {
            let dir = if dir.is_empty() { "." } else { dir };
            self.faults
                .push(Fault::new(FaultKind::Unreadable, dir, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_numbers() {
        let ranges = Ranges::new(vec![7, 3, 1, 2, 2, 9, 8]);
        assert_eq!(ranges.0, [(1, 4), (7, 10)]);
        for (number, contains, next) in [
            (0, false, Some(1)),
            (1, true, Some(1)),
            (3, true, Some(3)),
            (4, false, Some(7)),
            (9, true, Some(9)),
            (10, false, None),
        ] {
            assert_eq!(ranges.contains(number), contains, "{number}");
            assert_eq!(ranges.next(number), next, "{number}");
        }
        let missing = |from, to| ranges.missing(from, to).collect::<Vec<_>>();
        assert_eq!(missing(0, 12), [(0, 1), (4, 7), (10, 12)]);
        assert_eq!(missing(2, 9), [(4, 7)]);
        assert_eq!(missing(5, 6), [(5, 6)]);
        assert_eq!(missing(5, 5), []);
        assert_eq!(missing(20, u64::MAX), [(20, u64::MAX)]);
        assert_eq!(ranges.count(2, 8), 3);
        assert_eq!(ranges.count(0, u64::MAX), 6);
        let other = Ranges::new(vec![4, 5, 12]);
        assert_eq!(ranges.union(&other).0, [(1, 6), (7, 10), (12, 13)]);
        assert_eq!(Ranges::default().next(0), None);
    }
}
