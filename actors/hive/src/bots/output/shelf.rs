//! The size of all stored outputs, and their limit (`tasks.max_outputs_bytes`).
//!
//! The size is counted as files come and go; the files that a start finds are counted once, in the
//! background. When an output would exceed the limit, outputs of attempts that are over are removed:
//! those of attempts that did not succeed first, then those of successes, the oldest end first. All
//! that this needs is in the files themselves, so that a crash loses nothing: the end of an attempt
//! is the time of its file, and the file of a success is read-only. A removed output leaves an empty
//! file `<attempt>.removed`, which is on disk before the output goes.

mod oldest;
mod room;
mod tombstone;

use std::{
    collections::HashSet,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use deia_archive::Change;
use deia_ledger::metrics::Counter;
use deia_model::TaskId;

use self::{
    oldest::{Old, Oldest},
    tombstone::{SyncDirectory, sync_directory, tombstone},
};
use super::{OUTPUTS, attempts_in, tasks_in};
use crate::file_notes::FileNotes;

/// Mode of the file of a success, and of any other. Fact: chmod(2): outputs are for the
/// owner of the hive alone.
const OF_SUCCESS: u32 = 0o400;
/// Mode of the file of any other attempt. Fact: chmod(2): outputs are for the owner of
/// the hive alone.
const OF_OTHERS: u32 = 0o600;

/// All stored outputs.
pub(super) struct Shelf {
    directory: PathBuf,
    notes: FileNotes,
    books: Mutex<Books>,
    bytes: Counter,
    removed: Counter,
    sync: SyncDirectory,
}

/// An attempt of a task.
pub(super) type AttemptOf = (TaskId, u32);

/// A request for room for an output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) bytes: u64,
    /// Limit of all outputs; `None`: there is none.
    pub(super) limit: Option<u64>,
}

/// The size of the outputs.
#[derive(Default)]
struct Books {
    /// Size of all files that are counted.
    bytes: u64,
    /// The part of it that belongs to attempts that have not ended.
    running: u64,
    /// Tasks whose files are counted; `None` once all are.
    counted: Option<HashSet<TaskId>>,
    oldest: Oldest,
}

impl Shelf {
    /// Opens the outputs of that directory, none of which is counted yet.
    pub(super) fn new(directory: PathBuf, notes: FileNotes) -> Self {
        let books = Books {
            counted: Some(HashSet::new()),
            ..Books::default()
        };
        Self {
            directory,
            notes,
            books: Mutex::new(books),
            bytes: Counter::default(),
            removed: Counter::default(),
            sync: sync_directory(),
        }
    }

    /// Returns the size of all outputs.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Returns the number of outputs that were removed for the limit since the start.
    pub(super) fn removed(&self) -> u64 {
        self.removed.get()
    }

    /// Counts the files that a start has found, and removes outputs beyond the limit.
    ///
    /// # Errors
    /// The directory cannot be read. Files are counted as their tasks change then.
    pub(super) fn count_all(
        &self,
        limit: Option<u64>,
        runs: &dyn Fn(AttemptOf) -> bool,
    ) -> io::Result<()> {
        for task in tasks_in(&self.directory)? {
            let mut books = self.lock();
            self.count(&mut books, task);
        }
        let mut books = self.lock();
        books.counted = None;
        self.make_room(&mut books, Demand { bytes: 0, limit }, runs);
        self.show(&books);
        Ok(())
    }

    /// Reserves room for bytes of a running attempt; removes outputs if there is none. Returns false
    /// if no room can be made.
    pub(super) fn claim(
        &self,
        task: TaskId,
        demand: Demand,
        runs: &dyn Fn(AttemptOf) -> bool,
    ) -> bool {
        let mut books = self.lock();
        self.count(&mut books, task);
        let has_room = self.make_room(&mut books, demand, runs);
        if has_room {
            books.bytes += demand.bytes;
            books.running += demand.bytes;
        }
        self.show(&books);
        has_room
    }

    /// Removes the file of an earlier start of the same attempt, and the sign that it was removed.
    pub(super) fn clear(&self, (task, attempt): AttemptOf) -> io::Result<()> {
        let mut books = self.lock();
        self.count(&mut books, task);
        let path = self.path((task, attempt));
        let length = path.metadata().map_or(0, |file| file.len());
        remove_if_there(&path)?;
        self.note_changed((task, attempt), Change::Rewritten);
        books.bytes = books.bytes.saturating_sub(length);
        self.show(&books);
        remove_if_there(&tombstone(&path))?;
        self.note_tombstone((task, attempt));
        Ok(())
    }

    /// Notes that the file of an attempt changed, for the archive.
    pub(super) fn note_changed(&self, (task, attempt): AttemptOf, change: Change) {
        let name = format!("{OUTPUTS}/{task}/{attempt}");
        self.notes.changed(name, change);
    }

    /// Notes that the sign of a removed output came or went, for the archive.
    fn note_tombstone(&self, (task, attempt): AttemptOf) {
        let name = tombstone(Path::new(&format!("{OUTPUTS}/{task}/{attempt}")));
        if let Some(name) = name.to_str() {
            self.notes.changed(name, Change::Rewritten);
        }
    }

    /// Takes an output whose attempt is over, and for which so many bytes were claimed.
    pub(super) fn put_away(&self, of: AttemptOf, claimed: u64) {
        let mut books = self.lock();
        let file = self.path(of).metadata();
        let length = file.as_ref().map_or(0, fs::Metadata::len);
        books.bytes = books.bytes.saturating_sub(claimed).saturating_add(length);
        books.running = books.running.saturating_sub(claimed);
        if let Ok(file) = file
            && length > 0
        {
            books.oldest.note(Old::new(of, &file));
        }
        self.show(&books);
    }

    /// Removes the directory of a task.
    pub(super) fn remove_task(&self, task: TaskId) -> io::Result<()> {
        let mut books = self.lock();
        self.count(&mut books, task);
        let length: u64 = attempts_in(&self.of_task(task))?
            .iter()
            .map(|(_, length)| length)
            .sum();
        match fs::remove_dir_all(self.of_task(task)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.notes
            .changed(format!("{OUTPUTS}/{task}"), Change::Rewritten);
        books.bytes = books.bytes.saturating_sub(length);
        self.show(&books);
        Ok(())
    }

    /// Counts the files of a task, unless that was done.
    fn count(&self, books: &mut Books, task: TaskId) {
        let Some(counted) = &mut books.counted else {
            return;
        };
        if counted.insert(task) {
            // A directory that is gone or cannot be read has no files.
            let files = attempts_in(&self.of_task(task)).unwrap_or_default();
            books.bytes += files.iter().map(|(_, length)| length).sum::<u64>();
        }
    }

    fn of_task(&self, task: TaskId) -> PathBuf {
        self.directory.join(task.to_string())
    }

    fn path(&self, (task, attempt): AttemptOf) -> PathBuf {
        self.of_task(task).join(attempt.to_string())
    }

    /// Shows the size to those who must not wait.
    fn show(&self, books: &Books) {
        self.bytes.set(books.bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes on the file of an output that its attempt has ended now.
pub(super) fn mark_ended(file: &File, is_success: bool) -> io::Result<()> {
    let mode = match is_success {
        true => OF_SUCCESS,
        false => OF_OTHERS,
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_modified(SystemTime::now())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
