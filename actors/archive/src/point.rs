//! Restore points: marks in the log, with all that a restore of them compares.

use serde::{Deserialize, Serialize};

use crate::{
    ArchiveError, FilesAt, document, layout, log::is_page_size, marks::PageSum, storage::Storage,
};

/// Reason why a restore point was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointKind {
    /// Made by itself, every `recovery.point_every`.
    Automatic,
    /// Asked for as a mark.
    RestorePoint,
    /// Asked for as a backup: has a snapshot of its own.
    Backup,
}

/// A restore point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    pub(crate) v: u32,
    /// Id of the point.
    pub id: String,
    /// The hive.
    pub hive: String,
    /// The generation that it is in.
    pub generation: String,
    /// Number of the part that it is behind.
    pub part: u64,
    /// Hash of that part, in hexadecimal digits.
    pub(crate) part_hash: String,
    /// The reason why it was made.
    pub kind: PointKind,
    /// The name that its maker gave it.
    pub label: String,
    /// The history of events at this point.
    pub timeline: u64,
    /// Sequence number of the newest event.
    pub seq: u64,
    /// Time of the newest commit, in milliseconds since 1970.
    pub at: i64,
    /// Time at which the point was made, in milliseconds since 1970.
    pub created_at: i64,
    /// Size of the database, in pages.
    pub pages: u32,
    /// Size of a page, in bytes.
    pub page_bytes: u32,
    /// Sum of the marks of all pages, in hexadecimal digits.
    pub(crate) sum: String,
    /// The end of the shipped files; absent if files are not shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<FilesAt>,
}

impl Point {
    /// Returns the place of the point among all: the number of its generation, and its part.
    pub fn order(&self) -> (u64, u64) {
        let number = layout::generation_number(&self.generation);
        (number.unwrap_or(0), self.part)
    }

    /// Writes the point.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`].
    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<(), ArchiveError> {
        document::write(storage, &layout::point(&self.hive, &self.id), self)
    }

    /// Reads a point of a hive.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`], [`ArchiveError::Damaged`] or [`ArchiveError::Storage`].
    pub fn read(storage: &dyn Storage, hive: &str, id: &str) -> Result<Self, ArchiveError> {
        let key = layout::point(hive, id);
        let point: Self = document::read(storage, &key)?;
        let is_possible =
            is_page_size(point.page_bytes) && PageSum::parse(point.pages, &point.sum).is_some();
        match point.id == id && point.hive == hive {
            true if !is_possible => Err(ArchiveError::damaged(
                storage.address(&key),
                "it has values that no restore point has",
            )),
            true => Ok(point),
            false => Err(ArchiveError::damaged(
                storage.address(&key),
                format!("it is point {} of {}", point.id, point.hive),
            )),
        }
    }
}
