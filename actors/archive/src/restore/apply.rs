//! Making the database file of a plan.

use std::{
    cmp::Ordering,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::Plan;
use crate::{
    ArchiveError, document,
    layout::{self, Keys},
    log::frames,
    marks::{PageMarks, PageSum},
    part::{self, Commit, PartHash},
    storage::Storage,
    survey::{Survey, check, follows},
};

/// A database file that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The commit that it ends with.
    pub commit: Commit,
    /// False if it may have later commits, which are not known.
    pub is_known: bool,
    /// The history of its events.
    pub timeline: u64,
    /// Size of the database, in pages.
    pub pages: u32,
    /// Size of a page, in bytes.
    pub page_bytes: u32,
    /// Number of parts that were applied to the snapshot.
    pub parts: u64,
}

impl Restored {
    /// Returns the size of the database, in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.pages) * u64::from(self.page_bytes)
    }
}

/// Pages of a file that are read back at a time.
const READ_PAGES: usize = 256;

/// Makes the database file of a plan at `path`, where none must exist. All checksums are
/// compared; the file is synced, and read back in the end.
///
/// # Errors
/// [`ArchiveError::Damaged`] or [`ArchiveError::Missing`] names the object that is not sound;
/// the file is removed then.
pub fn restore(
    storage: &dyn Storage,
    survey: &Survey,
    plan: &Plan,
    path: &Path,
) -> Result<Restored, ArchiveError> {
    let made = Restorer::create(storage, plan, path).and_then(|it| it.run(survey));
    if made.is_err() {
        let _ = std::fs::remove_file(path);
    }
    made
}

struct Restorer<'a> {
    storage: &'a dyn Storage,
    plan: &'a Plan,
    keys: Keys,
    path: PathBuf,
    file: File,
    marks: PageMarks,
    page_bytes: u32,
}

