//! The files of a moment, put together from a base and the changes after it.

use super::{
    keys::{self, Listing},
    part::FilePart,
    state::{Files, Object},
};
use crate::{ArchiveError, frame::PartHash, storage::Storage};

/// The files after a file part.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) files: Files,
    /// Number and hash of the part.
    pub(super) number: u64,
    pub(super) hash: PartHash,
    /// Parts after the base, and the size of their content in bytes.
    pub(super) parts_since: u64,
    pub(super) bytes_since: u64,
    /// Time at which the base was written, in milliseconds since 1970.
    pub(super) base_at: i64,
}

/// An archive of a hive, and the listing of its file parts.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) hive: &'a str,
    pub(super) listing: &'a Listing,
}

impl Source<'_> {
    /// Reads a part that is listed.
    pub(super) fn read(&self, generation: &str, number: u64) -> Result<FilePart, ArchiveError> {
        let object = self.listing.of_generation(generation).get(&number);
        let Some(object) = object else {
            let key = keys::part(self.hive, generation, number, false);
            return Err(ArchiveError::Missing {
                place: self.storage.address(&key),
            });
        };
        let of = (number, object.is_base);
        FilePart::read(self.storage, self.hive, generation, of)
    }

    /// Finds the newest whole base up to a part. Returns the numbers of its first and last part.
    pub(super) fn base(
        &self,
        generation: &str,
        upto: u64,
    ) -> Result<Option<(u64, u64)>, ArchiveError> {
        let objects = self.listing.of_generation(generation);
        let mut below = upto.saturating_add(1);
        while let Some((number, _)) = { objects.range(..below) }.rfind(|(_, it)| it.is_base) {
            let part = self.read(generation, *number)?;
            match part.header.base {
                Some(base) if base.first > *number || base.first == 0 => {
                    return Err(part.damaged("it is in a base that is none"));
                }
                Some(base) if base.is_last => return Ok(Some((base.first, *number))),
                Some(base) => below = base.first,
                None => below = *number,
            }
        }
        Ok(None)
    }

    /// Puts the files after a part together; `None` if the generation has none.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`] or [`ArchiveError::Damaged`] names the object that is not sound.
    pub(super) fn replay(
        &self,
        generation: &str,
        upto: Option<u64>,
    ) -> Result<Option<Replayed>, ArchiveError> {
        let newest = self.listing.of_generation(generation).keys().next_back();
        let Some(upto) = upto.or(newest.copied()) else {
            return Ok(None);
        };
        let Some((first, last)) = self.base(generation, upto)? else {
            let key = keys::part(self.hive, generation, 1, true);
            return Err(ArchiveError::Missing {
                place: self.storage.address(&key),
            });
        };
        let mut files = Files::default();
        let (mut before, mut base_at) = (None, 0);
        for number in first..=last {
            let part = self.next(generation, number, before)?;
            let list = part.base()?;
            let taken = files.take_list(list);
            taken.map_err(|reason| part.damaged(reason))?;
            base_at = part.header.written_at;
            before = Some(part.hash);
        }
        let (mut parts_since, mut bytes_since) = (0, 0);
        for number in last + 1..=upto {
            let part = self.next(generation, number, before)?;
            before = Some(part.hash);
            parts_since += 1;
            // A base that was not completed is of no use.
            if part.header.base.is_some() {
                continue;
            }
            bytes_since += part.header.content_bytes;
            let object = files.add_object(Object {
                generation: generation.into(),
                number,
                hash: part.hash,
                bytes: part.header.content_bytes,
            });
            for entry in part.entries()? {
                let applied = files.apply(&entry, object);
                applied.map_err(|reason| part.damaged(format!("{reason}: {}", entry.name)))?;
            }
        }
        files.compact();
        Ok(Some(Replayed {
            files,
            number: upto,
            hash: before.unwrap_or(crate::frame::NO_PART),
            parts_since,
            bytes_since,
            base_at,
        }))
    }

    /// Reads a part, which must follow the one before it.
    fn next(
        &self,
        generation: &str,
        number: u64,
        before: Option<PartHash>,
    ) -> Result<FilePart, ArchiveError> {
        let part = self.read(generation, number)?;
        match before {
            Some(before) if !part.follows(&before) => {
                Err(part.damaged("it does not follow the file part before it"))
            }
            _ => Ok(part),
        }
    }
}
