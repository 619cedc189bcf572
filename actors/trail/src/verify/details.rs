//! The files of details: every byte belongs to the header or to a record, and every record to
//! an entry that has its hash.

use std::{fs::File, os::unix::fs::FileExt};

use super::files::{Files, Unreadable};
use crate::{
    details::{BUNDLES, ERASED, HEADER, MAGIC, MAX_DETAILS, RECORD, SEGMENT},
    entry::SALT_BYTES,
    hash::{Hash, of_two},
};

/// Bytes that are read at a time. Fixed: bounds one step, so that others get their turn;
/// the whole has no limit here.
const WINDOW: usize = 256 << 10;

/// A file of details, with its header.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    length: u64,
    /// Offset of the first record of each bundle, 0 if it has none.
    offsets: Vec<u64>,
    window: Window,
}

/// Reason why a file of details is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadSegment {
    Unreadable(Unreadable),
    Header(&'static str),
}

impl std::fmt::Display for BadSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(reason) => reason.fmt(f),
            Self::Header(reason) => f.write_str(reason),
        }
    }
}

/// Returns the name of the file with the details of an entry.
pub(super) fn name_of(segment: u64) -> String {
    format!("private/details/{segment:06}")
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'s> {
    /// Index of the entry.
    pub(super) index: u64,
    /// True if it says that its details were erased.
    pub(super) is_erased: bool,
    /// The salt, and the details behind it.
    pub(super) salted: &'s [u8],
}

impl Record<'_> {
    /// Returns the hash that the entry must have of the details.
    pub(super) fn commitment(&self) -> Hash {
        let (salt, json) = self.salted.split_at(SALT_BYTES.min(self.salted.len()));
        of_two(salt, json)
    }

    /// Returns whether salt and details are all zeros.
    pub(super) fn is_zeroed(&self) -> bool {
        self.salted.iter().all(|byte| *byte == 0)
    }
}

/// A part of a file in memory.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    from: u64,
}

impl Segment {
    /// Opens a file of details and checks its header.
    pub(super) fn open(files: &Files, segment: u64) -> Result<Self, BadSegment> {
        let opened = files.file(&name_of(segment));
        let (file, length) = opened.map_err(BadSegment::Unreadable)?;
        let mut header = vec![0; usize::try_from(HEADER).unwrap_or(0)];
        if length < HEADER || file.read_exact_at(&mut header, 0).is_err() {
            return Err(BadSegment::Header("it is shorter than its header"));
        }
        let (magic, offsets) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(BadSegment::Header("it does not begin as a file of details"));
        }
        let offsets: Vec<u64> = offsets
            .chunks_exact(8)
            .map(|bytes| {
                let mut offset = [0; 8];
                offset.copy_from_slice(bytes);
                u64::from_le_bytes(offset)
            })
            .collect();
        let used: Vec<_> = offsets.iter().copied().filter(|at| *at > 0).collect();
        let is_rising = used.windows(2).all(|pair| pair[0] < pair[1]);
        // Retention overwrites the records of bundles that it removes.
        let starts = used
            .first()
            .is_none_or(|first| is_blank(&file, HEADER, *first));
        if !is_rising || !starts || used.last().is_some_and(|last| *last >= length) {
            return Err(BadSegment::Header(
                "the offsets in its header are not those of its records",
            ));
        }
        Ok(Self {
            file,
            length,
            offsets,
            window: Window::default(),
        })
    }

    /// Returns the records of a bundle.
    pub(super) fn records(&mut self, bundle: u64) -> Records<'_> {
        let within = usize::try_from(bundle % BUNDLES as u64).unwrap_or(0);
        let at = self.offsets.get(within).copied().unwrap_or(0);
        let later = self.offsets.get(within + 1..).unwrap_or(&[]);
        let end = later.iter().copied().find(|at| *at > 0);
        let end = match at {
            0 => 0,
            _ => end.unwrap_or(self.length),
        };
        Records {
            at,
            end,
            first: bundle / BUNDLES as u64 * SEGMENT,
            segment: self,
        }
    }
}

/// Returns whether a part of a file has nothing but zeros.
fn is_blank(file: &File, mut from: u64, to: u64) -> bool {
    let mut bytes = vec![0; WINDOW];
    while from < to {
        let n = usize::try_from(to - from).unwrap_or(WINDOW).min(WINDOW);
        let read = file.read_exact_at(&mut bytes[..n], from);
        if read.is_err() || bytes[..n].iter().any(|b| *b != 0) {
            return false;
        }
        from += n as u64;
    }
    from == to
}

/// Iterates over the records of a bundle.
#[derive(Debug)]
pub(super) struct Records<'s> {
    segment: &'s mut Segment,
    at: u64,
    end: u64,
    /// Index of the first entry of the file.
    first: u64,
}

/// A place in a file that has no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRecord {
    pub(super) offset: u64,
}

impl Records<'_> {
    /// Returns the next record; `None` behind the last one of the bundle.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, NoRecord> {
        let (at, left) = (self.at, self.end.saturating_sub(self.at));
        if left == 0 {
            return Ok(None);
        }
        let none = NoRecord { offset: at };
        if left < RECORD as u64 {
            return Err(none);
        }
        let head = self.segment.bytes(at, RECORD, self.end).ok_or(none)?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (number, length) = (word(0), word(4));
        let is_erased = number & ERASED != 0;
        let number = u64::from(number & !ERASED);
        let whole = RECORD as u64 + u64::from(length);
        if number >= SEGMENT || length == 0 || length > MAX_DETAILS || whole > left {
            return Err(none);
        }
        let whole = usize::try_from(whole).map_err(|_| none)?;
        let bytes = self.segment.bytes(at, whole, self.end).ok_or(none)?;
        self.at = at + whole as u64;
        Ok(Some(Record {
            index: self.first + number,
            is_erased,
            salted: &bytes[RECORD - SALT_BYTES..],
        }))
    }
}

impl Segment {
    /// Returns bytes of the file, and reads ahead up to `end`.
    fn bytes(&mut self, at: u64, length: usize, end: u64) -> Option<&[u8]> {
        let Window { bytes, from } = &mut self.window;
        let is_there = at >= *from && at + length as u64 <= *from + bytes.len() as u64;
        if !is_there {
            let ahead = usize::try_from(end - at).unwrap_or(WINDOW).min(WINDOW);
            bytes.resize(length.max(ahead), 0);
            *from = at;
            if self.file.read_exact_at(bytes, at).is_err() {
                bytes.clear();
                return None;
            }
        }
        let start = usize::try_from(at - *from).ok()?;
        bytes.get(start..start + length)
    }
}
