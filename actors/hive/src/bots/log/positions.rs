//! Positions in a bot's log that stay valid through rotations: the position of a line is the number
//! of bytes ever logged before it.
//!
//! A file beside the log, `<path>.at`, says which file begins at which position. It is written when
//! a log file is begun, so it describes the newest file or, after a crash at that moment, the one
//! before.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::older;

/// Number of reads of the files if they are rotated meanwhile. Fixed: a rotation takes
/// microseconds.
const TRIES: u32 = 8;
/// Maximum size of a note, in bytes. Fixed: a buffer, whose size changes nothing that can
/// be seen.
const MAX_NOTE_BYTES: u64 = 64;

/// The position at which a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    inode: u64,
    begins: u64,
}

/// The positions that a file covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    begins: u64,
    length: u64,
}

/// Writes the note of the log at `path`, unless there is one.
pub(super) fn note(path: &Path, file: &Metadata) -> io::Result<()> {
    let known = read_note(path);
    if !file.is_file() || known.is_some_and(|known| known.inode == file.ino()) {
        return Ok(());
    }
    let before = std::fs::metadata(older(path)).ok();
    let ids = |file: &Metadata| (file.ino(), file.len());
    let (_, this) = extents(known, before.as_ref().map(ids), Some(ids(file)));
    let fresh = beside(path, ".at.new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    writeln!(options.open(&fresh)?, "{} {}", file.ino(), this.begins)?;
    std::fs::rename(fresh, beside(path, ".at"))
}

fn read_note(path: &Path) -> Option<Note> {
    let mut text = String::new();
    let file = File::open(beside(path, ".at")).ok()?;
    file.take(MAX_NOTE_BYTES).read_to_string(&mut text).ok()?;
    let (inode, begins) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(Note {
        inode: inode.parse().ok()?,
        begins: begins.parse().ok()?,
    })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Returns the extents of the older and the newer file (inode, length), computed from the note. A
/// missing file is empty.
fn extents(
    note: Option<Note>,
    older: Option<(u64, u64)>,
    newer: Option<(u64, u64)>,
) -> (Extent, Extent) {
    let length = |file: Option<(u64, u64)>| file.map_or(0, |(_, length)| length);
    let noted = |file: Option<(u64, u64)>| {
        note.filter(|note| file.is_some_and(|(inode, _)| inode == note.inode))
    };
    let begins = match (noted(newer), noted(older)) {
        (Some(note), _) => note.begins,
        (None, Some(note)) => note.begins + length(older),
        // The noted file was removed by hand, or there was never a note.
        (None, None) => note.map_or(0, |note| note.begins) + length(older),
    };
    let older = length(older).min(begins);
    let at = |begins, length| Extent { begins, length };
    (at(begins - older, older), at(begins, length(newer)))
}

/// Both files of a log, opened at one moment.
pub(super) struct Whole {
    files: [(Option<File>, Extent); 2],
}

impl Whole {
    /// Opens the log at `path`. A missing log is empty.
    ///
    /// # Errors
    /// The log exists and cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let (newer, before) = (open(path)?, open(&older(path))?);
            let note = read_note(path);
            let ids = |file: &Option<(File, Metadata)>| {
                file.as_ref().map(|(_, meta)| (meta.ino(), meta.len()))
            };
            let inode = |file: &Option<(File, Metadata)>| ids(file).map(|(inode, _)| inode);
            // Rotated between the two opens: the files are not of one moment.
            let now = std::fs::metadata(path).ok().map(|meta| meta.ino());
            if now != inode(&newer) || (now.is_some() && now == inode(&before)) {
                continue;
            }
            let (older, newest) = extents(note, ids(&before), ids(&newer));
            return Ok(Self {
                files: [
                    (before.map(|(file, _)| file), older),
                    (newer.map(|(file, _)| file), newest),
                ],
            });
        }
        Err(io::Error::other("the log is rotated too fast to be read"))
    }

    /// Returns the first position that is still there.
    pub(super) fn begins(&self) -> u64 {
        self.files[0].1.begins
    }

    /// Returns the position after the last byte.
    pub(super) fn ends(&self) -> u64 {
        let last = self.files[1].1;
        last.begins + last.length
    }

    /// Reads at most `max` bytes from that position on.
    pub(super) fn read(&mut self, from: u64, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (file, extent) in &mut self.files {
            let at = from + bytes.len() as u64;
            let left = (extent.begins + extent.length).saturating_sub(at);
            let wanted = left.min(max - bytes.len() as u64);
            if let (Some(file), 1.., true) = (file, wanted, at >= extent.begins) {
                file.seek(SeekFrom::Start(at - extent.begins))?;
                if file.take(wanted).read_to_end(&mut bytes)? as u64 != wanted {
                    break;
                }
            }
        }
        Ok(bytes)
    }
}

fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok(Some((file, metadata)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_follow_from_the_note_and_the_files() {
        let note = |inode, begins| Some(Note { inode, begins });
        let at = |begins, length| Extent { begins, length };
        for (note, older, newer, expected) in [
            (None, None, None, (at(0, 0), at(0, 0))),
            (None, None, Some((1, 5)), (at(0, 0), at(0, 5))),
            (None, Some((1, 5)), Some((2, 3)), (at(0, 5), at(5, 3))),
            (
                note(2, 50),
                Some((1, 5)),
                Some((2, 3)),
                (at(45, 5), at(50, 3)),
            ),
            // The log was rotated, and the new file is not noted or created yet.
            (
                note(1, 45),
                Some((1, 5)),
                Some((2, 3)),
                (at(45, 5), at(50, 3)),
            ),
            (note(1, 45), Some((1, 5)), None, (at(45, 5), at(50, 0))),
            // The files were removed by hand.
            (note(2, 50), None, Some((2, 3)), (at(50, 0), at(50, 3))),
            (note(2, 50), None, Some((3, 3)), (at(50, 0), at(50, 3))),
            (note(2, 50), None, None, (at(50, 0), at(50, 0))),
            (note(2, 3), Some((1, 5)), Some((2, 3)), (at(0, 3), at(3, 3))),
        ] {
            assert_eq!(
                extents(note, older, newer),
                expected,
                "{note:?} {older:?} {newer:?}"
            );
        }
    }
}
