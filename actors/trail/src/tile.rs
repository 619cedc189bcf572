//! Names of tiles and entry bundles, as C2SP tlog-tiles defines them.

use std::{fmt, num::NonZero, str::FromStr};

/// Number of hashes of a full tile, and of entries of a full bundle. Fact: C2SP
/// tlog-tiles.
pub const TILE_WIDTH: usize = 256;

/// The contents of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of subtrees of `256^level` entries.
    Hashes(u8),
    /// Entries, each after its length.
    Entries,
}

impl TileKind {
    /// Returns the level of its tiles; that of bundles is 0, as they have the entries of the
    /// hashes there.
    pub fn level(self) -> u32 {
        match self {
            Self::Hashes(level) => level.into(),
            Self::Entries => 0,
        }
    }
}

/// The name of a tile or an entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    kind: TileKind,
    index: u64,
    /// `None`: full.
    width: Option<NonZero<u8>>,
}

/// A text that is not the name of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the name of a tile, such as tile/0/x001/234, tile/1/000.p/17 or tile/entries/005"
)]
pub struct InvalidTileId;

impl TileId {
    /// Returns a full tile.
    pub fn full(kind: TileKind, index: u64) -> Self {
        Self {
            kind,
            index,
            width: None,
        }
    }

    /// Returns an incomplete tile; one of width 0 is taken for a full one.
    pub fn partial(kind: TileKind, index: u64, width: u8) -> Self {
        Self {
            kind,
            index,
            width: NonZero::new(width),
        }
    }

    /// Returns the tile of that index in a tree of `size` entries; `None` if the tree has none.
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(8 * kind.level()).unwrap_or(0);
        let full = hashes / TILE_WIDTH as u64;
        let width = u8::try_from(hashes % TILE_WIDTH as u64).unwrap_or(0);
        match index {
            index if index < full => Some(Self::full(kind, index)),
            index if index == full && width > 0 => Some(Self::partial(kind, index, width)),
            _ => None,
        }
    }

    /// Returns the widths of the incomplete tiles of a tree, by level.
    pub fn partial_widths(size: u64) -> Vec<u8> {
        let mut widths = Vec::new();
        let mut hashes = size;
        while hashes > 0 {
            widths.push(u8::try_from(hashes % TILE_WIDTH as u64).unwrap_or(0));
            hashes /= TILE_WIDTH as u64;
        }
        widths
    }

    /// Returns the contents of the tile.
    pub fn kind(self) -> TileKind {
        self.kind
    }

    /// Returns the index of the tile within its level.
    pub fn index(self) -> u64 {
        self.index
    }

    /// Returns the number of hashes or entries.
    pub fn width(self) -> usize {
        self.width
            .map_or(TILE_WIDTH, |width| usize::from(width.get()))
    }

    /// Returns whether the tile is incomplete.
    pub fn is_partial(self) -> bool {
        self.width.is_some()
    }

    /// Returns the full tile that this one grows into.
    #[must_use]
    pub fn grown(self) -> Self {
        Self {
            width: None,
            ..self
        }
    }

    /// Returns the directory of the incomplete forms of the tile.
    pub fn partials_dir(self) -> String {
        format!("{}.p", self.grown())
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        let (last, first) = groups.split_first().unwrap_or((&0, &[]));
        for group in first.iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{last:03}")?;
        match self.width {
            Some(width) => write!(f, ".p/{width}"),
            None => Ok(()),
        }
    }
}

impl FromStr for TileId {
    type Err = InvalidTileId;

    /// Parses the text that [`Display`](fmt::Display) writes, and no other spelling of it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("tile/").ok_or(InvalidTileId)?;
        let (kind, rest) = rest.split_once('/').ok_or(InvalidTileId)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().map_err(|_| InvalidTileId)?),
        };
        if matches!(kind, TileKind::Hashes(level) if level > 63) {
            return Err(InvalidTileId);
        }
        let (path, width) = match rest.split_once(".p/") {
            Some((path, width)) => (path, Some(width.parse().map_err(|_| InvalidTileId)?)),
            None => (rest, None),
        };
        let mut index: u64 = 0;
        for group in path.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            let group: u64 = digits.parse().map_err(|_| InvalidTileId)?;
            index = index
                .checked_mul(1_000)
                .and_then(|index| index.checked_add(group))
                .ok_or(InvalidTileId)?;
        }
        let id = Self { kind, index, width };
        match id.to_string() == text {
            true => Ok(id),
            false => Err(InvalidTileId),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_one_spelling() {
        for text in [
            "tile/0/000",
            "tile/0/x001/x234/067",
            "tile/63/999.p/255",
            "tile/entries/x001/000.p/1",
            "tile/entries/005",
        ] {
            assert_eq!(text.parse::<TileId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "tile/0/0",
            "tile/00/000",
            "tile/64/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/data/000",
            "tile/0/../000",
            "tile/0/+01",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(text.parse::<TileId>(), Err(InvalidTileId), "{text}");
        }
    }

    #[test]
    fn tiles_of_a_tree() {
        use TileKind::{Entries, Hashes};
        let name =
            |kind, index, size| TileId::in_tree(kind, index, size).map(|tile| tile.to_string());
        for (kind, index, size, expected) in [
            (Entries, 0, 0, None),
            (Entries, 0, 1, Some("tile/entries/000.p/1")),
            (Entries, 0, 256, Some("tile/entries/000")),
            (Entries, 1, 256, None),
            (Hashes(0), 273, 70_000, Some("tile/0/273.p/112")),
            (Hashes(0), 274, 70_000, None),
            (Hashes(1), 1, 70_000, Some("tile/1/001.p/17")),
            (Hashes(2), 0, 70_000, Some("tile/2/000.p/1")),
            (Hashes(3), 0, 70_000, None),
            (Hashes(63), 0, u64::MAX, None),
        ] {
            assert_eq!(
                name(kind, index, size).as_deref(),
                expected,
                "{index} {size}"
            );
        }
    }
}
