//! Lists of all files, and the objects that they leave behind.

use super::{FilesWriter, Listed, Pending, part};
use crate::{
    ArchiveError,
    files::{part::BasePlace, state::File},
    writer::now,
};

/// Objects of a smaller size are put together with the next base, in bytes. Fixed: reading such an
/// object costs as much as reading none.
const SMALL_BYTES: u64 = 64 << 10;
/// Parts after a base at which another one is due, and the number of files for each further part.
/// Fixed: a restore and a start read the parts since a base, and each base lists all files.
const PARTS_SINCE_BASE: u64 = 1_024;
/// Files for which a base waits for one more part. Fixed: as above.
const FILES_FOR_PART: u64 = 16;
/// Bytes after a base at which another one is due. Fixed: a start reads them.
const BYTES_SINCE_BASE: u64 = 256 << 20;
/// Age of a base at which another one is due if anything was shipped since, in milliseconds. Fixed:
/// bytes of removed files stay in objects until a base leaves these behind.
const BASE_AGE_MS: i64 = 86_400_000;

impl FilesWriter {
    /// Returns whether a base is due.
    pub fn is_base_due(&self) -> bool {
        let parts = PARTS_SINCE_BASE.max(self.count() as u64 / FILES_FOR_PART);
        let is_old = self.parts_since > 0 && now().saturating_sub(self.base_at) >= BASE_AGE_MS;
        let is_long = self.parts_since >= parts || self.bytes_since >= BYTES_SINCE_BASE;
        !self.has_begun_base && !self.is_busy() && (is_long || is_old)
    }

    /// Begins a base. Returns the names of files that are to be moved to other objects before it is
    /// [written](Self::write_base), by a [change](Self::change): objects that are small, or have
    /// bytes that no file has any more, are left behind.
    pub fn begin_base(&mut self) -> Vec<String> {
        self.has_begun_base = true;
        let live = self.files.live();
        let objects = self.files.objects.iter().zip(live);
        self.left = objects
            .map(|(object, live)| object.bytes < SMALL_BYTES || live < object.bytes)
            .collect();
        let is_left = |file: &File| { file.extents.iter() }.any(|it| self.left[it.object as usize]);
        let files = self.files.files.iter();
        let moved = files.filter(|(_, file)| is_left(file));
        moved.map(|(name, _)| name.clone()).collect()
    }

    /// Returns whether a base was begun, and waits to be written.
    pub fn has_begun_base(&self) -> bool {
        self.has_begun_base
    }

    /// Writes the base that was begun with the next steps. All changes must be shipped.
    pub fn write_base(&mut self) {
        self.begin_listing();
    }

    pub(super) fn begin_listing(&mut self) {
        self.listing = Some(Listed {
            first: self.number + 1,
            after: None,
        });
    }

    pub(super) fn list_more(&mut self) -> Result<(), ArchiveError> {
        let Some(listed) = &self.listing else {
            return Ok(());
        };
        let most = self.needs.piece_max_bytes;
        let (list, last) = self.files.list(listed.after.as_deref(), most);
        let base = BasePlace {
            first: listed.first,
            is_last: last.is_none(),
        };
        let mut header = self.header(Some(base));
        let encoded = part::encode(&mut header, &list, &[], self.needs.level);
        let (bytes, hash) = encoded.map_err(|source| self.failed(source))?;
        self.pending = Some(Pending {
            key: self.key(true),
            bytes,
            hash,
            content_bytes: 0,
            base: Some(base),
        });
        self.listing = last.map(|last| Listed {
            first: base.first,
            after: Some(last),
        });
        Ok(())
    }
}
