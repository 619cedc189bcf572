//! Signs of removed outputs: an empty file `<attempt>.removed` each.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use deia_model::TaskId;

use super::{AttemptOf, OF_OTHERS, Shelf};

/// Puts the entries of a directory on disk.
pub(super) type SyncDirectory = Box<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

/// Returns the function that puts the entries of a directory on disk.
pub(super) fn sync_directory() -> SyncDirectory {
    Box::new(|path| File::open(path)?.sync_all())
}

impl Shelf {
    /// Marks an output as one that was not kept because of the limit, on disk.
    pub(in crate::bots::output) fn note_removed(&self, of: AttemptOf) -> io::Result<()> {
        self.write_tombstone(of)?;
        self.sync_tombstones(of.0)
    }

    /// Returns the time at which an output was removed because of the limit.
    pub(in crate::bots::output) fn removed_at(&self, of: AttemptOf) -> Option<SystemTime> {
        tombstone(&self.path(of)).metadata().ok()?.modified().ok()
    }

    /// Writes the sign of a removed output.
    pub(super) fn write_tombstone(&self, of: AttemptOf) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(OF_OTHERS);
        options.open(tombstone(&self.path(of)))?;
        self.note_tombstone(of);
        Ok(())
    }

    /// Puts the signs of a task on disk: they have no content, so their directory is all.
    pub(super) fn sync_tombstones(&self, task: TaskId) -> io::Result<()> {
        (self.sync)(&self.of_task(task))
    }
}

/// Returns the path of the sign that an output was removed.
pub(super) fn tombstone(path: &Path) -> PathBuf {
    path.with_extension("removed")
}
