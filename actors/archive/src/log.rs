//! The write-ahead log of SQLite as a file: header, frames and their checksums
//! (<https://www.sqlite.org/fileformat2.html#walformat>).

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

/// Size of the header of a log, in bytes.
pub(crate) const HEADER_BYTES: usize = 32;
/// Size of the header of a frame, in bytes.
pub const FRAME_HEADER_BYTES: usize = 24;

/// First word of a log, without the bit for the byte order of its checksums.
const MAGIC: u32 = 0x377f_0682;
/// Bit of the first word that is set if checksums are computed over big-endian words.
const BIG_ENDIAN: u32 = 1;
/// Sizes of a page that SQLite knows, in bytes.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// Returns whether SQLite has pages of that size, in bytes.
pub(crate) fn is_page_size(bytes: u32) -> bool {
    PAGE_BYTES.contains(&bytes) && bytes.is_power_of_two()
}

/// The running checksum of a log.
pub(crate) type Checksum = [u32; 2];

/// The header of a log. A log that is restarted gets other salts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// Byte order of the words that checksums are computed over.
    pub(crate) big_endian: bool,
    /// Size of a page, in bytes.
    pub(crate) page_bytes: u32,
    /// The mark that all frames of this log carry.
    pub salts: [u32; 2],
    /// Checksum that the one of the first frame continues.
    pub(crate) checksum: Checksum,
}

impl LogHeader {
    /// Reads the header of a log; `None` if the bytes are none.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let magic = word(bytes, 0);
        let page_bytes = word(bytes, 8);
        let is_log = magic & !BIG_ENDIAN == MAGIC && is_page_size(page_bytes);
        let header = Self {
            big_endian: magic & BIG_ENDIAN != 0,
            page_bytes,
            salts: [word(bytes, 16), word(bytes, 20)],
            checksum: [word(bytes, 24), word(bytes, 28)],
        };
        let sum = checksum(header.big_endian, [0, 0], &bytes[..24]);
        (is_log && sum == header.checksum).then_some(header)
    }

    /// Returns the size of a frame, in bytes.
    pub(crate) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_bytes as usize
    }
}

/// A frame: a page as a transaction left it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Number of the page, from 1.
    pub(crate) page: u32,
    /// Size of the database in pages if this is the last frame of a transaction, else 0.
    pub(crate) pages: u32,
    /// The content of the page.
    pub(crate) content: &'a [u8],
}

/// Splits whole frames.
pub(crate) fn frames(bytes: &[u8], page_bytes: u32) -> impl Iterator<Item = Frame<'_>> {
    bytes
        .chunks_exact(FRAME_HEADER_BYTES + page_bytes as usize)
        .map(|frame| Frame {
            page: word(frame, 0),
            pages: word(frame, 4),
            content: &frame[FRAME_HEADER_BYTES..],
        })
}

/// A place in a log behind some of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogCursor {
    pub(crate) header: LogHeader,
    /// Number of frames before this place.
    pub(crate) frames: u32,
    /// Checksum of the last of these.
    pub(crate) checksum: Checksum,
}

impl LogCursor {
    /// Returns the beginning of a log.
    pub(crate) fn begin(header: LogHeader) -> Self {
        Self {
            header,
            frames: 0,
            checksum: header.checksum,
        }
    }

    /// Moves behind these frames, after checking that they continue the log here.
    ///
    /// # Errors
    /// Number of the first frame, from 1, that does not.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<(), u32> {
        for frame in bytes.chunks_exact(self.header.frame_bytes()) {
            let sum = checksum(self.header.big_endian, self.checksum, &frame[..8]);
            let sum = checksum(self.header.big_endian, sum, &frame[FRAME_HEADER_BYTES..]);
            let salts = [word(frame, 8), word(frame, 12)];
            let stored = [word(frame, 16), word(frame, 20)];
            if salts != self.header.salts || sum != stored {
                return Err(self.frames + 1);
            }
            self.checksum = sum;
            self.frames += 1;
        }
        Ok(())
    }
}

/// The file of a log, which the store writes meanwhile. SQLite has no locks on this file:
/// closing it here drops none.
#[derive(Debug)]
pub struct LogFile(File);

impl LogFile {
    /// Opens the file.
    ///
    /// # Errors
    /// The file does not exist or cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::open(path)?))
    }

    /// Reads the header; `None` if there is none, since the log was truncated.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn header(&self) -> io::Result<Option<LogHeader>> {
        let mut bytes = [0; HEADER_BYTES];
        match self.0.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(LogHeader::parse(&bytes)),
        }
    }

    /// Returns whether the file has nothing, as after a log was truncated.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.len() == 0)
    }

    /// Reads `count` frames from a place on.
    ///
    /// # Errors
    /// The file cannot be read, or ends before.
    pub(crate) fn read(&self, from: &LogCursor, count: u32) -> io::Result<Vec<u8>> {
        let frame = from.header.frame_bytes();
        let mut bytes = vec![0; frame * count as usize];
        let start = HEADER_BYTES as u64 + u64::from(from.frames) * frame as u64;
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|it| it.try_into().ok());
    word.map_or(0, u32::from_be_bytes)
}

/// Continues a checksum over bytes, a multiple of 8.
fn checksum(big_endian: bool, [mut a, mut b]: Checksum, bytes: &[u8]) -> Checksum {
    let read = match big_endian {
        true => u32::from_be_bytes,
        false => u32::from_le_bytes,
    };
    for pair in bytes.chunks_exact(8) {
        let first = read([pair[0], pair[1], pair[2], pair[3]]);
        let second = read([pair[4], pair[5], pair[6], pair[7]]);
        a = a.wrapping_add(first).wrapping_add(b);
        b = b.wrapping_add(second).wrapping_add(a);
    }
    [a, b]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_real_log_are_passed_and_a_changed_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE a (x); INSERT INTO a VALUES (randomblob(20000));",
        )
        .unwrap();
        let log = LogFile::open(&path.with_extension("db-wal")).unwrap();
        let header = log.header().unwrap().unwrap();
        let length = log.0.metadata().unwrap().len() as usize - HEADER_BYTES;
        let count = u32::try_from(length / header.frame_bytes()).unwrap();
        assert!(count > 5);
        let begin = LogCursor::begin(header);
        let bytes = log.read(&begin, count).unwrap();
        let mut cursor = begin;
        assert_eq!(cursor.pass(&bytes), Ok(()));
        assert_eq!(cursor.frames, count);
        let last = frames(&bytes, header.page_bytes).last().unwrap();
        let pages: u32 = db
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        assert_eq!(last.pages, pages);
        let mut changed = bytes.clone();
        changed[header.frame_bytes() * 2 + 100] ^= 1;
        assert_eq!(begin.clone().pass(&changed), Err(3));
    }

    #[test]
    fn bytes_that_are_no_header_are_none() {
        assert_eq!(LogHeader::parse(&[0; HEADER_BYTES]), None);
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[8..12].copy_from_slice(&4_096_u32.to_be_bytes());
        assert_eq!(LogHeader::parse(&bytes), None);
    }
}
