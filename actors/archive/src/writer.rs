//! The writer of a generation: ships the log, copies the database, makes restore points.

mod ahead;
mod beginning;
mod bundling;
mod copying;
mod marking;
mod resume;

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::HEXLOWER;

pub use self::beginning::Beginning;
#[cfg(test)]
pub(crate) use self::beginning::Link;
pub use self::{
    ahead::Ahead,
    resume::{NEW_ARCHIVE, Resumed, resume},
};
use self::{bundling::Loose, copying::Copying};
use crate::{
    ArchiveError, FilesAt, document,
    layout::Keys,
    log::{LogCursor, LogFile, frames},
    marks::PageMarks,
    part::{self, Commit, NO_PART, PartHash, PartHeader},
    storage::Storage,
};

/// Size of a page of a file that is empty, in bytes: the default of SQLite.
const EMPTY_PAGE_BYTES: u32 = 4_096;

/// An end of the log of a store: the mark of the log, and the number of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The mark that all frames of the log carry.
    pub salts: [u32; 2],
    /// Number of frames.
    pub frames: u32,
}

/// Everything that a writer needs.
#[derive(Clone)]
pub struct Needs {
    /// The storage of the archive.
    pub storage: Arc<dyn Storage>,
    /// Id of the hive.
    pub hive: String,
    /// Identity of its data directory: copies of the directory have others.
    pub instance: String,
    /// Level of compression of zstd.
    pub level: i32,
    /// Maximum size of a part and of a chunk before its compression, in bytes.
    pub piece_max_bytes: usize,
}

/// A part that was encoded, and is not known to be in the archive.
struct Pending {
    key: String,
    bytes: Vec<u8>,
    hash: PartHash,
    header: PartHeader,
}

/// The writer of a generation. After an error that [may pass](ArchiveError::may_pass) the
/// same call may be repeated; after another one the writer is of no use, and a new generation
/// must begin.
pub struct GenerationWriter {
    needs: Needs,
    keys: Keys,
    /// The last part, once there is one.
    last: Option<(PartHeader, PartHash)>,
    /// Number of the first part of the current log.
    log_part: u64,
    cursor: Option<LogCursor>,
    page_bytes: u32,
    marks: PageMarks,
    pending: Option<Pending>,
    copying: Option<Copying>,
    /// Parts that are objects of their own.
    loose: Vec<Loose>,
    /// Keys of parts that are in bundles as well, to be removed.
    leftover: Vec<String>,
    /// Time of the last snapshot, in milliseconds since 1970.
    snapshot_at: i64,
    /// Size of the parts since then, in bytes.
    log_bytes: u64,
    /// The end of the shipped files.
    files: Option<FilesAt>,
}

impl GenerationWriter {
    /// Begins a generation with a snapshot, whose copy begins now. Must be told of all commits
    /// in the current log from its first frame on. The storage must be
    /// [prepared](Storage::prepare).
    ///
    /// # Errors
    /// [`ArchiveError::Storage`].
    pub fn begin(needs: Needs, database: &File, reason: &str) -> Result<Self, ArchiveError> {
        let beginning = Beginning::after_the_newest(&needs, reason)?;
        let keys = Keys::new(&needs.hive, &beginning.id);
        document::write(&*needs.storage, &keys.generation(), &beginning)?;
        let (page_bytes, pages) = size_of(database).map_err(unreadable)?;
        let mut writer = Self {
            needs,
            keys,
            last: None,
            log_part: 1,
            cursor: None,
            page_bytes,
            marks: PageMarks::new(page_bytes, pages),
            pending: None,
            copying: None,
            loose: Vec::new(),
            leftover: Vec::new(),
            snapshot_at: now(),
            log_bytes: 0,
            files: None,
        };
        writer.copying = Some(Copying::new(1, true));
        Ok(writer)
    }

    /// Returns the id of the generation.
    pub fn generation(&self) -> &str {
        &self.keys.generation
    }