impl<'a> Restorer<'a> {
    fn create(storage: &'a dyn Storage, plan: &'a Plan, path: &Path) -> Result<Self, ArchiveError> {
        let mut options = OpenOptions::new();
        let options = options.create_new(true).read(true).write(true).mode(0o600);
        let file = options.open(path).map_err(|source| ArchiveError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            storage,
            plan,
            keys: Keys::new(&plan.hive, &plan.generation),
            path: path.to_owned(),
            file,
            marks: PageMarks::new(plan.snapshot.page_bytes, 0),
            page_bytes: plan.snapshot.page_bytes,
        })
    }

    fn run(mut self, survey: &Survey) -> Result<Restored, ArchiveError> {
        self.copy_snapshot()?;
        let parts = self.apply_log(survey)?;
        let expected = self.marks.sum();
        if let Some(point) = &self.plan.point
            && PageSum::parse(point.pages, &point.sum) != Some(expected)
        {
            let place = self
                .storage
                .address(&layout::point(&self.plan.hive, &point.id));
            let reason =
                format!("the database at this point has {expected}, which is not what it says");
            return Err(ArchiveError::damaged(place, reason));
        }
        let length = u64::from(expected.pages) * u64::from(self.page_bytes);
        let synced = self
            .file
            .set_len(length)
            .and_then(|()| self.file.sync_all());
        synced.map_err(|source| self.file_error(source))?;
        if let Some(page) = self.marks.missing() {
            let place = self.storage.address(&self.keys.prefix());
            return Err(ArchiveError::damaged(
                place,
                format!("no object has page {page}"),
            ));
        }
        let found = self.read_back().map_err(|source| self.file_error(source))?;
        if found != expected {
            let reason = format!("the restored file has {found} instead of {expected}");
            return Err(ArchiveError::damaged(
                self.path.display().to_string(),
                reason,
            ));
        }
        Ok(Restored {
            commit: self.plan.commit,
            is_known: self.plan.is_known,
            timeline: self.plan.timeline,
            pages: expected.pages,
            page_bytes: self.page_bytes,
            parts,
        })
    }

    fn file_error(&self, source: io::Error) -> ArchiveError {
        ArchiveError::File {
            path: self.path.clone(),
            source,
        }
    }

    fn copy_snapshot(&mut self) -> Result<(), ArchiveError> {
        let snapshot = &self.plan.snapshot;
        let mut at = 0;
        let mut page = 0;
        for (i, chunk) in snapshot.chunks.iter().enumerate() {
            let key = self.keys.chunk(&snapshot.id, i);
            let packed = document::get(self.storage, &key)?;
            let damaged = |reason: &str| ArchiveError::damaged(self.storage.address(&key), reason);
            if document::sha256(&packed) != chunk.sha256 {
                return Err(damaged("its content does not match its checksum"));
            }
            let size = usize::try_from(chunk.bytes).unwrap_or(usize::MAX);
            let bytes = zstd::bulk::decompress(&packed, size)
                .map_err(|_| damaged("it cannot be decompressed"))?;
            for content in bytes.chunks_exact(self.page_bytes as usize) {
                page += 1;
                self.marks.copied(page, content);
            }
            let written = self.file.write_all_at(&bytes, at);
            written.map_err(|source| self.file_error(source))?;
            at += bytes.len() as u64;
        }
        self.marks.adopt(page);
        Ok(())
    }

    /// Applies the log. Returns the number of parts.
    fn apply_log(&mut self, survey: &Survey) -> Result<u64, ArchiveError> {
        let plan = self.plan;
        let generation = survey
            .generations
            .iter()
            .find(|it| it.id == plan.generation);
        let objects = generation.map_or(&[][..], |it| &it.parts);
        let mut next = plan.snapshot.replay_from;
        let mut before: Option<PartHash> = None;
        for (numbers, item) in objects {
            // Objects that overlap are a bundle, and parts of it that were not removed yet.
            if numbers.1 < next || numbers.0 > plan.part || next > plan.part {
                continue;
            }
            if numbers.0 > next {
                break;
            }
            let bytes = document::get(self.storage, &item.key)?;
            let place = self.storage.address(&item.key);
            let sealed = part::split(&bytes, &place)?;
            let headers: Vec<_> = sealed
                .iter()
                .map(|it| (it.header.clone(), it.hash))
                .collect();
            check(&headers, &plan.generation, *numbers, &place)?;
            for part in sealed {
                let (number, hash) = (part.header.number, part.hash);
                if number < next || number > plan.part {
                    continue;
                }
                if before.is_some_and(|before| !follows(&part.header, &before)) {
                    let reason = format!("part {number} does not follow the one before it");
                    return Err(ArchiveError::damaged(&place, reason));
                }
                self.apply_part(part.open()?, &place)?;
                before = Some(hash);
                next = number + 1;
            }
        }
        if next <= plan.part {
            return Err(ArchiveError::Missing {
                place: self.storage.address(&self.keys.parts(next, next)),
            });
        }
        if before.is_some_and(|last| !plan.is_at(&last)) {
            let place = self.storage.address(&self.keys.parts(plan.part, plan.part));
            let reason = "it is not the part that the restore point names";
            return Err(ArchiveError::damaged(place, reason));
        }
        Ok(next - plan.snapshot.replay_from)
    }

    fn apply_part(&mut self, part: part::Part, place: &str) -> Result<(), ArchiveError> {
        let header = &part.header;
        let stop = self.plan.frame.filter(|_| header.number == self.plan.part);
        let count = stop.map_or(header.frames, |frame| frame.saturating_sub(header.start));
        for frame in frames(part.frames(), self.page_bytes).take(count as usize) {
            self.marks.logged(frame.page, frame.content);
            if frame.pages != 0 {
                let is_exact = header.number > self.plan.snapshot.exact_after;
                let grown = self.marks.committed(frame.pages);
                if let Some(page) = grown.err().filter(|_| is_exact) {
                    let reason = format!("it has not page {page}, by which the database grew");
                    return Err(ArchiveError::damaged(place, reason));
                }
            }
            let at = u64::from(frame.page.saturating_sub(1)) * u64::from(self.page_bytes);
            let written = self.file.write_all_at(frame.content, at);
            written.map_err(|source| self.file_error(source))?;
        }
        let is_whole = stop.is_none() && header.ends_commit;
        let snapshot = &self.plan.snapshot;
        match header.number.cmp(&snapshot.exact_after) {
            Ordering::Greater if is_whole => self.compare(header.page_sum(), place),
            // The sum in the header may have been computed before the copy was complete.
            Ordering::Equal if is_whole => self.compare(snapshot.page_sum(), place),
            _ => Ok(()),
        }
    }

    fn compare(&self, expected: Option<PageSum>, place: &str) -> Result<(), ArchiveError> {
        let found = self.marks.sum();
        match expected {
            Some(expected) if expected == found => Ok(()),
            _ => Err(ArchiveError::damaged(
                place,
                format!("after it the database has {found}, which is not what it says"),
            )),
        }
    }

    /// Computes the checksum of the file as it is on disk.
    fn read_back(&self) -> io::Result<PageSum> {
        let page_bytes = self.page_bytes as usize;
        let pages = self.file.metadata()?.len() / page_bytes as u64;
        let pages = usize::try_from(pages).map_err(io::Error::other)?;
        let mut marks = PageMarks::new(self.page_bytes, u32::try_from(pages).unwrap_or(u32::MAX));
        let mut bytes = vec![0; READ_PAGES * page_bytes];
        for first in (0..pages).step_by(READ_PAGES) {
            let bytes = &mut bytes[..READ_PAGES.min(pages - first) * page_bytes];
            self.file
                .read_exact_at(bytes, (first * page_bytes) as u64)?;
            for (i, content) in bytes.chunks_exact(page_bytes).enumerate() {
                marks.copied(u32::try_from(first + i + 1).unwrap_or(u32::MAX), content);
            }
        }
        Ok(marks.sum())
    }
}
