//! Snapshots: copies of the database file, made while it is written to.

use serde::{Deserialize, Serialize};

use crate::{
    ArchiveError, document, layout::Keys, log::is_page_size, marks::PageSum, part::PIECE_MAX_BYTES,
    storage::Storage,
};

/// A piece of the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// Size before its compression, in bytes.
    pub(crate) bytes: u64,
    /// SHA-256 of the compressed object, in hexadecimal digits.
    pub(crate) sha256: String,
}

/// A copy of the database file that is complete, with the parts of the log that make it exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub(crate) v: u32,
    /// Id of the snapshot.
    pub id: String,
    pub(crate) hive: String,
    /// The generation that it is in.
    pub generation: String,
    /// Number of the first part to apply: the first of the log that was in use when the copy
    /// began.
    pub(crate) replay_from: u64,
    /// Number of the first part after which the database is exact.
    pub(crate) exact_after: u64,
    pub(crate) page_bytes: u32,
    /// Size of the database after that part, in pages.
    pub(crate) pages: u32,
    /// Sum of the marks of its pages, in hexadecimal digits.
    pub(crate) sum: String,
    pub(crate) chunks: Vec<Chunk>,
    /// Time at which the copy began, in milliseconds since 1970.
    pub began_at: i64,
    /// Time at which it was complete, in milliseconds since 1970.
    pub completed_at: i64,
}

impl Snapshot {
    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<(), ArchiveError> {
        let keys = Keys::new(&self.hive, &self.generation);
        document::write(storage, &keys.snapshot(&self.id), self)
    }

    pub(crate) fn read(storage: &dyn Storage, keys: &Keys, id: &str) -> Result<Self, ArchiveError> {
        let key = keys.snapshot(id);
        let snapshot: Self = document::read(storage, &key)?;
        let is_it = snapshot.id == id
            && snapshot.hive == keys.hive
            && snapshot.generation == keys.generation;
        let damaged = |reason: &str| Err(ArchiveError::damaged(storage.address(&key), reason));
        match is_it {
            true if !snapshot.is_possible() => damaged("it has values that no snapshot has"),
            true => Ok(snapshot),
            false => Err(ArchiveError::damaged(
                storage.address(&key),
                format!("it is snapshot {} of {}", snapshot.id, snapshot.generation),
            )),
        }
    }

    /// Returns whether the values are such that a snapshot can have.
    fn is_possible(&self) -> bool {
        let sizes = self.chunks.iter().map(|chunk| chunk.bytes);
        is_page_size(self.page_bytes)
            && self.page_sum().is_some()
            && self.replay_from <= self.exact_after
            && { sizes }.all(|bytes| bytes <= PIECE_MAX_BYTES)
    }

    /// Returns the checksum over all pages after the part that makes the copy exact.
    pub(crate) fn page_sum(&self) -> Option<PageSum> {
        PageSum::parse(self.pages, &self.sum)
    }

    /// Returns the size of the copy, in bytes.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.bytes).sum()
    }
}
