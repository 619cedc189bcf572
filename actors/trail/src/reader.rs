//! Reads a trail: what a client of the log can ask for.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use crate::{
    bundle::Bundle,
    checkpoint::{InvalidCheckpoint, SignedCheckpoint},
    details::{self, Details, Record},
    files::{self, OnChange},
    hash::{Hash, perfect_root},
    history,
    names::Pseudonyms,
    note::VerifierKey,
    proof::HashReader,
    tile::{TILE_WIDTH, TileId, TileKind},
};

/// Reason why a part of a trail cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A file cannot be read.
    #[error("{name} cannot be read: {source}")]
    Io {
        /// The file, below the directory of the trail.
        name: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file does not have the form that it must have.
    #[error("{name} is damaged: {reason}")]
    Damaged {
        /// The file, below the directory of the trail.
        name: String,
        /// The fault.
        reason: String,
    },
}

impl ReadError {
    pub(crate) fn io(name: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |source| Self::Io { name, source }
    }

    pub(crate) fn damaged(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

/// Reads the files of a trail. What it returns is not verified.
#[derive(Clone, Debug)]
pub struct TrailReader {
    dir: PathBuf,
    on_erase: OnChange,
}

impl TrailReader {
    /// Reads the trail in a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            on_erase: OnChange::default(),
        }
    }

    /// Lets a function be called with the path of each file in which something is erased.
    #[must_use]
    pub fn noting(mut self, on_erase: OnChange) -> Self {
        self.on_erase = on_erase;
        self
    }

    /// Returns the directory of the trail.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the newest checkpoint; `None` if there is no trail yet.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, ReadError> {
        let Some(bytes) = self.file("checkpoint")? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| ReadError::damaged("checkpoint", "it is not UTF-8 text"))?;
        SignedCheckpoint::parse(&text)
            .map(Some)
            .map_err(|error: InvalidCheckpoint| ReadError::damaged("checkpoint", error.to_string()))
    }

    /// Returns the history of checkpoints, the oldest first; `Err` is a line that is damaged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn history(&self) -> Result<Vec<Result<history::Line, String>>, ReadError> {
        history::read(&self.dir.join("checkpoints")).map_err(ReadError::io("checkpoints"))
    }

    /// Returns the verifier keys that the directory names, the oldest first. A verifier that
    /// must not trust the directory gets them elsewhere.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn keys(&self) -> Result<Vec<VerifierKey>, ReadError> {
        let bytes = self.file("keys")?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.lines()
            .map(|line| {
                line.parse()
                    .map_err(|error| ReadError::damaged("keys", format!("{error}")))
            })
            .collect()
    }

    /// Returns a tile or an entry bundle as its file has it: exactly that width. One that was
    /// removed after it grew is cut from its grown form.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        let name = id.to_string();
        let bytes = match self.file(&name)? {
            Some(bytes) => bytes,
            None if id.is_partial() => {
                let grown = self.file(&id.grown().to_string())?;
                let grown = grown.ok_or_else(|| ReadError::Missing(name.clone()))?;
                return cut(id, &name, grown);
            }
            None => return Err(ReadError::Missing(name)),
        };
        check(id, &name, &bytes)?;
        Ok(bytes)
    }

    /// Returns a tile or an entry bundle of the log of `size` entries. Widths that no checkpoint
    /// had are cut from the width that it has there.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or is not in the log.
    pub fn tile_of(&self, id: TileId, size: u64) -> Result<Vec<u8>, ReadError> {
        let name = id.to_string();
        let whole = TileId::in_tree(id.kind(), id.index(), size)
            .filter(|whole| whole.width() >= id.width())
            .ok_or_else(|| ReadError::Missing(name.clone()))?;
        match self.tile(id) {
            Err(ReadError::Missing(_)) if whole != id => cut(id, &name, self.tile(whole)?),
            read => read,
        }
    }

    /// Returns the entries of a bundle of the log of `size` entries.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or is not in the log.
    pub fn bundle(&self, index: u64, size: u64) -> Result<Bundle, ReadError> {
        let id = TileId::in_tree(TileKind::Entries, index, size)
            .ok_or_else(|| ReadError::Missing(format!("bundle {index} of {size} entries")))?;
        let bytes = self.tile(id)?;
        Bundle::parse(bytes).ok_or_else(|| {
            ReadError::damaged(
                id.to_string(),
                "its entries do not have the lengths it states",
            )
        })
    }

    /// Returns the details of the entries of a bundle, in order. Entries without details have
    /// none, and so do all if the directory is a copy without `private`.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn details_of_bundle(&self, index: u64) -> Result<Vec<Record>, ReadError> {
        let name = format!("private/details/{:06}", index / TILE_WIDTH as u64);
        details::of_bundle(&self.dir.join("private/details"), index).map_err(ReadError::io(name))
    }

    /// Returns the details of an entry; `None` if there are none, or they are not in this copy.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn details(&self, index: u64) -> Result<Option<Details>, ReadError> {
        let records = self.details_of_bundle(index / TILE_WIDTH as u64)?;
        let found = records.into_iter().find(|record| record.index == index);
        Ok(found.map(|record| record.details))
    }

    /// Erases the details of an entry: salt and text become zeros. On disk when this returns.
    /// Returns false if the entry has none.
    ///
    /// # Errors
    /// They cannot be erased.
    pub fn erase_details(&self, index: u64) -> Result<bool, ReadError> {
        let name = format!("private/details/{:06}", index / details::SEGMENT);
        let path = self.dir.join(&name);
        let erased = details::erase(&self.dir.join("private/details"), index);
        self.on_erase.changed(&path);
        erased.map_err(ReadError::io(name))
    }

    /// Returns whether the directory has the private part: details and names.
    pub fn has_details(&self) -> bool {
        self.dir.join("private/details").is_dir()
    }

    /// Returns the names behind pseudonyms.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn pseudonyms(&self) -> Result<Pseudonyms, ReadError> {
        Pseudonyms::read(&self.dir.join("private/names")).map_err(ReadError::io("private/names"))
    }

    /// Returns a reader of the hashes of the tree of `size` entries, which keeps the tiles that
    /// it has read.
    pub fn tree(&self, size: u64) -> TreeReader<'_> {
        TreeReader {
            trail: self,
            size,
            tiles: RefCell::default(),
        }
    }

    /// Returns the first bundle that retention has kept.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn first_bundle(&self, size: u64) -> Result<u64, ReadError> {
        let bundles = size.div_ceil(TILE_WIDTH as u64);
        let is_there = |index: u64| {
            let id = TileId::full(TileKind::Entries, index);
            self.dir.join(id.to_string()).exists() || self.dir.join(id.partials_dir()).exists()
        };
        // Bundles are removed from the first on.
        let (mut below, mut from) = (0, bundles);
        while below < from {
            let middle = below + (from - below) / 2;
            match is_there(middle) {
                true => from = middle,
                false => below = middle + 1,
            }
        }
        Ok(from)
    }

    fn file(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        files::read(&self.dir.join(name)).map_err(ReadError::io(name))
    }
}

