//! The names behind pseudonyms, read again when their file has changed.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, PoisonError},
};

use deia_trail::{ReadError, TrailReader, names::Pseudonyms};

/// Names that were read.
#[derive(Debug, Default)]
pub(super) struct NamesCache {
    read: Mutex<Option<(State, Arc<Pseudonyms>)>>,
}

/// The state of the file: inode, length, time of the last change. `None`: there is none.
type State = Option<(u64, u64, i64, i64)>;

impl NamesCache {
    /// Returns the names.
    pub(super) fn get(&self, trail: &TrailReader) -> Result<Arc<Pseudonyms>, ReadError> {
        let metadata = fs::metadata(trail.dir().join("private/names")).ok();
        let state = metadata.map(|file| (file.ino(), file.len(), file.mtime(), file.mtime_nsec()));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, names)) = &*read
            && *of == state
        {
            return Ok(names.clone());
        }
        let names = Arc::new(trail.pseudonyms()?);
        *read = Some((state, names.clone()));
        Ok(names)
    }
}
