//! The writer of file parts.

use std::{io, path::Path};

use data_encoding::HEXLOWER;

use super::{
    FilesAt,
    changes::{self, Change, OnDisk, Stamp, Work, differences},
    keys::{self, Listing},
    part::{self, BasePlace, Entry, Facts, Header, Put},
    replay::Source,
    state::{Files, Object},
};
use crate::{
    ArchiveError, Needs, document,
    frame::{self, NO_PART, PartHash},
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
/// Changes in one part. Fixed: bounds its list.
const ENTRIES_MAX: usize = 4_096;
/// Age of a base at which another one is due if anything was shipped since, in milliseconds. Fixed:
/// bytes of removed files stay in objects until a base leaves these behind.
const BASE_AGE_MS: i64 = 86_400_000;

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
    /// Continues the file parts of a generation, or begins them with the files that the generation
    /// before has.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`]: repeat the call.
    pub fn open(needs: Needs, generation: &str) -> Result<Self, ArchiveError> {
        let storage = needs.storage.clone();
        let listing = Listing::of(&*storage, &needs.hive)?;
        let source = Source {
            storage: &*storage,
            hive: &needs.hive,
            listing: &listing,
        };
        let newest = listing.of_generation(generation).keys().next_back();
        let newest = newest.copied().unwrap_or(0);
        let mut writer = Self::new(needs.clone(), generation, newest);
        let continued = match newest {
            0 => writer.inherited(&source)?,
            _ => lenient(source.replay(generation, None))?,
        };
        match continued {
            // Lost parts: everything is shipped again, behind a new base.
            None => {}
            Some(found) if newest > 0 => {
                writer.number = found.number;
                writer.hash = found.hash;
                writer.parts_since = found.parts_since;
                writer.bytes_since = found.bytes_since;
                writer.base_at = found.base_at;
                writer.files = found.files;
                writer.forget_lost(&listing);
                return Ok(writer);
            }
            Some(found) => writer.files = found.files,
        }
        writer.forget_lost(&listing);
        writer.begin_listing();
        writer.settle()?;
        Ok(writer)
    }

    fn new(needs: Needs, generation: &str, number: u64) -> Self {
        Self {
            needs,
            generation: generation.to_owned(),
            files: Files::default(),
            number,
            hash: NO_PART,
            parts_since: 0,
            bytes_since: 0,
            base_at: 0,
            entries: Vec::new(),
            content: Vec::new(),
            object: None,
            pending: None,
            listing: None,
            work: None,
            has_begun_base: false,
            again: Vec::new(),
            left: Vec::new(),
            trusts_stamps: true,
        }
    }

    /// Returns the files of the generation that this one continues.
    fn inherited(
        &mut self,
        source: &Source<'_>,
    ) -> Result<Option<super::replay::Replayed>, ArchiveError> {
        let survey = crate::Survey::of(source.storage, source.hive)?;
        let lineage = crate::lineage::of(&survey, &self.generation);
        let Some(before) = lineage.get(1) else {
            return Ok(None);
        };
        let beginnings = survey.generations.iter();
        let beginning = beginnings
            .filter(|it| it.id == *before)
            .find_map(|it| it.beginning.as_ref());
        self.trusts_stamps = beginning.is_some_and(|it| it.instance == self.needs.instance);
        lenient(source.replay(before, None))
    }

    /// Forgets files whose bytes are not in the archive any more: they are shipped again.
    fn forget_lost(&mut self, listing: &Listing) {
        let objects = &self.files.objects;
        let has: Vec<bool> = { objects.iter() }
            .map(|it| listing.has(&it.generation, it.number))
            .collect();
        let is_whole = |file: &super::state::File| {
            { file.extents.iter() }.all(|extent| has[extent.object as usize])
        };
        self.files.files.retain(|_, file| is_whole(file));
    }

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
    /// a whole. The file before it must be shipped.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn change(
        &mut self,
        name: &str,
        path: &Path,
        change: Change,
        head: u64,
    ) -> io::Result<()> {
        let on_disk = OnDisk {
            path,
            head,
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
        let is_left = |file: &super::state::File| {
            { file.extents.iter() }.any(|it| self.left[it.object as usize])
        };
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

    fn begin_listing(&mut self) {
        self.listing = Some(Listed {
            first: self.number + 1,
            after: None,
        });
    }

    fn list_more(&mut self) -> Result<(), ArchiveError> {
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

/// Returns what was found; what is lost of it is as good as nothing.
fn lenient<T>(found: Result<Option<T>, ArchiveError>) -> Result<Option<T>, ArchiveError> {
    match found {
        Err(error) if error.may_pass() => Err(error),
        found => Ok(found.ok().flatten()),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
