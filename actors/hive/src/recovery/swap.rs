//! A restore in place: a prepared store takes the place of the current one at the next start.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use deia_model::Timestamp;

use super::offline::DATABASE;

/// Directory of a prepared store, below the data directory.
const PREPARED: &str = "restore";
/// File that is written once the prepared store is whole: the mark of the restore.
const READY: &str = "ready.json";
/// Extensions of the files of a database.
const EXTENSIONS: [&str; 3] = ["db", "db-wal", "db-shm"];

/// Returns the directory of a prepared store.
pub(super) fn prepared(data_dir: &Path) -> PathBuf {
    data_dir.join(PREPARED)
}

/// Makes an empty directory for a prepared store.
pub(super) fn prepare(data_dir: &Path) -> io::Result<PathBuf> {
    let dir = prepared(data_dir);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(dir)
}

/// Notes that the prepared store is whole: the next start takes it.
pub(super) fn set_ready(data_dir: &Path, mark: &str) -> io::Result<()> {
    crate::data_dir::write_secret(&prepared(data_dir).join(READY), mark)?;
    sync(data_dir)
}

/// Returns true if a prepared store waits to take the place of the current one.
pub(crate) fn is_ready(data_dir: &Path) -> bool {
    prepared(data_dir).join(READY).exists()
}

/// Puts a prepared store in the place of the current one, which is kept beside it. Every step
/// can be repeated: a start that was interrupted here goes on. Returns the directory with the
/// replaced store, if there was one.
///
/// # Errors
/// The files cannot be moved.
pub(crate) fn swap_in(data_dir: &Path) -> io::Result<Option<PathBuf>> {
    if !is_ready(data_dir) {
        return Ok(None);
    }
    let dir = prepared(data_dir);
    let mut kept = None;
    if dir.join(DATABASE).exists() {
        let aside = data_dir.join(format!("replaced-{}", Timestamp::now().as_millis()));
        let current = data_dir.join(DATABASE);
        let found: Vec<PathBuf> = EXTENSIONS
            .iter()
            .map(|extension| current.with_extension(extension))
            .filter(|path| path.exists())
            .collect();
        if !found.is_empty() {
            DirBuilder::new().mode(0o700).create(&aside)?;
            // The log goes with its database, before which it would be read again.
            for path in found.iter().rev() {
                fs::rename(path, aside.join(path.file_name().unwrap_or_default()))?;
            }
            sync(&aside)?;
            sync(data_dir)?;
            kept = Some(aside);
        }
        for extension in EXTENSIONS.iter().rev() {
            let new = dir.join(DATABASE).with_extension(extension);
            if new.exists() {
                fs::rename(&new, current.with_extension(extension))?;
            }
        }
        sync(data_dir)?;
    }
    fs::rename(dir.join(READY), data_dir.join("restored.json"))?;
    sync(data_dir)?;
    fs::remove_dir_all(&dir)?;
    Ok(kept)
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    #[test]
    fn prepared_store_is_taken_only_when_it_is_whole() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        write(&data.join("deia.db"), "old");
        write(&data.join("deia.db-wal"), "old log");
        let dir = prepare(data).unwrap();
        write(&dir.join("deia.db"), "new");
        assert_eq!(swap_in(data).unwrap(), None);
        set_ready(data, "{}").unwrap();
        let kept = swap_in(data).unwrap().unwrap();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(data.join("deia.db")), "new");
        assert!(!data.join("deia.db-wal").exists());
        assert_eq!(read(kept.join("deia.db-wal")), "old log");
        assert!(data.join("restored.json").exists() && !dir.exists());
        assert_eq!(swap_in(data).unwrap(), None);
    }

    #[test]
    fn interrupted_swap_goes_on() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        // The old store was moved aside, and the new one is not in its place.
        let dir = prepare(data).unwrap();
        write(&dir.join("deia.db"), "new");
        set_ready(data, "{}").unwrap();
        swap_in(data).unwrap();
        assert_eq!(fs::read_to_string(data.join("deia.db")).unwrap(), "new");
        // The new one is in its place, and the mark is not.
        let _ = prepare(data).unwrap();
        set_ready(data, "{}").unwrap();
        assert_eq!(swap_in(data).unwrap(), None);
        assert_eq!(fs::read_to_string(data.join("deia.db")).unwrap(), "new");
    }
}
