//! Output of programs: held in memory up to a limit, then in a file of the data directory; readable
//! while the program runs.
//!
//! The output of an attempt is stored in `outputs/<task>/<attempt>`: for a success only if its
//! result cannot hold all of the output, for every other attempt always, as an empty file if
//! nothing was printed. The files of the last attempts stay (`tasks.kept_outputs`); a starting
//! attempt removes older files by their numbers, and so never one of a later attempt. All files of
//! a task are removed with the task. All outputs together have a limit (`shelf`).

mod read;
pub(in crate::bots) mod result_text;
mod shelf;
mod spool;
#[cfg(test)]
mod tests;

use std::{
    fs::{DirEntry, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use dashmap::DashMap;
use deia_archive::Change;
use deia_ledger::reserve;
use deia_model::{TaskId, Timestamp};
use tokio::sync::watch;

use crate::config::TaskSettings;

pub use self::read::TaskOutput;
use self::shelf::{Demand, Shelf};
pub(crate) use self::spool::{OutputSpool, SpoolError, Spooled};
use crate::{config::Settings, file_notes::FileNotes, host::private_dir, subsystem::Deps};

/// Name of the directory of outputs in the data directory.
pub(crate) const OUTPUTS: &str = "outputs";

/// Limits of output in memory and in a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputLimits {
    /// Limit in memory, and so in a result (`tasks.max_output_bytes`).
    pub(crate) memory: u64,
    /// Limit of a file (`tasks.max_output_file_bytes`).
    pub(crate) file: u64,
}

impl OutputLimits {
    /// Returns the limits in force.
    pub(crate) fn of(settings: &TaskSettings) -> Self {
        Self {
            memory: settings.max_output_bytes.as_u64(),
            file: settings.max_output_file_bytes.as_u64(),
        }
    }
}

/// The outputs of all running programs, and the directory of their files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outputs(Arc<Inner>);

struct Inner {
    data_dir: PathBuf,
    directory: PathBuf,
    running: DashMap<TaskId, Arc<Running>>,
    shelf: Shelf,
    /// Source of the limit of all outputs; without it there is none.
    settings: Option<Settings>,
}

/// Output of a running program so far.
struct Running {
    task: TaskId,
    attempt: u32,
    /// Number of bytes that its file has room for.
    claimed: AtomicU64,
    so_far: Mutex<SoFar>,
    grown: watch::Sender<Grown>,
}

#[derive(Default)]
struct SoFar {
    /// The whole output as long as there is no file.
    memory: Vec<u8>,
    file: Option<Arc<File>>,
}

/// Length of an output, and whether it is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Grown {
    length: u64,
    /// True if the output is complete.
    over: bool,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outputs {
    /// Opens the outputs of the hive.
    pub(crate) fn of_hive(deps: &Deps) -> Self {
        let data_dir = &deps.settings.get().data_dir;
        Self::new(data_dir, Some(deps.settings.clone()), &deps.file_notes)
    }

    /// Opens the outputs of that data directory, without a limit of all of them.
    #[cfg(test)]
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self::new(data_dir, None, &FileNotes::default())
    }

    fn new(data_dir: &Path, settings: Option<Settings>, notes: &FileNotes) -> Self {
        let directory = data_dir.join(OUTPUTS);
        Self(Arc::new(Inner {
            shelf: Shelf::new(directory.clone(), notes.clone()),
            directory,
            data_dir: data_dir.to_owned(),
            running: DashMap::new(),
            settings,
        }))
    }

    /// Begins to store the output of an attempt.
    pub(crate) fn keep(&self, task: TaskId, attempt: u32, limits: OutputLimits) -> OutputSpool {
        let running = Arc::new(Running {
            task,
            attempt,
            claimed: AtomicU64::new(0),
            so_far: Mutex::default(),
            grown: watch::Sender::new(Grown::default()),
        });
        self.0.running.insert(task, Arc::clone(&running));
        OutputSpool::new(self.clone(), running, limits)
    }

    /// Begins to store the output of an attempt such that each piece is on disk once it is settled,
    /// or goes on with what an earlier start of the hive stored. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The stored output cannot be read.
    pub(crate) fn keep_durably(
        &self,
        task: TaskId,
        attempt: u32,
        limits: OutputLimits,
    ) -> io::Result<OutputSpool> {
        let mut spool = self.keep(task, attempt, limits);
        spool.resume()?;
        Ok(spool)
    }

    /// Returns the output of a running attempt from that offset on; `None` if no attempt of the
    /// task runs a program now.
    pub(crate) fn running(&self, task: TaskId, offset: u64) -> Option<TaskOutput> {
        let running = self.0.running.get(&task).map(|it| Arc::clone(&it))?;
        Some(TaskOutput::running(running, offset))
    }

    /// Notes that the file of a running attempt changed, for the archive.
    fn note_changed(&self, running: &Running, change: Change) {
        let of = (running.task, running.attempt);
        self.0.shelf.note_changed(of, change);
    }

    /// Fails while only the reserve of a full disk is left.
    fn check_room(&self) -> io::Result<()> {
        reserve::leave_alone(&self.0.data_dir)
    }

    /// Returns the path of the file of an attempt.
    pub(crate) fn file(&self, task: TaskId, attempt: u32) -> PathBuf {
        self.directory(task).join(attempt.to_string())
    }

    /// Returns the directory of the files of a task.
    pub(super) fn directory(&self, task: TaskId) -> PathBuf {
        self.0.directory.join(task.to_string())
    }

    /// Returns the size of all stored outputs.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.shelf.bytes()
    }

    /// Returns the limit of all stored outputs; `None`: there is none.
    pub(crate) fn limit(&self) -> Option<u64> {
        let settings = self.0.settings.as_ref()?.get();
        Some(settings.tasks.max_outputs_bytes.as_u64()).filter(|limit| *limit > 0)
    }

    /// Returns the number of outputs that were removed for that limit since the start.
    pub(crate) fn removed(&self) -> u64 {
        self.0.shelf.removed()
    }

    /// Returns the time at which the output of an attempt was removed for the limit, if it was.
    /// Blocks: not for an arbiter.
    pub(crate) fn removed_at(&self, task: TaskId, attempt: u32) -> Option<Timestamp> {
        let at = self.0.shelf.removed_at((task, attempt))?;
        let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(Timestamp::from_millis(
            i64::try_from(since.as_millis()).ok()?,
        ))
    }

    /// Counts the files that a start has found. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn count_all(&self) -> io::Result<()> {
        let runs = |of| self.runs(of);
        self.0.shelf.count_all(self.limit(), &runs)
    }

    /// Reserves room in the file of a running attempt. Blocks: not for an arbiter.
    fn claim(&self, running: &Running, bytes: u64) -> Result<(), SpoolError> {
        let demand = Demand {
            bytes,
            limit: self.limit(),
        };
        let runs = |of| self.runs(of);
        if !self.0.shelf.claim(running.task, demand, &runs) {
            let max_bytes = demand.limit.unwrap_or_default();
            return Err(SpoolError::NoRoom { max_bytes });
        }
        running.claimed.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the file of an attempt that is over, which may be removed for the limit from now on.
    /// Blocks: not for an arbiter.
    fn put_away(&self, running: &Running) {
        let claimed = running.claimed.swap(0, Ordering::Relaxed);
        let of = (running.task, running.attempt);
        self.0.shelf.put_away(of, claimed);
    }

    /// Removes the file of an earlier start of a running attempt. Blocks: not for an arbiter.
    fn clear(&self, running: &Running) -> io::Result<()> {
        self.0.shelf.clear((running.task, running.attempt))
    }

    /// Notes that there was no room for the output of an attempt. Blocks: not for an arbiter.
    fn note_no_room(&self, running: &Running) -> io::Result<()> {
        private_dir::make(&self.directory(running.task))?;
        self.0.shelf.note_removed((running.task, running.attempt))
    }

    fn runs(&self, (task, attempt): (TaskId, u32)) -> bool {
        let running = self.0.running.get(&task);
        running.is_some_and(|running| running.attempt == attempt)
    }

    /// Removes the files of a task; missing files are fine. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The files exist and cannot be removed.
    pub(crate) fn remove(&self, task: TaskId) -> io::Result<()> {
        self.0.shelf.remove_task(task)
    }

    /// Removes the files of the attempts up to `last`. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The files exist and cannot be removed.
    pub(crate) fn remove_up_to(&self, task: TaskId, last: u32) -> io::Result<()> {
        for (attempt, _) in self.attempts(task)? {
            if attempt <= last {
                self.0.shelf.clear((task, attempt))?;
            }
        }
        Ok(())
    }

    /// Returns the attempts of a task that have a file, each with its length in bytes. Blocks: not
    /// for an arbiter.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn attempts(&self, task: TaskId) -> io::Result<Vec<(u32, u64)>> {
        attempts_in(&self.directory(task))
    }

    /// Returns the tasks that have files. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn with_files(&self) -> io::Result<Vec<TaskId>> {
        tasks_in(&self.0.directory)
    }

    fn ended(&self, task: TaskId, running: &Arc<Running>) {
        let is_it = |_: &TaskId, it: &Arc<Running>| Arc::ptr_eq(it, running);
        self.0.running.remove_if(&task, is_it);
    }
}

/// Returns the attempts that have a file in the directory of a task, each with its length.
fn attempts_in(directory: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    for entry in entries(directory)? {
        let entry = entry?;
        let attempt = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let (Some(attempt), Ok(metadata)) = (attempt, entry.metadata()) {
            found.push((attempt, metadata.len()));
        }
    }
    Ok(found)
}

/// Returns the tasks that have a directory in that of all outputs.
fn tasks_in(directory: &Path) -> io::Result<Vec<TaskId>> {
    let mut tasks = Vec::new();
    for entry in entries(directory)? {
        let name = entry?.file_name();
        // Foreign files stay.
        tasks.extend(name.to_str().and_then(|name| name.parse::<TaskId>().ok()));
    }
    Ok(tasks)
}

/// Returns the entries of a directory; none if it does not exist.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>>> {
    let found = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found?),
    };
    Ok(found.into_iter().flatten())
}
