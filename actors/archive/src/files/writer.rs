//! The writer of file parts.

mod base;
mod opening;

use std::{io, path::Path};

use data_encoding::HEXLOWER;

use super::{
    FilesAt,
    changes::{self, Change, OnDisk, Stamp, Work, differences},
    keys,
    part::{self, BasePlace, Entry, Facts, Header, Put},
    state::{Files, Object},
};
use crate::{
    ArchiveError, Needs, document,
    frame::{self, NO_PART, PartHash},
    writer::now,
};

/// Changes in one part. Fixed: bounds its list.
const ENTRIES_MAX: usize = 4_096;

/// A file part that was encoded, and is not known to be in the archive.
struct Pending {
    key: String,
    bytes: Vec<u8>,
    hash: PartHash,
    content_bytes: u64,
    base: Option<BasePlace>,
}

/// The list of all files, while it is written.
struct Listed {
    first: u64,
    /// Name of the last file that is listed.
    after: Option<String>,
}

/// The writer of the file parts of a generation. After an error that
/// [may pass](ArchiveError::may_pass) the same call may be repeated.
pub struct FilesWriter {
    needs: Needs,
    generation: String,
    files: Files,
    /// Number and hash of the last part.
    number: u64,
    hash: PartHash,
    parts_since: u64,
    bytes_since: u64,
    base_at: i64,
    /// Changes that are not encoded: they are in `files` already.
    entries: Vec<Entry>,
    content: Vec<u8>,
    /// Index of the object with these changes, once there is one.
    object: Option<u32>,
    pending: Option<Pending>,
    listing: Option<Listed>,
    work: Option<Work>,
    /// Names of files that changed while they were read.
    again: Vec<String>,
    /// Objects that are left behind by the next base.
    left: Vec<bool>,
    has_begun_base: bool,
    /// True if files of the same size and time are those of the archive.
    trusts_stamps: bool,
}

impl FilesWriter {
    /// Returns the end of the shipped files.
    pub fn at(&self, is_complete: bool) -> FilesAt {
        FilesAt::new(self.number, &self.hash, is_complete)
    }

    /// Returns the number of files in the archive.
    pub fn count(&self) -> usize {
        self.files.files.len()
    }

    /// Returns whether the archive has a file of that size and time.
    pub fn has(&self, name: &str, stamp: Stamp) -> bool {
        let file = self.files.files.get(name).filter(|_| self.trusts_stamps);
        file.is_some_and(|file| {
            file.length() == stamp.bytes
                && file.facts.modified == stamp.modified
                && file.facts.mode == stamp.mode
        })
    }

    /// Notes that all files were looked at: from now on their sizes and times are those of this
    /// data directory.
    pub fn looked_at_all(&mut self) {
        self.trusts_stamps = true;
    }

    /// Returns the names of the files below a name.
    pub fn below(&self, name: &str) -> Vec<String> {
        self.files.below(name)
    }