fn check(id: TileId, name: &str, bytes: &[u8]) -> Result<(), ReadError> {
    let fits = match id.kind() {
        TileKind::Hashes(_) => bytes.len() == 32 * id.width(),
        TileKind::Entries => Bundle::length_of(bytes, id.width()) == Some(bytes.len()),
    };
    match fits {
        true => Ok(()),
        false => Err(ReadError::damaged(
            name,
            format!(
                "its {} bytes are not those of a width of {}",
                bytes.len(),
                id.width()
            ),
        )),
    }
}

fn cut(id: TileId, name: &str, mut grown: Vec<u8>) -> Result<Vec<u8>, ReadError> {
    let length = match id.kind() {
        TileKind::Hashes(_) => Some(32 * id.width()),
        TileKind::Entries => Bundle::length_of(&grown, id.width()),
    };
    match length.filter(|length| *length <= grown.len()) {
        Some(length) => {
            grown.truncate(length);
            Ok(grown)
        }
        None => Err(ReadError::damaged(name, "its grown form is too short")),
    }
}

/// Reads the hashes of a tree from its tiles.
#[derive(Debug)]
pub struct TreeReader<'t> {
    trail: &'t TrailReader,
    size: u64,
    tiles: RefCell<HashMap<TileId, Vec<Hash>>>,
}

/// Maximum number of tiles that are kept while proofs are made. Fixed: bounds the memory;
/// what is forgotten is read again.
const TILES_MAX: usize = 256;

impl HashReader for TreeReader<'_> {
    type Error = ReadError;

    fn read_hash(&self, height: u32, index: u64) -> Result<Hash, ReadError> {
        let (level, within) = (height / 8, height % 8);
        let first = index << within;
        let kind = TileKind::Hashes(u8::try_from(level).unwrap_or(u8::MAX));
        let missing = || ReadError::Missing(format!("hash {index} of height {height}"));
        let id = TileId::in_tree(kind, first / TILE_WIDTH as u64, self.size).ok_or_else(missing)?;
        let mut tiles = self.tiles.borrow_mut();
        if !tiles.contains_key(&id) {
            if tiles.len() >= TILES_MAX {
                tiles.clear();
            }
            tiles.insert(id, hashes(&self.trail.tile(id)?));
        }
        let row = tiles.get(&id).ok_or_else(missing)?;
        let from = usize::try_from(first % TILE_WIDTH as u64).unwrap_or(0);
        let some = row.get(from..from + (1 << within)).ok_or_else(missing)?;
        perfect_root(some.to_vec()).ok_or_else(missing)
    }
}

/// Splits a tile into its hashes.
pub(crate) fn hashes(tile: &[u8]) -> Vec<Hash> {
    tile.chunks_exact(32)
        .filter_map(|chunk| chunk.try_into().ok())
        .collect()
}
