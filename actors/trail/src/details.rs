//! The details of entries, with their salts: what an entry only has the hash of.
//!
//! A file holds those of [`SEGMENT`] entries: a magic number, the offsets of the first record
//! of each bundle (0: it has none), and the records in the order of entries. Details are
//! erased in place: the salt and the text become zeros, and the record says so.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    entry::{SALT_BYTES, Salt},
    files::{self, Dirty},
};

/// Number of entries whose details are in one file. Fact: the format of the trail, which
/// its verifiers read.
pub const SEGMENT: u64 = 65_536;
/// Number of bundles of a file. Fact: the format of the trail, which its verifiers read.
pub(crate) const BUNDLES: usize = 256;
pub(crate) const MAGIC: &[u8; 8] = b"deiadet1";
/// Fault of a file whose header cannot be read.
const NO_HEADER: &str = "it does not begin as a file of details";
/// Bytes before the first record. Fact: the format of the trail, which its verifiers
/// read.
pub const HEADER: u64 = 8 + 8 * BUNDLES as u64;
/// Bytes of a record before its text: index and flags, length, salt. Fact: the format of
/// the trail, which its verifiers read.
pub(crate) const RECORD: usize = 4 + 4 + SALT_BYTES;
/// Flag of a record whose details were erased. Fact: the format of the trail, which its
/// verifiers read.
pub(crate) const ERASED: u32 = 1 << 31;
/// Bytes that are gathered before they are written. Fixed: a buffer, whose size changes
/// nothing that can be seen.
const GATHERED: usize = 1 << 20;
/// Maximum size of the details of an entry that are read, in bytes. Fixed: far above any
/// real file, so that a wrong one does not fill the memory.
pub(crate) const MAX_DETAILS: u32 = 16 << 20;

/// The details of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Details {
    /// They are stored.
    Kept {
        /// The salt of their hash.
        salt: Salt,
        /// JSON.
        json: Vec<u8>,
    },
    /// They were erased.
    Erased,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index of the entry.
    pub index: u64,
    /// The details.
    pub details: Details,
    /// Place of the record in its file.
    offset: u64,
}

/// Returns the path of a file of details.
pub(crate) fn path_of(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:06}"))
}

fn bundle_of(index: u64) -> usize {
    usize::try_from(index % SEGMENT / BUNDLES as u64).unwrap_or(0)
}

/// Appends details.
#[derive(Debug)]
pub(crate) struct DetailsWriter {
    dir: PathBuf,
    segment: u64,
    file: Option<File>,
    offsets: Box<[u64; BUNDLES]>,
    /// The offsets that the file has.
    written: Box<[u64; BUNDLES]>,
    /// Offset after the last record.
    end: u64,
    /// Records that are not written yet; they belong at `end - gathered.len()`.
    gathered: Vec<u8>,
}

/// The end of the details of a trail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Number of entries.
    pub(crate) size: u64,
    /// The last entry with details in the last bundle, if it has one.
    pub(crate) last: Option<u64>,
}