    /// Returns the mark of a small file, if the archive has it.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.files.files.get(name).map(|it| it.facts.tag.as_str())
    }

    /// Returns whether there is something to ship.
    pub fn is_busy(&self) -> bool {
        let is_drafted = !self.entries.is_empty() || self.pending.is_some();
        is_drafted || self.listing.is_some() || self.work.is_some()
    }

    /// Takes the names of files that became shorter while they were read: look at them again.
    pub fn take_again(&mut self) -> Vec<String> {
        std::mem::take(&mut self.again)
    }

    /// Writes what an earlier call has left. Must precede changes.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn ready(&mut self) -> Result<(), ArchiveError> {
        while self.settle()? {}
        Ok(())
    }

    /// Compares a file with the archive, for the next [steps](Self::step) to ship the difference. A
    /// file that is gone is noted as gone. `head` is the size of its beginning that is replaced as
    /// a whole, and nothing behind `limit` is taken. The file before it must be shipped.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn change(
        &mut self,
        name: &str,
        path: &Path,
        change: Change,
        (head, limit): (u64, u64),
    ) -> io::Result<()> {
        let on_disk = OnDisk {
            path,
            head,
            limit,
            piece: self.piece(),
        };
        let left = &self.left;
        let repacked = |extent: &super::state::Extent| {
            left.get(extent.object as usize).copied().unwrap_or(false)
        };
        let known = self.files.files.get(name);
        match differences(name, &on_disk, known, change, repacked) {
            Ok(work) => self.work = work,
            Err(error) if is_gone(&error) => self.gone(name),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Notes that a file, or all files below that name, are gone.
    pub fn gone(&mut self, name: &str) {
        if !self.files.files.contains_key(name) && self.files.below(name).is_empty() {
            return;
        }
        let entry = Entry {
            name: name.to_owned(),
            put: None,
        };
        self.draft(entry);
    }

    /// Takes the whole content of a small file. `tag` is a mark by which its maker knows it.
    pub fn replace(&mut self, name: &str, bytes: &[u8], stamp: Stamp, tag: &str) {
        let count = bytes.len() as u64;
        let facts = Facts {
            mode: stamp.mode,
            modified: stamp.modified,
            tag: tag.to_owned(),
        };
        self.draft_bytes(name, (0, count), bytes, count, facts);
    }

    fn draft_bytes(
        &mut self,
        name: &str,
        (from, count): (u64, u64),
        bytes: &[u8],
        length: u64,
        facts: Facts,
    ) {
        let put = Put {
            from,
            bytes: count,
            at: self.content.len() as u64,
            sha256: HEXLOWER.encode(&frame::hash(bytes)),
            length,
            facts,
        };
        self.content.extend_from_slice(bytes);
        self.draft(Entry {
            name: name.to_owned(),
            put: Some(put),
        });
    }

    /// Adds a change to the part that is put together, and to the files.
    fn draft(&mut self, entry: Entry) {
        let object = *self.object.get_or_insert_with(|| {
            self.files.add_object(Object {
                generation: self.generation.as_str().into(),
                number: 0,
                hash: NO_PART,
                bytes: 0,
            })
        });
        // The file was compared with this very state: only a name that none can have is refused.
        if self.files.apply(&entry, object).is_ok() {
            self.entries.push(entry);
        }
    }

    fn piece(&self) -> u64 {
        self.needs.piece_max_bytes as u64
    }

    /// Puts changes together, and ships at most one object: a full one, or with `flush` whatever
    /// there is. Returns `true` once nothing is left to do.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`]: repeat the call. [`ArchiveError::Fenced`]: another hive writes
    /// this archive.
    pub fn step(&mut self, flush: bool) -> Result<bool, ArchiveError> {
        self.ready()?;
        let is_full = self.gather();
        if is_full || flush && !self.entries.is_empty() {
            self.encode()?;
            self.settle()?;
        }
        let is_drafted = !self.entries.is_empty() && flush;
        Ok(self.work.is_none() && !is_drafted)
    }

    /// Reads ranges of the file into the draft. Returns whether the draft is full.
    fn gather(&mut self) -> bool {
        let piece = self.piece();
        while let Some(mut work) = self.work.take() {
            let Some(range) = work.ranges.front().copied() else {
                break;
            };
            let drafted = self.content.len() as u64;
            if drafted > 0 && drafted + range.1 > piece {
                self.work = Some(work);
                return true;
            }
            let Ok(Some(bytes)) = changes::read(&work.file, range) else {
                // It became shorter, or cannot be read: it is compared again.
                self.again.push(work.name);
                break;
            };
            work.ranges.pop_front();
            let length = match work.ranges.is_empty() {
                true => work.length,
                false => self.length_after(&work.name, range),
            };
            self.draft_bytes(&work.name, range, &bytes, length, work.facts.clone());
            self.work = Some(work).filter(|it| !it.ranges.is_empty());
        }
        self.content.len() as u64 >= piece || self.entries.len() >= ENTRIES_MAX
    }

    fn length_after(&self, name: &str, (from, count): (u64, u64)) -> u64 {
        let length = { self.files.files.get(name) }.map_or(0, super::state::File::length);
        length.max(from + count)
    }

    /// Puts the drafted changes into a part.
    fn encode(&mut self) -> Result<(), ArchiveError> {
        let mut header = self.header(None);
        let encoded = part::encode(&mut header, &self.entries, &self.content, self.needs.level);
        let (bytes, hash) = encoded.map_err(|source| self.failed(source))?;
        self.pending = Some(Pending {
            key: self.key(false),
            bytes,
            hash,
            content_bytes: header.content_bytes,
            base: None,
        });
        if let Some(index) = self.object.take() {
            let object = &mut self.files.objects[index as usize];
            object.number = header.number;
            object.hash = hash;
            object.bytes = header.content_bytes;
        }
        self.entries.clear();
        self.content.clear();
        Ok(())
    }

    fn header(&self, base: Option<BasePlace>) -> Header {
        Header {
            v: document::VERSION,
            hive: self.needs.hive.clone(),
            generation: self.generation.clone(),
            number: self.number + 1,
            previous: HEXLOWER.encode(&self.hash),
            base,
            written_at: now(),
            body_bytes: 0,
            content_bytes: 0,
        }
    }

    fn key(&self, is_base: bool) -> String {
        keys::part(&self.needs.hive, &self.generation, self.number + 1, is_base)
    }

    fn failed(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Storage {
            place: self.needs.storage.address(&self.key(false)),
            source,
        }
    }

    /// Writes the part that waits, or the next one of a list. Returns whether it has written one.
    fn settle(&mut self) -> Result<bool, ArchiveError> {
        if self.pending.is_none() {
            self.list_more()?;
        }
        let Some(pending) = &self.pending else {
            return Ok(false);
        };
        document::create(&*self.needs.storage, &pending.key, &pending.bytes)?;
        let Some(pending) = self.pending.take() else {
            return Ok(false);
        };
        self.number += 1;
        self.hash = pending.hash;
        self.parts_since += 1;
        self.bytes_since += pending.content_bytes;
        if pending.base.is_some_and(|it| it.is_last) {
            self.parts_since = 0;
            self.bytes_since = 0;
            self.base_at = now();
            self.left.clear();
            self.has_begun_base = false;
            self.files.compact();
        } else if pending.base.is_some() {
            // The rest of the list follows at once: no change comes between.
            self.settle()?;
        }
        Ok(true)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
