//! The copy of the database file into a snapshot, chunk by chunk.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use uuid::Uuid;

use super::{GenerationWriter, LogEnd, broken, now, unreadable};
use crate::{
    ArchiveError, document,
    snapshot::{Chunk, Snapshot},
};

/// A copy under way.
pub(super) struct Copying {
    id: String,
    replay_from: u64,
    began_at: i64,
    chunks: Vec<Chunk>,
    /// True for the first copy of a generation, which the marks of the pages are taken from.
    is_first: bool,
    /// The end of the log when the last chunk was copied.
    exact_at: Option<LogEnd>,
    is_copied: bool,
    /// Time at which the copy was complete, in milliseconds since 1970, once it is.
    completed_at: Option<i64>,
    /// True if the archive has the log up to there.
    is_reached: bool,
}

impl Copying {
    pub(super) fn new(replay_from: u64, is_first: bool) -> Self {
        Self {
            id: format!("snap-{}", Uuid::now_v7().simple()),
            replay_from,
            began_at: now(),
            chunks: Vec::new(),
            is_first,
            exact_at: None,
            is_copied: false,
            completed_at: None,
            is_reached: false,
        }
    }
}

impl GenerationWriter {
    /// Begins another snapshot in this generation; does nothing while there is one under way.
    pub fn begin_snapshot(&mut self) {
        if self.copying.is_none() {
            // A log that was restarted, and of which nothing is shipped, begins with the next
            // part; replaying the log before it as well is harmless.
            let replay_from = self.last.as_ref().map_or(1, |(header, _)| header.log_part);
            self.copying = Some(Copying::new(replay_from, false));
        }
    }

    /// Returns whether a snapshot is under way.
    pub fn is_copying(&self) -> bool {
        self.copying.is_some()
    }

    /// Returns the id of the snapshot that is under way.
    pub fn copying(&self) -> Option<&str> {
        self.copying.as_ref().map(|copying| copying.id.as_str())
    }

    /// Returns whether the first snapshot of the generation is under way.
    pub fn is_first_copy(&self) -> bool {
        self.copying
            .as_ref()
            .is_some_and(|copying| copying.is_first)
    }

    /// Returns whether the file is not wholly copied.
    pub fn has_more_to_copy(&self) -> bool {
        let copying = self.copying.as_ref();
        copying.is_some_and(|copying| !copying.is_copied)
    }

    /// Copies the next chunk of the file. `committed` must return the end of the log after the
    /// call began, if the log is not empty: once the archive has it up to there, the snapshot is
    /// complete. It must fail if some of the log was folded back unshipped since the copy began.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`]: repeat the call. Another one: the copy is of no use.
    pub fn copy(
        &mut self,
        database: &File,
        committed: impl FnOnce() -> Result<Option<LogEnd>, ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let page_bytes = self.page_bytes as usize;
        let pages = (self.needs.piece_max_bytes / page_bytes).max(1);
        let Some(copying) = self.copying.as_mut().filter(|it| !it.is_copied) else {
            return Ok(());
        };
        let first = copying.chunks.len() * pages;
        let mut bytes = vec![0; pages * page_bytes];
        let start = first as u64 * page_bytes as u64;
        let read = read_at_most(database, &mut bytes, start).map_err(unreadable)?;
        // A file that is being extended may end within a page: the log has that page.
        bytes.truncate(read - read % page_bytes);
        if !bytes.is_empty() {
            let packed = zstd::bulk::compress(&bytes, self.needs.level).map_err(unreadable)?;
            let key = self.keys.chunk(&copying.id, copying.chunks.len());
            document::put(&*self.needs.storage, &key, &packed)?;
            if copying.is_first {
                for (i, content) in bytes.chunks_exact(page_bytes).enumerate() {
                    let page = u32::try_from(first + i + 1).unwrap_or(u32::MAX);
                    self.marks.copied(page, content);
                }
            }
            copying.chunks.push(Chunk {
                bytes: bytes.len() as u64,
                sha256: document::sha256(&packed),
            });
        }
        if bytes.len() < pages * page_bytes {
            copying.exact_at = committed()?;
            copying.is_copied = true;
            // A log that is empty was shipped before it was truncated.
            copying.is_reached = copying.exact_at.is_none();
            return self.complete_copy();
        }
        Ok(())
    }

    /// Writes the description of the snapshot if the archive has the log that makes it exact.
    pub(super) fn complete_copy(&mut self) -> Result<(), ArchiveError> {
        let shipped = self.shipped();
        let Some(copying) = &mut self.copying else {
            return Ok(());
        };
        // A log is restarted only after the archive has all of it.
        copying.is_reached |= copying.is_copied
            && copying.exact_at.zip(shipped).is_some_and(|(end, shipped)| {
                shipped.salts == end.salts && shipped.frames >= end.frames
            });
        let Some((last, _)) = &self.last else {
            return Ok(());
        };
        let is_exact = copying.is_reached && last.ends_commit && last.ends_known;
        if !is_exact || self.pending.is_some() {
            return Ok(());
        }
        if copying.is_first {
            self.marks.cut_copied();
            if let Some(page) = self.marks.missing() {
                return Err(broken(format!("the copy has no page {page}")));
            }
        }
        let snapshot = Snapshot {
            v: 1,
            id: copying.id.clone(),
            hive: self.keys.hive.clone(),
            generation: self.keys.generation.clone(),
            replay_from: copying.replay_from,
            exact_after: last.number,
            page_bytes: self.page_bytes,
            pages: self.marks.sum().pages,
            sum: self.marks.sum().digits(),
            chunks: copying.chunks.clone(),
            began_at: copying.began_at,
            completed_at: *copying.completed_at.get_or_insert_with(now),
        };
        snapshot.write(&*self.needs.storage)?;
        // Everything rests on this object: it must be there, as it was written.
        let found = Snapshot::read(&*self.needs.storage, &self.keys, &copying.id);
        match found {
            Ok(found) if found == snapshot => {}
            Ok(_) | Err(ArchiveError::Missing { .. } | ArchiveError::Damaged { .. }) => {
                let place = self.keys.snapshot(&copying.id);
                return Err(ArchiveError::Storage {
                    place: self.needs.storage.address(&place),
                    source: io::Error::other("it is not as it was just written"),
                });
            }
            Err(error) => return Err(error),
        }
        self.copying = None;
        self.snapshot_at = snapshot.completed_at;
        self.log_bytes = 0;
        Ok(())
    }
}

fn read_at_most(file: &File, bytes: &mut [u8], start: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], start + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