impl DetailsWriter {
    /// Opens the details of a trail that ends there. Later records, which belong to no entry,
    /// are cut off; what is damaged is left as it is.
    pub(crate) fn open(dir: PathBuf, end: End) -> io::Result<Self> {
        let segment = end.size / SEGMENT;
        for stray in segments(&dir)?.into_iter().filter(|n| *n > segment) {
            fs::remove_file(path_of(&dir, stray))?;
        }
        let mut writer = Self {
            segment,
            file: None,
            offsets: Box::new([0; BUNDLES]),
            written: Box::new([0; BUNDLES]),
            end: HEADER,
            gathered: Vec::new(),
            dir,
        };
        let path = path_of(&writer.dir, segment);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(writer),
            Err(error) => return Err(error),
        };
        let Some(offsets) = read_offsets(&file)? else {
            if end.size.is_multiple_of(SEGMENT) {
                // It was made for entries that are not in the trail.
                files::remove(&path)?;
            } else {
                fs::rename(&path, path.with_extension("damaged"))?;
            }
            return Ok(writer);
        };
        writer.written = Box::new(offsets);
        let bundle = bundle_of(end.size);
        for (slot, offset) in writer.offsets.iter_mut().zip(offsets).take(bundle + 1) {
            *slot = offset;
        }
        writer.end = writer.find_end(&file, end)?;
        if let Some(slot) = writer.offsets.get_mut(bundle)
            && *slot >= writer.end
        {
            *slot = 0;
        }
        file.set_len(writer.end)?;
        writer.file = Some(file);
        Ok(writer)
    }

    /// Returns the offset behind the last record that belongs to an entry; the end of the file
    /// if a record before it is damaged.
    fn find_end(&self, file: &File, end: End) -> io::Result<u64> {
        let length = file.metadata()?.len();
        let bundles = self.offsets.iter().rev();
        let from = bundles
            .copied()
            .find(|offset| (HEADER..length).contains(offset));
        let Some(mut at) = from else {
            return Ok(if end.last.is_some() { length } else { HEADER });
        };
        let (mut after, mut found) = (at, None);
        while let Some(head) = read_head(file, self.segment, at)? {
            if head.index >= end.size || found.is_some_and(|found| head.index <= found) {
                break;
            }
            at += RECORD as u64 + u64::from(head.length);
            if at > length {
                break;
            }
            (after, found) = (at, Some(head.index));
        }
        let is_whole = end
            .last
            .is_none_or(|last| found.is_some_and(|found| found >= last));
        Ok(if is_whole { after } else { length })
    }

    /// Removes the details of the entries before `upto`, a multiple of 256.
    pub(crate) fn remove_before(&mut self, upto: u64) -> io::Result<()> {
        for segment in segments(&self.dir)? {
            let path = path_of(&self.dir, segment);
            let first = segment * SEGMENT;
            if first + SEGMENT <= upto {
                files::remove(&path)?;
            } else if first < upto {
                let kept_from = usize::try_from((upto - first) / BUNDLES as u64).unwrap_or(0);
                self.blank(&path, segment, kept_from)?;
            }
        }
        Ok(())
    }

    /// Overwrites the records of the first bundles of a file with zeros.
    fn blank(&mut self, path: &Path, segment: u64, kept_from: usize) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let Some(mut offsets) = read_offsets(&file)? else {
            return Ok(());
        };
        let length = file.metadata()?.len();
        let end = offsets[kept_from..]
            .iter()
            .copied()
            .find(|offset| *offset > 0);
        let end = end.unwrap_or(length).min(length);
        let zeros = vec![0; GATHERED];
        let mut at = HEADER;
        while at < end {
            let n = usize::try_from(end - at).unwrap_or(GATHERED).min(GATHERED);
            file.write_all_at(&zeros[..n], at)?;
            at += n as u64;
        }
        offsets[..kept_from].fill(0);
        if segment == self.segment {
            self.offsets[..kept_from].fill(0);
            self.written[..kept_from].fill(0);
        }
        file.write_all_at(&header_of(&offsets), 0)?;
        file.sync_data()
    }

    fn note_offset(&mut self, index: u64, offset: u64) {
        let slot = &mut self.offsets[bundle_of(index)];
        if *slot == 0 {
            *slot = offset;
        }
    }

    /// Adds the details of an entry, which is after all that were added before.
    pub(crate) fn push(
        &mut self,
        index: u64,
        salt: &Salt,
        json: &[u8],
        dirty: &mut Dirty,
    ) -> io::Result<()> {
        if index / SEGMENT != self.segment {
            self.write(dirty)?;
            self.segment = index / SEGMENT;
            self.file = None;
            *self.offsets = [0; BUNDLES];
            *self.written = [0; BUNDLES];
            self.end = HEADER;
        }
        self.note_offset(index, self.end);
        let number = u32::try_from(index % SEGMENT).unwrap_or(0);
        let length = u32::try_from(json.len()).map_err(io::Error::other)?;
        self.gathered.extend(number.to_le_bytes());
        self.gathered.extend(length.to_le_bytes());
        self.gathered.extend(salt);
        self.gathered.extend(json);
        self.end += RECORD as u64 + u64::from(length);
        match self.gathered.len() > GATHERED {
            true => self.write(dirty),
            false => Ok(()),
        }
    }

    /// Writes what was gathered.
    pub(crate) fn write(&mut self, dirty: &mut Dirty) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let path = path_of(&self.dir, self.segment);
        if self.file.is_none() {
            dirty.make_dir_of(&path)?;
            let file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            self.file = Some(file);
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        let at = self.end - self.gathered.len() as u64;
        file.write_all_at(&self.gathered, at)?;
        self.write_offsets(file)?;
        self.gathered.clear();
        self.written.clone_from(&self.offsets);
        dirty.changed(path);
        Ok(())
    }
}

