//! Files that are opened once and never closed.
//!
//! SQLite locks the database with POSIX locks, and a process loses all its locks of a file
//! when it closes any descriptor of it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

/// Files by device and inode.
type Files = HashMap<(u64, u64), Arc<File>>;

/// Files that are open.
static OPEN: LazyLock<Mutex<Files>> = LazyLock::new(Mutex::default);

/// Opens a file for reading, unless it is open already, and never closes it.
pub(super) fn never_closed(path: &Path) -> io::Result<Arc<File>> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let id = |file: &fs::Metadata| (file.dev(), file.ino());
    if let Some(file) = open.get(&id(&fs::metadata(path)?)) {
        return Ok(file.clone());
    }
    let file = Arc::new(File::open(path)?);
    // The path may have got another file since it was looked at; an inode is not used again
    // while it is open.
    let known = open.entry(id(&file.metadata()?)).or_insert(file.clone());
    if !Arc::ptr_eq(known, &file) {
        std::mem::forget(file);
    }
    Ok(known.clone())
}
