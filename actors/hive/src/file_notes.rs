//! Files of the data directory that changed since they were shipped to the archive: noted by those
//! who write them, so that nobody looks through directories.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use deia_archive::Change;

/// Files that are noted by name; beyond that all files are looked at. Fixed: a turn of the shipper,
/// about a second, changes fewer, and looking at all of them takes little longer.
const NOTED_MAX: usize = 4_096;

/// Files that changed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileNotes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// True if somebody ships files.
    is_wanted: AtomicBool,
    noted: Mutex<Noted>,
}

/// Files that were noted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Names, below the data directory, and the ways in which they changed.
    pub(crate) files: BTreeMap<String, Change>,
    /// True if all files are to be looked at.
    pub(crate) all: bool,
}

impl Noted {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.all
    }
}

impl FileNotes {
    /// Begins to take notes: there is an archive.
    pub(crate) fn begin(&self) {
        self.0.is_wanted.store(true, Ordering::Release);
    }

    fn is_wanted(&self) -> bool {
        self.0.is_wanted.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a file, or a directory that is gone, by its name below the data directory. Must be
    /// called after the change, and before a commit that depends on it.
    pub(crate) fn changed(&self, name: impl Into<String>, change: Change) {
        if !self.is_wanted() {
            return;
        }
        let mut noted = self.lock();
        if noted.all && change != Change::Rewritten {
            // All files are looked at, and one that has grown is seen by its size.
            return;
        }
        let kept = noted.files.entry(name.into()).or_insert(change);
        *kept = change.max(*kept);
        if noted.files.len() > NOTED_MAX {
            // A rewritten file may look as before; others are seen by their size and time.
            noted.files.retain(|_, change| *change == Change::Rewritten);
            noted.all = true;
        }
        if noted.files.len() > NOTED_MAX {
            noted.files.clear();
        }
    }

    /// Notes a file by its path.
    pub(crate) fn changed_at(&self, data_dir: &Path, path: &Path, change: Change) {
        if !self.is_wanted() {
            return;
        }
        match path.strip_prefix(data_dir).ok().and_then(Path::to_str) {
            Some(name) => self.changed(name, change),
            None => self.look_at_all(),
        }
    }

    /// Lets all files be looked at.
    pub(crate) fn look_at_all(&self) {
        if self.is_wanted() {
            self.lock().all = true;
        }
    }

    /// Takes the notes.
    pub(crate) fn take(&self) -> Noted {
        std::mem::take(&mut *self.lock())
    }

    /// Returns whether nothing is noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded_and_only_taken_for_an_archive() {
        let notes = FileNotes::default();
        notes.changed("a", Change::Grown);
        assert!(notes.is_empty());
        notes.begin();
        notes.changed("a", Change::Rewritten);
        notes.changed("a", Change::Grown);
        let noted = notes.take();
        assert_eq!(noted.files["a"], Change::Rewritten);
        assert!(notes.is_empty());
        notes.changed("rewritten", Change::Rewritten);
        for n in 0..2 * NOTED_MAX {
            notes.changed(format!("{n:06}"), Change::Grown);
        }
        let noted = notes.take();
        assert!(noted.all && noted.files.len() <= NOTED_MAX + 1);
        assert_eq!(noted.files["rewritten"], Change::Rewritten);
        let data_dir = Path::new("/d");
        notes.changed_at(data_dir, Path::new("/d/outputs/1"), Change::Grown);
        assert!(notes.take().files.contains_key("outputs/1"));
        notes.changed_at(data_dir, Path::new("/elsewhere"), Change::Grown);
        assert!(notes.take().all);
    }
}
