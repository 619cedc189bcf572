//! The size of all stored outputs, and their limit (`tasks.max_outputs_bytes`).
//!
//! The size is counted as files come and go; the files that a start finds are counted once, in the
//! background. When an output would exceed the limit, outputs of attempts that are over are removed:
//! those of attempts that did not succeed first, then those of successes, the oldest end first. All
//! that this needs is in the files themselves, so that a crash loses nothing: the end of an attempt
//! is the time of its file, and the file of a success is read-only. A removed output leaves an empty
//! file `<attempt>.removed`, written before the output goes.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use deia_ledger::metrics::Counter;
use deia_model::TaskId;

use super::{attempts_in, tasks_in};

/// Outputs that are remembered as the next ones to remove. After them the files are looked through
/// again.
const REMEMBERED: usize = 4_096;
/// Part of the limit that is made free when outputs are removed, as a divisor.
const FREE_PART: u64 = 64;
/// Mode of the file of a success, and of any other.
const OF_SUCCESS: u32 = 0o400;
const OF_OTHERS: u32 = 0o600;

/// All stored outputs.
pub(super) struct Shelf {
    directory: PathBuf,
    books: Mutex<Books>,
    bytes: Counter,
    removed: Counter,
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

/// An output that may be removed, in the order of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Old {
    is_success: bool,
    ended: SystemTime,
    of: AttemptOf,
}

/// The outputs that are removed next: the beginning of the order of all.
#[derive(Debug, Default)]
struct Oldest {
    first: BTreeSet<Old>,
    /// True if there are no others.
    is_all: bool,
}

impl Oldest {
    /// Takes note of an output. One that may come after outputs that are not remembered is left
    /// out.
    fn note(&mut self, old: Old) {
        if self.is_all || self.first.last().is_some_and(|last| old < *last) {
            self.first.insert(old);
            if self.first.len() > REMEMBERED {
                self.first.pop_last();
                self.is_all = false;
            }
        }
    }
}

impl Shelf {
    /// Opens the outputs of that directory, none of which is counted yet.
    pub(super) fn new(directory: PathBuf) -> Self {
        let books = Books {
            counted: Some(HashSet::new()),
            ..Books::default()
        };
        Self {
            directory,
            books: Mutex::new(books),
            bytes: Counter::default(),
            removed: Counter::default(),
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
        books.bytes = books.bytes.saturating_sub(length);
        self.show(&books);
        remove_if_there(&tombstone(&path))
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

    /// Marks an output as one that was not kept because of the limit.
    pub(super) fn note_removed(&self, of: AttemptOf) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(OF_OTHERS);
        options.open(tombstone(&self.path(of))).map(drop)
    }

    /// Returns the time at which an output was removed because of the limit.
    pub(super) fn removed_at(&self, of: AttemptOf) -> Option<SystemTime> {
        tombstone(&self.path(of)).metadata().ok()?.modified().ok()
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

    /// Removes outputs until the demand is met. Returns whether it is.
    fn make_room(
        &self,
        books: &mut Books,
        demand: Demand,
        runs: &dyn Fn(AttemptOf) -> bool,
    ) -> bool {
        let Some(limit) = demand.limit else {
            return true;
        };
        let fits = |bytes: u64| bytes.saturating_add(demand.bytes) <= limit;
        if fits(books.bytes) {
            return true;
        }
        // Removing what is over does not help while running attempts take it all.
        if !fits(books.running) {
            return false;
        }
        let wanted = (limit - limit / FREE_PART).saturating_sub(demand.bytes);
        let (before, bytes_before) = (self.removed.get(), books.bytes);
        while books.bytes > wanted {
            if books.oldest.first.is_empty() && !books.oldest.is_all {
                books.oldest = self.look_through(runs);
            }
            let Some(old) = books.oldest.first.pop_first() else {
                break;
            };
            if runs(old.of) {
                books.oldest.is_all = false;
                continue;
            }
            match self.remove(old.of) {
                Ok(length) => books.bytes = books.bytes.saturating_sub(length),
                Err(error) => {
                    let (task, attempt) = old.of;
                    tracing::warn!(%task, attempt, %error, "an output beyond the limit cannot be removed");
                }
            }
        }
        let removed = self.removed.get() - before;
        if removed > 0 {
            tracing::warn!(
                outputs = removed,
                bytes = bytes_before - books.bytes,
                limit,
                "outputs were removed: together they exceed tasks.max_outputs_bytes"
            );
        }
        fits(books.bytes)
    }

    /// Removes one output. Returns its length.
    fn remove(&self, (task, attempt): AttemptOf) -> io::Result<u64> {
        let path = self.path((task, attempt));
        let length = match path.metadata() {
            Ok(file) => file.len(),
            // It went with its task.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        self.note_removed((task, attempt))?;
        remove_if_there(&path)?;
        self.removed.add(1);
        tracing::debug!(%task, attempt, bytes = length, "an output was removed for the limit");
        Ok(length)
    }

    /// Looks for the outputs that are removed first.
    fn look_through(&self, runs: &dyn Fn(AttemptOf) -> bool) -> Oldest {
        let mut oldest = Oldest {
            first: BTreeSet::new(),
            is_all: true,
        };
        let tasks = tasks_in(&self.directory).unwrap_or_default();
        for task in tasks {
            for (attempt, length) in attempts_in(&self.of_task(task)).unwrap_or_default() {
                let of = (task, attempt);
                let file = self.path(of).metadata();
                if let Ok(file) = file
                    && length > 0
                    && !runs(of)
                {
                    oldest.note(Old::new(of, &file));
                }
            }
        }
        oldest
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

impl Old {
    fn new(of: AttemptOf, file: &fs::Metadata) -> Self {
        Self {
            is_success: file.mode() & 0o777 == OF_SUCCESS,
            ended: file.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            of,
        }
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

/// Returns the path of the sign that an output was removed.
fn tombstone(path: &Path) -> PathBuf {
    path.with_extension("removed")
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn old(is_success: bool, second: u64) -> Old {
        Old {
            is_success,
            ended: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            of: (TaskId::new(), 1),
        }
    }

    #[test]
    fn failures_go_before_successes_and_older_ones_first() {
        let mut oldest = Oldest {
            is_all: true,
            ..Oldest::default()
        };
        let order = [old(false, 1), old(false, 3), old(true, 0), old(true, 2)];
        for i in [2, 0, 3, 1] {
            oldest.note(order[i]);
        }
        assert_eq!(Vec::from_iter(oldest.first), order);
    }

    #[test]
    fn what_is_remembered_is_always_the_beginning_of_the_order() {
        let mut oldest = Oldest::default();
        oldest.note(old(false, 1));
        assert!(oldest.first.is_empty(), "others may be older");
        oldest.is_all = true;
        for second in 0..=REMEMBERED as u64 {
            oldest.note(old(false, second));
        }
        assert_eq!((oldest.first.len(), oldest.is_all), (REMEMBERED, false));
        oldest.note(old(false, 1 << 40));
        assert_eq!(
            oldest.first.len(),
            REMEMBERED,
            "it comes after forgotten ones"
        );
        let before = *oldest.first.last().unwrap();
        oldest.note(old(false, 0));
        assert!(*oldest.first.last().unwrap() < before);
    }
}
