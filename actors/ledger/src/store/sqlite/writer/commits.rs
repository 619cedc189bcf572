//! A file beside the log with the place, the number and the time of each commit in it: a start
//! finds there what the log itself does not say. It is not synced: entries that a loss of power
//! takes are commits whose number is not known.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use deia_model::Timestamp;

use crate::LogEnd;

/// Size of an entry, in bytes: two words of the mark, the frames, the sequence number, the time,
/// and a checksum of these. Fact: the format of the file.
const ENTRY_BYTES: usize = 32;

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) end: LogEnd,
    pub(super) seq: u64,
    pub(super) at: Timestamp,
}

/// The file, which has the commits of one log.
#[derive(Debug)]
pub(super) struct CommitFile {
    file: File,
    salts: Option<[u32; 2]>,
}

impl CommitFile {
    /// Opens the file, and returns the commits of a log that ends with `end`, in order.
    pub(super) fn open(path: &Path, end: Option<LogEnd>) -> io::Result<(Self, Vec<Entry>)> {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true);
        let mut file = options.mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut entries: Vec<Entry> = Vec::new();
        for entry in bytes.chunks_exact(ENTRY_BYTES).map_while(decode) {
            let before = entries.last().map_or(0, |it| it.end.frames);
            let is_of =
                |end: LogEnd| end.salts == entry.end.salts && entry.end.frames <= end.frames;
            if !end.is_some_and(is_of) || entry.end.frames <= before {
                break;
            }
            entries.push(entry);
        }
        let kept = entries.len() * ENTRY_BYTES;
        file.set_len(kept as u64)?;
        file.seek(io::SeekFrom::Start(kept as u64))?;
        let salts = end.map(|end| end.salts);
        Ok((Self { file, salts }, entries))
    }

    /// Adds a commit. Those of an earlier log are removed.
    pub(super) fn note(&mut self, entry: Entry) -> io::Result<()> {
        if self.salts != Some(entry.end.salts) {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.salts = Some(entry.end.salts);
        }
        self.file.write_all(&encode(entry))
    }
}

fn encode(entry: Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..4].copy_from_slice(&entry.end.salts[0].to_le_bytes());
    bytes[4..8].copy_from_slice(&entry.end.salts[1].to_le_bytes());
    bytes[8..12].copy_from_slice(&entry.end.frames.to_le_bytes());
    bytes[12..20].copy_from_slice(&entry.seq.to_le_bytes());
    bytes[20..28].copy_from_slice(&entry.at.as_millis().to_le_bytes());
    let sum = checksum(&bytes[..28]);
    bytes[28..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Entry> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    if word(28)? != checksum(bytes.get(..28)?) {
        return None;
    }
    Some(Entry {
        end: LogEnd {
            salts: [word(0)?, word(4)?],
            frames: word(8)?,
        },
        seq: long(12)?,
        at: Timestamp::from_millis(long(20)?.cast_signed()),
    })
}

/// Returns a checksum that tells an entry from bytes that were not written: FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(salt: u32, frames: u32) -> Entry {
        Entry {
            end: LogEnd {
                salts: [salt, 7],
                frames,
            },
            seq: u64::from(frames) * 10,
            at: Timestamp::from_millis(i64::from(frames) * 1_000),
        }
    }

    #[test]
    fn commits_of_the_log_are_found_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commits");
        let (mut file, found) = CommitFile::open(&path, None).unwrap();
        assert_eq!(found, []);
        for it in [entry(1, 2), entry(2, 3), entry(2, 5), entry(2, 9)] {
            file.note(it).unwrap();
        }
        let find = |salt, frames| {
            let copy = dir.path().join("copy");
            std::fs::copy(&path, &copy).unwrap();
            let end = entry(salt, frames).end;
            CommitFile::open(&copy, Some(end)).unwrap().1
        };
        assert_eq!(find(2, 9), [entry(2, 3), entry(2, 5), entry(2, 9)]);
        assert_eq!(find(2, 8), [entry(2, 3), entry(2, 5)]);
        assert_eq!(find(1, 2), []);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(find(2, 9).len(), at / ENTRY_BYTES, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(find(2, 9).len(), at / ENTRY_BYTES, "cut at {at}");
        }
    }
}
