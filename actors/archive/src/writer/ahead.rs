//! The end of an archive that has commits which the store has lost.

use data_encoding::HEXLOWER;

use super::now;
use crate::{
    ArchiveError, document,
    part::{PartHash, PartHeader},
    point::{Point, PointKind},
    storage::Storage,
    survey::{Generation, headers},
};

/// The end of an archive.
#[derive(Clone, Debug)]
pub struct Ahead {
    header: PartHeader,
    hash: PartHash,
    pages: u32,
    sum: String,
}

impl Ahead {
    /// Returns the last known commit that ends a part; `None` if there is none after a snapshot.
    pub(super) fn of(
        storage: &dyn Storage,
        generation: &Generation,
    ) -> Result<Option<Self>, ArchiveError> {
        for object in generation.parts.iter().rev() {
            for (header, hash) in headers(storage, &generation.id, object)?.into_iter().rev() {
                if !header.ends_commit || !header.ends_known {
                    continue;
                }
                let mut snapshots = generation.snapshots.iter();
                if !snapshots.any(|it| it.exact_after <= header.number) {
                    return Ok(None);
                }
                let mut snapshots = generation.snapshots.iter();
                let exact = snapshots.find(|it| it.exact_after == header.number);
                // The sum in the header may have been computed before the copy was complete.
                let (pages, sum) = match exact {
                    Some(snapshot) => (snapshot.pages, snapshot.sum.clone()),
                    None => (header.pages, header.sum.clone()),
                };
                return Ok(Some(Self {
                    header,
                    hash,
                    pages,
                    sum,
                }));
            }
        }
        Ok(None)
    }

    /// Makes a restore point there.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`].
    pub fn mark(
        &self,
        storage: &dyn Storage,
        id: &str,
        label: &str,
    ) -> Result<Point, ArchiveError> {
        let header = &self.header;
        let point = Point {
            v: document::VERSION,
            id: id.to_owned(),
            hive: header.hive.clone(),
            generation: header.generation.clone(),
            part: header.number,
            part_hash: HEXLOWER.encode(&self.hash),
            kind: PointKind::Automatic,
            label: label.to_owned(),
            timeline: header.timeline,
            seq: header.last.seq,
            at: header.last.at,
            created_at: now(),
            pages: self.pages,
            page_bytes: header.page_bytes,
            sum: self.sum.clone(),
            files: header.files.clone(),
        };
        point.write(storage)?;
        Ok(point)
    }
}
