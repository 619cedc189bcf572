//! The hashes of a tree, proven from the root of its checkpoint downwards.
//!
//! A tile is proven if its hashes give the hash that the tile above has of it. If the file of a
//! tile does not, its hashes are computed again from what is below: if these are proven, then
//! it is the file that is damaged, and everything else can still be told apart.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::files::{Files, Unreadable};
use crate::{
    bundle::Bundle,
    edge::Edge,
    hash::{Hash, leaf, node},
    proof::{HashReader, Head},
    reader::hashes,
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// Maximum size of a hash tile, in bytes. Fact: C2SP tlog-tiles.
pub(super) const MAX_TILE_BYTES: u64 = 32 * TILE_WIDTH as u64;
/// Maximum size of an entry bundle, in bytes. Fact: C2SP tlog-tiles.
pub(super) const MAX_BUNDLE_BYTES: u64 = 65_537 * TILE_WIDTH as u64;
/// Number of tiles that are kept. Fixed: bounds the memory; what is forgotten is read
/// again.
const KEPT: usize = 256;
/// Levels of tiles that a tree can have. Fact: 256 to the power of 8 is all that 64 bits
/// can count.
pub(super) const LEVELS: u8 = 8;

/// Fault of the file of a tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Unreadable(Unreadable),
    /// Length of the file, and the one it must have.
    Length(usize, usize),
    /// The hash at this place is not that of the tile below.
    Hash(usize),
    /// It does not give the hash above, and neither does what is below.
    Unproven,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(reason) => reason.fmt(f),
            Self::Length(length, expected) => {
                write!(f, "it has {length} bytes instead of {expected}")
            }
            Self::Hash(at) => write!(f, "its hash {at} is not the hash of the level below it"),
            Self::Unproven => f.write_str(
                "neither its hashes nor those of the level below it give the hash above it",
            ),
        }
    }
}

/// The hashes of a tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Empty if neither the file nor what is below can be read.
    pub(super) hashes: Vec<Hash>,
    /// True if the hashes are those of the tree of the checkpoint.
    pub(super) is_proven: bool,
    /// The fault of the file.
    pub(super) damage: Option<Damage>,
}

/// Returns the root of the perfect subtree over a row whose length is a power of two.
pub(super) fn fold(row: &[Hash]) -> Option<Hash> {
    let mut nodes = [[0; 32]; TILE_WIDTH];
    if !row.len().is_power_of_two() || row.len() > TILE_WIDTH {
        return None;
    }
    nodes[..row.len()].copy_from_slice(row);
    let mut width = row.len();
    while width > 1 {
        width /= 2;
        for i in 0..width {
            nodes[i] = node(&nodes[2 * i], &nodes[2 * i + 1]);
        }
    }
    Some(nodes[0])
}

/// Reads a tile or a bundle of exactly that width. One that was removed after it grew is cut
/// from the grown form.
pub(super) fn read(files: &Files, id: TileId, into: &mut Vec<u8>) -> Result<(), Damage> {
    let max = match id.kind() {
        TileKind::Hashes(_) => MAX_TILE_BYTES,
        TileKind::Entries => MAX_BUNDLE_BYTES,
    };
    match files.read(&id.to_string(), max, into) {
        Err(Unreadable::Missing) if id.is_partial() => {
            let grown = files.read(&id.grown().to_string(), max, into);
            grown.map_err(Damage::Unreadable)?;
            let length = match id.kind() {
                TileKind::Hashes(_) => 32 * id.width(),
                TileKind::Entries => Bundle::length_of(into, id.width()).unwrap_or(into.len()),
            };
            into.truncate(length);
        }
        read => read.map_err(Damage::Unreadable)?,
    }
    match id.kind() {
        TileKind::Hashes(_) if into.len() != 32 * id.width() => {
            Err(Damage::Length(into.len(), 32 * id.width()))
        }
        _ => Ok(()),
    }
}

/// The tiles of a tree.
#[derive(Debug)]
pub(super) struct Tiles {
    head: Head,
    /// The incomplete tiles, by level.
    edge: Vec<Arc<Row>>,
    rows: Mutex<HashMap<(u8, u64), Arc<Row>>>,
}