impl DetailsWriter {
    /// Writes the header of a new file, and of another one the offsets that have changed: a
    /// loss of power may leave anything in bytes that were being written, and what is on disk
    /// must stay.
    fn write_offsets(&self, file: &File) -> io::Result<()> {
        if self.is_new() {
            return file.write_all_at(&header_of(&self.offsets), 0);
        }
        for (n, (offset, written)) in self.offsets.iter().zip(self.written.iter()).enumerate() {
            if offset != written {
                let at = MAGIC.len() + 8 * n;
                file.write_all_at(&offset.to_le_bytes(), at as u64)?;
            }
        }
        Ok(())
    }

    /// Returns whether nothing of the file was written.
    fn is_new(&self) -> bool {
        self.end == HEADER + self.gathered.len() as u64
    }
}

/// Returns the numbers of the files of details.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

fn header_of(offsets: &[u64; BUNDLES]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
    header
}

/// Reads the offsets of the bundles of a file; `None` if it has no header.
fn read_offsets(file: &File) -> io::Result<Option<[u64; BUNDLES]>> {
    let mut header = vec![0; usize::try_from(HEADER).unwrap_or(0)];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let (magic, rest) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Ok(None);
    }
    let mut offsets = [0; BUNDLES];
    for (offset, bytes) in offsets.iter_mut().zip(rest.chunks_exact(8)) {
        *offset = u64::from_le_bytes(bytes.try_into().map_err(io::Error::other)?);
    }
    Ok(Some(offsets))
}

/// Reads the details of the entries of a bundle, in order. Entries without details have no
/// record, and a damaged record hides those behind it.
pub(crate) fn of_bundle(dir: &Path, bundle: u64) -> io::Result<Vec<Record>> {
    let segment = bundle / BUNDLES as u64;
    let within = usize::try_from(bundle % BUNDLES as u64).unwrap_or(0);
    let file = match File::open(path_of(dir, segment)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let offsets = read_offsets(&file)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, NO_HEADER))?;
    let length = file.metadata()?.len();
    let after = offsets[within + 1..].iter().copied().find(|at| *at > 0);
    let (from, to) = (offsets[within], after.unwrap_or(length).min(length));
    if from < HEADER || from >= to {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, from)?;
    let mut records: Vec<Record> = Vec::new();
    let (mut rest, mut offset) = (&bytes[..], from);
    while let Some((record, taken)) = parse(rest, segment, offset) {
        // Leftovers of a power loss are no record.
        let is_next = records.last().is_none_or(|last| record.index > last.index);
        if !is_next || record.index / BUNDLES as u64 != bundle {
            break;
        }
        rest = &rest[taken..];
        offset += taken as u64;
        records.push(record);
    }
    Ok(records)
}

/// Erases details; on disk when this returns. Erasing them again completes an erasure that was
/// interrupted. Returns false if the entry has none.
pub(crate) fn erase(dir: &Path, index: u64) -> io::Result<bool> {
    let records = of_bundle(dir, index / BUNDLES as u64)?;
    let Some(record) = records.iter().find(|record| record.index == index) else {
        return Ok(false);
    };
    let path = path_of(dir, index / SEGMENT);
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let Some(head) = read_head(&file, index / SEGMENT, record.offset)? else {
        return Ok(false);
    };
    let number = u32::try_from(index % SEGMENT).unwrap_or(0) | ERASED;
    file.write_all_at(&number.to_le_bytes(), record.offset)?;
    let zeros = vec![0; SALT_BYTES + usize::try_from(head.length).unwrap_or(0)];
    file.write_all_at(&zeros, record.offset + 8)?;
    file.sync_data()?;
    Ok(true)
}