    /// Returns the end of the shipped log.
    pub fn shipped(&self) -> Option<LogEnd> {
        self.cursor.map(|cursor| LogEnd {
            salts: cursor.header.salts,
            frames: cursor.frames,
        })
    }

    /// Returns the last commit that the archive has.
    pub fn last_commit(&self) -> Option<Commit> {
        self.last.as_ref().map(|(header, _)| header.last)
    }

    /// Notes the end of the shipped files, which parts written from now on name.
    pub fn note_files(&mut self, files: FilesAt) {
        self.files = Some(files);
    }

    /// Returns the time of the last snapshot, in milliseconds since 1970.
    pub fn snapshot_at(&self) -> i64 {
        self.snapshot_at
    }

    /// Returns the size of the log since the last snapshot, in bytes.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// Returns the size of the database, in bytes.
    pub fn database_bytes(&self) -> u64 {
        u64::from(self.marks.sum().pages) * u64::from(self.page_bytes)
    }

    /// Returns the number of parts.
    pub fn parts(&self) -> u64 {
        self.last.as_ref().map_or(0, |(header, _)| header.number)
    }

    /// Ships one part of the log, up to `end`, which is the end of a commit of which `log` has
    /// all frames. `commits_upto` returns the known commits that are not shipped, up to a
    /// number of frames, and the history of their events. Returns `true` if `end` is reached.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`]: repeat the call. [`ArchiveError::Broken`] or another one:
    /// the log does not continue.
    pub fn ship(
        &mut self,
        log: &LogFile,
        end: LogEnd,
        mut commits_upto: impl FnMut(LogEnd) -> (Vec<Commit>, u64),
    ) -> Result<bool, ArchiveError> {
        if self.pending.is_none() {
            let cursor = self.cursor_for(log, end)?;
            if cursor.frames >= end.frames {
                self.cursor = Some(cursor);
                return Ok(true);
            }
            self.pending = Some(self.encode(log, cursor, end, &mut commits_upto)?);
        }
        self.is_there()?;
        if let Some(pending) = &self.pending {
            document::create(&*self.needs.storage, &pending.key, &pending.bytes)?;
        }
        if let Some(pending) = self.pending.take() {
            self.log_bytes += pending.bytes.len() as u64;
            self.loose.push(Loose {
                number: pending.header.number,
                bytes: pending.bytes.len() as u64,
            });
            self.cursor = Some(LogCursor {
                frames: pending.header.start + pending.header.frames,
                checksum: pending.header.checksum,
                header: pending.header.end().header,
            });
            self.last = Some((pending.header, pending.hash));
        }
        self.complete_copy()?;
        Ok(self.shipped() == Some(end))
    }

    /// Checks that the storage still has the generation: it may have been removed or unmounted,
    /// and a part without those before it is of no use.
    fn is_there(&self) -> Result<(), ArchiveError> {
        let key = self.keys.generation();
        let storage = &*self.needs.storage;
        storage.get(&key).map(drop).map_err(|source| {
            let source = match source.kind() {
                io::ErrorKind::NotFound => io::Error::new(
                    io::ErrorKind::NotFound,
                    "it is gone: bring the archive back",
                ),
                _ => source,
            };
            ArchiveError::Storage {
                place: storage.address(&key),
                source,
            }
        })
    }

    /// Returns the place in the log that `end` is in, behind all that was shipped.
    fn cursor_for(&mut self, log: &LogFile, end: LogEnd) -> Result<LogCursor, ArchiveError> {
        if let Some(cursor) = self.cursor.filter(|it| it.header.salts == end.salts) {
            return Ok(cursor);
        }
        let header = log.header().map_err(unreadable)?;
        let header = header.filter(|header| header.salts == end.salts);
        let header = header.ok_or_else(|| broken("it was restarted while it was shipped"))?;
        if header.page_bytes != self.page_bytes {
            return Err(broken("the size of a page changed"));
        }
        self.log_part = self.parts() + 1;
        Ok(LogCursor::begin(header))
    }

