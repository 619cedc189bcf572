//! Output of programs: held in memory up to a limit, then in a file of the data directory; readable
//! while the program runs.
//!
//! The output of an attempt is stored in `outputs/<task>/<attempt>`: for a success only if its
//! result cannot hold all of the output, for every other attempt always, as an empty file if
//! nothing was printed. The files of the last attempts stay (`tasks.kept_outputs`); a starting
//! attempt removes older files by their numbers, and so never one of a later attempt. All files of
//! a task are removed with the task.

mod read;
mod spool;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dashmap::DashMap;
use deia_ledger::reserve;
use deia_model::TaskId;
use tokio::sync::watch;

pub use self::read::TaskOutput;
pub(crate) use self::spool::{OutputSpool, SpoolError, Spooled};

/// Limits of output in memory and in a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputLimits {
    /// Limit in memory, and so in a result (`tasks.max_output_bytes`).
    pub(crate) memory: u64,
    /// Limit of a file (`tasks.max_output_file_bytes`).
    pub(crate) file: u64,
}

/// The outputs of all running programs, and the directory of their files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outputs(Arc<Inner>);

struct Inner {
    data_dir: PathBuf,
    directory: PathBuf,
    running: DashMap<TaskId, Arc<Running>>,
}

/// Output of a running program so far.
struct Running {
    attempt: u32,
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
    /// Opens the outputs of the hive with that data directory.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self(Arc::new(Inner {
            directory: data_dir.join("outputs"),
            data_dir: data_dir.to_owned(),
            running: DashMap::new(),
        }))
    }

    /// Begins to store the output of an attempt.
    pub(crate) fn keep(&self, task: TaskId, attempt: u32, limits: OutputLimits) -> OutputSpool {
        let running = Arc::new(Running {
            attempt,
            so_far: Mutex::default(),
            grown: watch::Sender::new(Grown::default()),
        });
        self.0.running.insert(task, Arc::clone(&running));
        OutputSpool::new(self.clone(), task, running, limits)
    }

    /// Returns the output of a running attempt from that offset on; `None` if no attempt of the
    /// task runs a program now.
    pub(crate) fn running(&self, task: TaskId, offset: u64) -> Option<TaskOutput> {
        let running = self.0.running.get(&task).map(|it| Arc::clone(&it))?;
        Some(TaskOutput::running(running, offset))
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

    /// Removes the files of a task; missing files are fine. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The files exist and cannot be removed.
    pub(crate) fn remove(&self, task: TaskId) -> io::Result<()> {
        remove_directory(&self.directory(task))
    }

    /// Removes the files of the attempts up to `last`. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The files exist and cannot be removed.
    pub(crate) fn remove_up_to(&self, task: TaskId, last: u32) -> io::Result<()> {
        for (attempt, _) in self.attempts(task)? {
            if attempt <= last {
                std::fs::remove_file(self.file(task, attempt))?;
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
        let entries = match std::fs::read_dir(self.directory(task)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
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

    /// Returns the tasks that have files. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn with_files(&self) -> io::Result<Vec<TaskId>> {
        let entries = match std::fs::read_dir(&self.0.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut tasks = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            // Foreign files stay.
            tasks.extend(name.to_str().and_then(|name| name.parse::<TaskId>().ok()));
        }
        Ok(tasks)
    }

    fn ended(&self, task: TaskId, running: &Arc<Running>) {
        let is_it = |_: &TaskId, it: &Arc<Running>| Arc::ptr_eq(it, running);
        self.0.running.remove_if(&task, is_it);
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
