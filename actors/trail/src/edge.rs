//! The right edge of a growing tree: what is needed to append to it.

use crate::{
    hash::{Hash, join, perfect_root},
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// The incomplete tiles of a tree, from which new hashes and its root are computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// Hashes of the incomplete tile of each level, fewer than [`TILE_WIDTH`].
    levels: Vec<Vec<Hash>>,
}

/// A tile that became full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// The tile.
    pub id: TileId,
    /// The hashes of the tile.
    pub hashes: Vec<Hash>,
}

impl Edge {
    /// Creates the edge of a tree of that size from the hashes of its incomplete tiles, by
    /// level. `None` if their number is not that of such a tree.
    pub fn new(size: u64, levels: Vec<Vec<Hash>>) -> Option<Self> {
        let widths = TileId::partial_widths(size);
        let fits = levels.len() == widths.len()
            && widths
                .iter()
                .zip(&levels)
                .all(|(width, level)| usize::from(*width) == level.len());
        fits.then_some(Self { size, levels })
    }

    /// Returns the number of entries of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends the hash of an entry, and adds the tiles that became full to `full`.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        self.size += 1;
        let mut carried = Some(leaf);
        let mut level = 0;
        while let Some(hash) = carried.take() {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            let row = &mut self.levels[level];
            row.push(hash);
            if row.len() == TILE_WIDTH {
                let hashes = std::mem::replace(row, Vec::with_capacity(TILE_WIDTH));
                carried = perfect_root(hashes.clone());
                let kind = TileKind::Hashes(u8::try_from(level).unwrap_or(u8::MAX));
                let index = (self.size >> (8 * (level + 1))) - 1;
                full.push(FullTile {
                    id: TileId::full(kind, index),
                    hashes,
                });
            }
            level += 1;
        }
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> Hash {
        let mut subtrees = Vec::new();
        for row in self.levels.iter().rev() {
            let mut rest = &row[..];
            while !rest.is_empty() {
                let (perfect, after) = rest.split_at(1 << rest.len().ilog2());
                subtrees.extend(perfect_root(perfect.to_vec()));
                rest = after;
            }
        }
        join(&subtrees)
    }

    /// Iterates over the incomplete tiles that have hashes.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (TileId, &[Hash])> {
        (0_u8..).zip(&self.levels).filter_map(|(level, row)| {
            let kind = TileKind::Hashes(level);
            let width = u8::try_from(row.len()).ok().filter(|width| *width > 0)?;
            let index = self.size >> (8 * (u32::from(level) + 1));
            Some((TileId::partial(kind, index, width), &row[..]))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::{empty_root, leaf, node};

    /// The root as RFC 6962 defines it, by recursion.
    pub(crate) fn defined(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => empty_root(),
            1 => leaves[0],
            n => {
                let (left, right) = leaves.split_at(1 << (n - 1).ilog2());
                node(&defined(left), &defined(right))
            }
        }
    }

    fn grown(n: u64) -> (Edge, Vec<Hash>, Vec<FullTile>) {
        let leaves: Vec<_> = (0..n).map(|i| leaf(&i.to_be_bytes())).collect();
        let (mut edge, mut full) = (Edge::default(), Vec::new());
        for leaf in &leaves {
            edge.push(*leaf, &mut full);
        }
        (edge, leaves, full)
    }

    #[test]
    fn root_is_the_defined_one_at_every_size() {
        for n in (0..520).chain([65_535, 65_536, 65_537, 70_000]) {
            let (edge, leaves, _) = grown(n);
            assert_eq!(edge.root(), defined(&leaves), "{n}");
        }
    }

    #[test]
    fn tiles_are_those_of_the_specification() {
        // The example of tlog-tiles: a tree of 70,000 entries.
        let (edge, _, full) = grown(70_000);
        let full_of = |level| {
            full.iter()
                .filter(|tile| tile.id.kind() == TileKind::Hashes(level))
                .count()
        };
        assert_eq!((full_of(0), full_of(1), full_of(2)), (273, 1, 0));
        let partial: Vec<_> = edge
            .partial_tiles()
            .map(|(id, hashes)| (id.to_string(), hashes.len()))
            .collect();
        assert_eq!(
            partial,
            [
                ("tile/0/273.p/112".to_owned(), 112),
                ("tile/1/001.p/17".to_owned(), 17),
                ("tile/2/000.p/1".to_owned(), 1)
            ]
        );
    }

    proptest! {
        #[test]
        fn edge_goes_on_from_its_tiles(n in 0_u64..70_000, more in 0_u64..600) {
            let (edge, mut leaves, _) = grown(n);
            let again = Edge::new(n, edge.levels.clone()).unwrap();
            prop_assert_eq!(&again, &edge);
            prop_assert!(Edge::new(n + 1, edge.levels.clone()).is_none());
            let mut edge = again;
            for i in 0..more {
                let hash = leaf(&(n + i).to_be_bytes());
                leaves.push(hash);
                edge.push(hash, &mut Vec::new());
            }
            prop_assert_eq!(edge.root(), defined(&leaves));
        }
    }
}