    fn encode(
        &mut self,
        log: &LogFile,
        start: LogCursor,
        end: LogEnd,
        commits_upto: &mut impl FnMut(LogEnd) -> (Vec<Commit>, u64),
    ) -> Result<Pending, ArchiveError> {
        let most = (self.needs.piece_max_bytes / start.header.frame_bytes()).max(1);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let count = (end.frames - start.frames).min(most);
        let bytes = log.read(&start, count).map_err(unreadable)?;
        let mut cursor = start;
        cursor
            .pass(&bytes)
            .map_err(|frame| broken(format!("its frame {frame} is not the next one")))?;
        let ends_commit = apply(&mut self.marks, &bytes, self.page_bytes)?;
        let upto = LogEnd {
            salts: end.salts,
            frames: cursor.frames,
        };
        let (commits, timeline) = commits_upto(upto);
        let previous = self.last.as_ref();
        let never = Commit {
            frame: 0,
            seq: 0,
            at: 0,
        };
        let before = previous.map_or(never, |(header, _)| header.last);
        let number = self.parts() + 1;
        let sum = self.marks.sum();
        let mut header = PartHeader {
            v: 1,
            hive: self.keys.hive.clone(),
            generation: self.keys.generation.clone(),
            number,
            previous: HEXLOWER.encode(previous.map_or(&NO_PART, |(_, hash)| hash)),
            big_endian: start.header.big_endian,
            page_bytes: self.page_bytes,
            salts: start.header.salts,
            log_part: self.log_part,
            start: start.frames,
            start_checksum: start.checksum,
            frames: count,
            checksum: cursor.checksum,
            ends_commit,
            pages: sum.pages,
            sum: sum.digits(),
            timeline,
            last: commits.last().copied().unwrap_or(before),
            ends_known: commits.last().is_some_and(|it| it.frame == cursor.frames),
            earliest_at: { commits.iter() }
                .map(|it| it.at)
                .min()
                .unwrap_or(before.at),
            has_snapshot: !self.is_first_copy(),
            written_at: now(),
            body_bytes: 0,
            files: self.files.clone(),
        };
        let encoded = part::encode(&mut header, &commits, &bytes, self.needs.level);
        let (bytes, hash) = encoded.map_err(unreadable)?;
        Ok(Pending {
            key: self.keys.parts(number, number),
            bytes,
            hash,
            header,
        })
    }
}

/// Notes the pages that frames write. Returns whether the last frame ends a transaction.
fn apply(marks: &mut PageMarks, bytes: &[u8], page_bytes: u32) -> Result<bool, ArchiveError> {
    let mut ends_commit = false;
    for frame in frames(bytes, page_bytes) {
        marks.logged(frame.page, frame.content);
        ends_commit = frame.pages != 0;
        if ends_commit {
            marks.committed(frame.pages).map_err(|page| {
                broken(format!(
                    "the database grew by page {page}, which is not in it"
                ))
            })?;
        }
    }
    Ok(ends_commit)
}

/// Returns the size of a page of a database file, and the number of pages in it.
fn size_of(database: &File) -> io::Result<(u32, u32)> {
    if database.metadata()?.len() == 0 {
        // All pages are in the log still.
        return Ok((EMPTY_PAGE_BYTES, 0));
    }
    let mut bytes = [0; 2];
    database.read_exact_at(&mut bytes, 16)?;
    let page_bytes = match u16::from_be_bytes(bytes) {
        1 => 65_536,
        bytes => u32::from(bytes),
    };
    if !page_bytes.is_power_of_two() || page_bytes < 512 {
        return Err(io::Error::other("it is not a SQLite database"));
    }
    let pages = database.metadata()?.len() / u64::from(page_bytes);
    Ok((page_bytes, u32::try_from(pages).unwrap_or(u32::MAX)))
}

fn broken(reason: impl Into<String>) -> ArchiveError {
    ArchiveError::Broken(reason.into())
}

/// Converts an error of the store's own files.
fn unreadable(error: io::Error) -> ArchiveError {
    broken(format!("the store cannot be read ({error})"))
}

/// Returns the time, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
