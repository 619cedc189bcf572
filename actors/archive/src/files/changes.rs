//! Differences between a file on disk and what the archive has of it.

use std::{
    collections::VecDeque,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use super::{part::Facts, state};
use crate::frame;

/// Permissions of the owner. Fact: chmod(2).
const OWNER: u32 = 0o700;

/// A way in which a file may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Bytes were added at its end. Those of its head may have been replaced.
    Grown,
    /// Any bytes may be others.
    Rewritten,
    /// None: its bytes are to be in another object.
    Moved,
}

/// Size and time of a file: while both are the same its content is taken to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Size, in bytes.
    pub bytes: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub modified: i64,
    /// Permissions of the owner.
    pub mode: u32,
}

impl Stamp {
    /// Returns the stamp of a file.
    pub fn of(file: &Metadata) -> Self {
        let seconds = file.mtime().saturating_mul(1_000_000_000);
        Self {
            bytes: file.len(),
            modified: seconds.saturating_add(file.mtime_nsec()),
            mode: file.mode() & OWNER,
        }
    }
}

/// Ranges of a file that are to be shipped.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) name: String,
    pub(super) file: File,
    pub(super) facts: Facts,
    /// Offset and number of bytes of each; at most the size of a piece.
    pub(super) ranges: VecDeque<(u64, u64)>,
    /// Length of the file once all are shipped.
    pub(super) length: u64,
}

/// A file on disk, and the way in which it is shipped.
#[derive(Debug)]
pub(super) struct OnDisk<'a> {
    pub(super) path: &'a Path,
    /// Size of the beginning that is replaced as a whole, in bytes.
    pub(super) head: u64,
    /// Offset behind which nothing is taken.
    pub(super) limit: u64,
    pub(super) piece: u64,
}

/// Returns the differences; `None` if there are none, or the file is none.
///
/// # Errors
/// The file cannot be read.
pub(super) fn differences(
    name: &str,
    on_disk: &OnDisk<'_>,
    known: Option<&state::File>,
    change: Change,
    repacked: impl Fn(&state::Extent) -> bool,
) -> io::Result<Option<Work>> {
    let file = File::open(on_disk.path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut stamp = Stamp::of(&metadata);
    stamp.bytes = stamp.bytes.min(on_disk.limit);
    let facts = Facts {
        mode: stamp.mode,
        modified: stamp.modified,
        tag: String::new(),
    };
    let none = state::File::default();
    let shipped = known.unwrap_or(&none);
    let had = shipped.length();
    let mut ranges = VecDeque::new();
    let mut kept = had.min(stamp.bytes);
    let is_grown = change == Change::Grown && stamp.bytes >= had;
    let mut offset = 0;
    for extent in &shipped.extents {
        let end = offset + extent.bytes;
        if end > stamp.bytes {
            kept = kept.min(offset);
            break;
        }
        let differs = match change {
            _ if is_grown => on_disk.head > 0 && offset == 0 && !has(&file, offset, extent)?,
            Change::Moved => repacked(extent),
            _ => !has(&file, offset, extent)?,
        };
        if differs {
            merge(&mut ranges, (offset, extent.bytes), on_disk);
        }
        offset = end;
    }
    let mut from = kept;
    while from < stamp.bytes {
        let limit = match from < on_disk.head {
            true => on_disk.head - from,
            false => on_disk.piece,
        };
        let count = limit.min(on_disk.piece).min(stamp.bytes - from);
        ranges.push_back((from, count));
        from += count;
    }
    let is_same = known.is_some_and(|it| it.facts == facts) && had == stamp.bytes;
    if ranges.is_empty() && is_same {
        return Ok(None);
    }
    if ranges.is_empty() {
        // The facts, or the cut, alone.
        ranges.push_back((stamp.bytes, 0));
    }
    Ok(Some(Work {
        name: name.to_owned(),
        file,
        facts,
        ranges,
        length: stamp.bytes,
    }))
}

/// Returns whether the file has these bytes there.
fn has(file: &File, offset: u64, extent: &state::Extent) -> io::Result<bool> {
    let mut bytes = vec![0; usize::try_from(extent.bytes).map_err(io::Error::other)?];
    match file.read_exact_at(&mut bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| frame::hash(&bytes) == extent.sha256),
    }
}

/// Adds a range, to the one before it if both together are a piece. The head stays alone.
fn merge(ranges: &mut VecDeque<(u64, u64)>, (from, count): (u64, u64), on_disk: &OnDisk<'_>) {
    if let Some((begin, before)) = ranges.back_mut()
        && *begin + *before == from
        && *before + count <= on_disk.piece
        && *begin >= on_disk.head
    {
        *before += count;
        return;
    }
    ranges.push_back((from, count));
}

/// Reads a range of a file. Returns `None` if the file is shorter.
pub(super) fn read(file: &File, (from, count): (u64, u64)) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    match file.read_exact_at(&mut bytes, from) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Some(bytes)),
    }
}