impl Tiles {
    /// Reads the incomplete tiles of the tree and proves them by its root.
    pub(super) fn open(files: &Files, head: Head) -> Self {
        Self {
            head,
            edge: edge(files, head).into_iter().map(Arc::new).collect(),
            rows: Mutex::default(),
        }
    }

    /// Returns whether the incomplete tiles give the root of the checkpoint.
    pub(super) fn have_root(&self) -> bool {
        self.edge.iter().all(|row| row.is_proven)
    }

    /// Returns the tile of that level and index; `None` if the tree has none.
    pub(super) fn row(&self, files: &Files, level: u8, index: u64) -> Option<Arc<Row>> {
        let id = TileId::in_tree(TileKind::Hashes(level), index, self.head.size)?;
        if id.is_partial() {
            return self.edge.get(usize::from(level)).cloned();
        }
        if let Some(row) = self.rows().get(&(level, index)) {
            return Some(Arc::clone(row));
        }
        let above = self.above(files, level, index)?;
        let row = Arc::new(full(files, id, above));
        let mut rows = self.rows();
        if rows.len() >= KEPT {
            rows.clear();
        }
        rows.insert((level, index), Arc::clone(&row));
        Some(row)
    }

    /// Returns the hash that the tile above has of a full tile, and whether it is proven.
    pub(super) fn above(&self, files: &Files, level: u8, index: u64) -> Option<Above> {
        let row = self.row(files, level + 1, index / TILE_WIDTH as u64)?;
        let at = usize::try_from(index % TILE_WIDTH as u64).ok()?;
        Some(Above {
            hash: row.hashes.get(at).copied(),
            is_proven: row.is_proven,
        })
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, HashMap<(u8, u64), Arc<Row>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash that a tile has of one below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Above {
    pub(super) hash: Option<Hash>,
    pub(super) is_proven: bool,
}

/// Reads a full tile and proves it by the hash above.
fn full(files: &Files, id: TileId, above: Above) -> Row {
    let mut bytes = Vec::new();
    let read = read(files, id, &mut bytes).map(|()| hashes(&bytes));
    let gives = |row: &[Hash]| above.hash.is_some() && fold(row) == above.hash;
    if let Ok(row) = &read
        && gives(row)
    {
        return Row {
            hashes: row.clone(),
            is_proven: above.is_proven,
            damage: None,
        };
    }
    let below = below(files, id);
    match (read, below) {
        (read, Some(below)) if gives(&below) => Row {
            damage: Some(match read {
                Ok(row) => differs(&row, &below),
                Err(damage) => damage,
            }),
            hashes: below,
            is_proven: above.is_proven,
        },
        (Ok(row), _) => Row {
            hashes: row,
            is_proven: false,
            damage: above.is_proven.then_some(Damage::Unproven),
        },
        (Err(damage), below) => Row {
            hashes: below.unwrap_or_default(),
            is_proven: false,
            damage: Some(damage),
        },
    }
}

fn differs(row: &[Hash], expected: &[Hash]) -> Damage {
    let at = row.iter().zip(expected).position(|(a, b)| a != b);
    Damage::Hash(at.unwrap_or(row.len()))
}

/// Computes the hashes of a tile from the files one level below.
fn below(files: &Files, id: TileId) -> Option<Vec<Hash>> {
    let mut bytes = Vec::new();
    match id.kind() {
        TileKind::Entries => None,
        TileKind::Hashes(0) => {
            let entries = match id.is_partial() {
                true => {
                    let width = u8::try_from(id.width()).ok()?;
                    TileId::partial(TileKind::Entries, id.index(), width)
                }
                false => TileId::full(TileKind::Entries, id.index()),
            };
            read(files, entries, &mut bytes).ok()?;
            let bundle = Bundle::parse(bytes)?;
            (bundle.len() == id.width()).then(|| bundle.iter().map(leaf).collect())
        }
        TileKind::Hashes(level) => {
            let first = id.index().checked_mul(TILE_WIDTH as u64)?;
            let tiles = first..first.checked_add(id.width() as u64)?;
            let root = |index| {
                let tile = TileId::full(TileKind::Hashes(level - 1), index);
                read(files, tile, &mut bytes).ok()?;
                fold(&hashes(&bytes))
            };
            tiles.map(root).collect()
        }
    }
}

/// Reads the incomplete tiles of a tree, by level. If they do not give the root, those that do
/// together with what is below them are found.
fn edge(files: &Files, head: Head) -> Vec<Row> {
    let ids: Vec<_> = (0_u8..)
        .zip(TileId::partial_widths(head.size))
        .map(|(level, width)| {
            let index = head.size.checked_shr(8 * (u32::from(level) + 1));
            TileId::partial(TileKind::Hashes(level), index.unwrap_or(0), width)
        })
        // A partial tile of width 0 is none.
        .map(|id| id.is_partial().then_some(id))
        .collect();
    let mut bytes = Vec::new();
    let mut of_file = |id: &Option<TileId>| match id {
        Some(id) => read(files, *id, &mut bytes).map(|()| hashes(&bytes)),
        None => Ok(Vec::new()),
    };
    let read: Vec<_> = ids.iter().map(&mut of_file).collect();
    let gives = |rows: Vec<Vec<Hash>>| {
        Edge::new(head.size, rows).is_some_and(|edge| edge.root() == head.root)
    };
    let as_read: Option<Vec<_>> = read.iter().map(|row| row.clone().ok()).collect();
    if let Some(rows) = as_read
        && gives(rows.clone())
    {
        return proven(rows, vec![None; ids.len()]);
    }
    let computed: Vec<_> = ids
        .iter()
        .map(|id| id.map_or(Some(Vec::new()), |id| below(files, id)))
        .collect();
    // With the fewest computed rows first: a single damaged file is the usual case.
    let mut choices: Vec<u16> = (0..1 << ids.len()).collect();
    choices.sort_by_key(|choice| choice.count_ones());
    for choice in choices {
        let chosen = |at: usize| choice & (1 << at) != 0;
        let rows: Option<Vec<_>> = (0..ids.len())
            .map(|at| match chosen(at) {
                true => computed[at].clone(),
                false => read[at].clone().ok(),
            })
            .collect();
        if let Some(rows) = rows
            && gives(rows.clone())
        {
            let damages = read.iter().zip(&rows).map(|(read, row)| match read {
                Ok(read) if read == row => None,
                Ok(read) => Some(differs(read, row)),
                Err(damage) => Some(damage.clone()),
            });
            let damages = damages.collect();
            return proven(rows, damages);
        }
    }
    let rows = read.into_iter().zip(computed);
    rows.map(|(read, computed)| Row {
        is_proven: false,
        damage: read.as_ref().err().cloned(),
        hashes: read.ok().or(computed).unwrap_or_default(),
    })
    .collect()
}

fn proven(rows: Vec<Vec<Hash>>, damages: Vec<Option<Damage>>) -> Vec<Row> {
    let rows = rows.into_iter().zip(damages);
    rows.map(|(hashes, damage)| Row {
        hashes,
        is_proven: true,
        damage,
    })
    .collect()
}

/// A hash that cannot be proven, because a tile is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unproven;

/// Reads proven hashes.
pub(super) struct Proven<'t> {
    pub(super) tiles: &'t Tiles,
    pub(super) files: &'t Files,
}

impl HashReader for Proven<'_> {
    type Error = Unproven;

    fn read_hash(&self, height: u32, index: u64) -> Result<Hash, Unproven> {
        let (level, within) = (height / 8, height % 8);
        let level = u8::try_from(level).map_err(|_| Unproven)?;
        let first = index << within;
        let row = self
            .tiles
            .row(self.files, level, first / TILE_WIDTH as u64)
            .filter(|row| row.is_proven)
            .ok_or(Unproven)?;
        let from = usize::try_from(first % TILE_WIDTH as u64).map_err(|_| Unproven)?;
        let some = row.hashes.get(from..from + (1 << within));
        some.and_then(fold).ok_or(Unproven)
    }
}
