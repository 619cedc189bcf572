//! Restore points at the end of the archive.

use data_encoding::HEXLOWER;

use super::{GenerationWriter, now};
use crate::{
    ArchiveError,
    part::PartHeader,
    point::{Point, PointKind},
};

impl GenerationWriter {
    /// Makes a restore point behind the last part.
    ///
    /// # Errors
    /// [`ArchiveError::NoSuchPoint`] if the archive does not end with a commit, or no snapshot
    /// is complete; [`ArchiveError::Storage`].
    pub fn mark(&self, id: &str, kind: PointKind, label: &str) -> Result<Point, ArchiveError> {
        let is_current = self.pending.is_none();
        let last = self.last.as_ref();
        let ends = |header: &PartHeader| header.ends_commit && header.ends_known;
        let last = last.filter(|(header, _)| is_current && ends(header));
        let Some((header, hash)) = last else {
            let reason = "the archive does not end with a commit yet";
            return Err(ArchiveError::NoSuchPoint(reason.into()));
        };
        if self.is_first_copy() {
            let reason = "the first snapshot is not complete yet";
            return Err(ArchiveError::NoSuchPoint(reason.into()));
        }
        let point = Point {
            v: 1,
            id: id.to_owned(),
            hive: header.hive.clone(),
            generation: header.generation.clone(),
            part: header.number,
            part_hash: HEXLOWER.encode(hash),
            kind,
            label: label.to_owned(),
            timeline: header.timeline,
            seq: header.last.seq,
            at: header.last.at,
            created_at: now(),
            pages: self.marks.sum().pages,
            page_bytes: header.page_bytes,
            sum: self.marks.sum().digits(),
            files: header.files.clone(),
        };
        self.is_there()?;
        point.write(&*self.needs.storage)?;
        Ok(point)
    }
}