/// The head of a record.
#[derive(Clone, Copy, Debug)]
struct RecordHead {
    index: u64,
    is_erased: bool,
    length: u32,
}

impl RecordHead {
    /// Reads a head; `None` if it cannot be one.
    fn parse(bytes: &[u8], segment: u64) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?));
        let (number, length) = (word(0)?, word(4)?);
        let within = u64::from(number & !ERASED);
        let is_one = within < SEGMENT && (1..=MAX_DETAILS).contains(&length);
        is_one.then_some(Self {
            index: segment * SEGMENT + within,
            is_erased: number & ERASED != 0,
            length,
        })
    }
}

fn read_head(file: &File, segment: u64, at: u64) -> io::Result<Option<RecordHead>> {
    let mut bytes = [0; 8];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(RecordHead::parse(&bytes, segment)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Parses the first record, and returns how many bytes it has.
fn parse(bytes: &[u8], segment: u64, offset: u64) -> Option<(Record, usize)> {
    let head = RecordHead::parse(bytes, segment)?;
    let (salt, rest) = bytes.get(8..)?.split_first_chunk::<SALT_BYTES>()?;
    let json = rest.get(..usize::try_from(head.length).ok()?)?;
    let details = match head.is_erased {
        true => Details::Erased,
        false => Details::Kept {
            salt: *salt,
            json: json.to_vec(),
        },
    };
    let record = Record {
        index: head.index,
        details,
        offset,
    };
    Some((record, RECORD + json.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(index: u64) -> Details {
        Details::Kept {
            salt: [u8::try_from(index % 200).unwrap(); SALT_BYTES],
            json: format!("{{\"n\":{index}}}").into_bytes(),
        }
    }

    fn push(writer: &mut DetailsWriter, dirty: &mut Dirty, index: u64) {
        if let Details::Kept { salt, json } = kept(index) {
            writer.push(index, &salt, &json, dirty).unwrap();
        }
    }

    fn open(dir: &Path, size: u64, last: Option<u64>) -> io::Result<DetailsWriter> {
        DetailsWriter::open(dir.to_owned(), End { size, last })
    }

    fn read(dir: &Path, index: u64) -> Option<Details> {
        let records = of_bundle(dir, index / 256).unwrap();
        let found = records.into_iter().find(|record| record.index == index);
        found.map(|record| record.details)
    }

    #[test]
    fn details_are_read_cut_off_and_erased() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("details");
        let mut dirty = Dirty::new(dir.path().to_owned(), crate::OnChange::default());
        let mut writer = open(&at, 0, None).unwrap();
        // Not every entry has details, and not every bundle.
        let some = |index: &u64| index.is_multiple_of(3) && !(512..1024).contains(index);
        let indices: Vec<u64> = (0..SEGMENT + 700).filter(some).collect();
        for index in &indices {
            push(&mut writer, &mut dirty, *index);
        }
        writer.write(&mut dirty).unwrap();
        dirty.sync().unwrap();
        for index in [
            0,
            1,
            255,
            256,
            510,
            600,
            1_026,
            SEGMENT - 1,
            SEGMENT + 1,
            SEGMENT + 698,
        ] {
            let expected = some(&index).then(|| kept(index));
            assert_eq!(read(&at, index), expected, "{index}");
        }
        assert!(erase(&at, 1_026).unwrap() && erase(&at, 1_026).unwrap());
        assert!(!erase(&at, 1_027).unwrap());
        assert_eq!(read(&at, 1_026), Some(Details::Erased));
        assert_eq!(read(&at, 1_029), Some(kept(1_029)));

        // A later open cuts off what is beyond the trail, and goes on from there.
        let mut writer = open(&at, 1_030, Some(1_029)).unwrap();
        assert_eq!(segments(&at).unwrap(), [0]);
        assert_eq!(read(&at, 1_032), None);
        push(&mut writer, &mut dirty, 1_031);
        push(&mut writer, &mut dirty, 5_000);
        writer.write(&mut dirty).unwrap();
        for (index, expected) in [
            (1_026, Some(Details::Erased)),
            (1_029, Some(kept(1_029))),
            (1_031, Some(kept(1_031))),
            (1_032, None),
            (5_000, Some(kept(5_000))),
        ] {
            assert_eq!(read(&at, index), expected, "{index}");
        }
    }

    #[test]
    fn torn_record_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("details");
        let mut dirty = Dirty::new(dir.path().to_owned(), crate::OnChange::default());
        let mut writer = open(&at, 0, None).unwrap();
        (0..3).for_each(|index| push(&mut writer, &mut dirty, index));
        writer.write(&mut dirty).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(path_of(&at, 0))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        assert_eq!(read(&at, 1), Some(kept(1)));
        assert_eq!(read(&at, 2), None);
    }

    #[test]
    fn damage_before_the_end_cuts_nothing_off() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("details");
        let mut dirty = Dirty::new(dir.path().to_owned(), crate::OnChange::default());
        let mut writer = open(&at, 0, None).unwrap();
        (0..1_000).for_each(|index| push(&mut writer, &mut dirty, index));
        writer.write(&mut dirty).unwrap();
        let path = path_of(&at, 0);
        let before = fs::read(&path).unwrap();
        // The length of a record of the last bundle.
        let offset = of_bundle(&at, 3).unwrap()[10].offset;
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 4], offset + 4).unwrap();
        let mut writer = open(&at, 1_000, Some(999)).unwrap();
        push(&mut writer, &mut dirty, 1_024);
        writer.write(&mut dirty).unwrap();
        assert!(fs::read(&path).unwrap().len() > before.len());
        assert_eq!(read(&at, 767), Some(kept(767)));
        assert_eq!(read(&at, 777), Some(kept(777)));
        assert_eq!(read(&at, 778), None);
        assert_eq!(read(&at, 1_024), Some(kept(1_024)));
    }

    #[test]
    fn erasure_that_was_interrupted_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("details");
        let mut dirty = Dirty::new(dir.path().to_owned(), crate::OnChange::default());
        let mut writer = open(&at, 0, None).unwrap();
        (0..3).for_each(|index| push(&mut writer, &mut dirty, index));
        writer.write(&mut dirty).unwrap();
        let offset = of_bundle(&at, 0).unwrap()[1].offset;
        let file = OpenOptions::new()
            .write(true)
            .open(path_of(&at, 0))
            .unwrap();
        file.write_all_at(&(1 | ERASED).to_le_bytes(), offset)
            .unwrap();
        assert!(erase(&at, 1).unwrap());
        let text = fs::read(path_of(&at, 0)).unwrap();
        let json = b"{\"n\":1}";
        assert!(!text.windows(json.len()).any(|some| some == json));
        assert_eq!(read(&at, 2), Some(kept(2)));
    }

    #[test]
    fn details_past_retention_are_gone_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("details");
        let mut dirty = Dirty::new(dir.path().to_owned(), crate::OnChange::default());
        let mut writer = open(&at, 0, None).unwrap();
        (0..1_000).for_each(|index| push(&mut writer, &mut dirty, index));
        writer.write(&mut dirty).unwrap();
        writer.remove_before(512).unwrap();
        push(&mut writer, &mut dirty, 1_000);
        writer.write(&mut dirty).unwrap();
        let text = fs::read(path_of(&at, 0)).unwrap();
        let has = |json: &[u8]| text.windows(json.len()).any(|some| some == json);
        assert!(!has(b"{\"n\":511}") && has(b"{\"n\":512}"));
        for (index, expected) in [
            (0, None),
            (511, None),
            (512, Some(kept(512))),
            (1_000, Some(kept(1_000))),
        ] {
            assert_eq!(read(&at, index), expected, "{index}");
        }
    }
}
