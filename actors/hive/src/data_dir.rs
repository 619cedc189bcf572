//! The data directory: one hive at a time, and for its owner only.

mod instance;
mod modes;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use deia_ledger::anchor::{Adrift, Anchor};
use instance::instance_of;
pub use modes::{Exposed, exposed};

/// Reason why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The directory cannot be created or written.
    #[error("{path}: {source}; deia needs a directory that it may write to (data_dir)")]
    Io {
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file of deia is a link to a file elsewhere.
    #[error(
        "{path} is a symbolic link; deia keeps its data in the data directory only: put the file there, or make the directory itself the link (data_dir)"
    )]
    Link {
        /// Path of the link.
        path: PathBuf,
    },
    /// Another hive uses the directory.
    #[error(
        "{path} is in use by another deia; stop that one, or give this one a directory of its own (--data-dir)"
    )]
    InUse {
        /// Path of the directory.
        path: PathBuf,
    },
}

/// A data directory that belongs to this hive as long as this lives. The lock is the kernel's: it
/// ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
    /// The directory, locked as well, so that removing the lock's file does not admit another
    /// hive.
    _dir: Option<File>,
    anchor: Anchor,
    instance: String,
}

impl DataDir {
    /// Creates the directory if it does not exist, for its owner only, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        let below = ["logs/bots", "outputs", "work"].map(|name| path.join(name));
        for dir in std::iter::once(path.to_owned()).chain(below) {
            make_durable_dir(&dir).map_err(io_error(&dir))?;
        }
        refuse_links(path)?;
        let file = path.join("deia.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&file)
            .map_err(io_error(&file))?;
        let in_use = || DataDirError::InUse {
            path: path.to_owned(),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(source)) => return Err(io_error(&file)(source)),
        }
        let dir = File::open(path).map_err(io_error(path))?;
        let dir = match dir.try_lock() {
            Ok(()) => Some(dir),
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            // Network file systems may lock files only.
            Err(TryLockError::Error(_)) => None,
        };
        modes::make_private(path);
        Ok(Self {
            instance: instance_of(path, &lock).map_err(io_error(&file))?,
            anchor: Anchor::at(&file).map_err(io_error(&file))?,
            path: path.to_owned(),
            lock,
            _dir: dir,
        })
    }
}

impl DataDir {
    /// Reads the identity again, which the directory gets anew if it has lost it.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub(crate) fn identify(&mut self) -> Result<(), DataDirError> {
        let instance = instance_of(&self.path, &self.lock);
        self.instance = instance.map_err(|source| DataDirError::Io {
            path: self.path.clone(),
            source,
        })?;
        Ok(())
    }
}

/// The files that a running hive depends on.
#[derive(Debug)]
pub(crate) struct HiveFiles {
    /// Locked as long as the hive lives.
    data_dir: DataDir,
    /// The file of the store.
    database: Anchor,
}

impl HiveFiles {
    /// Takes the locked directory and the file of the open store.
    ///
    /// # Errors
    /// [`DataDirError::Io`]: the file does not exist.
    pub(crate) fn new(data_dir: DataDir, database: &Path) -> Result<Self, DataDirError> {
        let database = Anchor::at(database).map_err(|source| DataDirError::Io {
            path: database.to_owned(),
            source,
        })?;
        Ok(Self { data_dir, database })
    }

    /// Returns the identity that distinguishes the directory from its copies.
    pub(crate) fn instance(&self) -> &str {
        self.data_dir.instance()
    }

    /// Checks that both are still where they were opened.
    ///
    /// # Errors
    /// The one that is missing.
    pub(crate) fn holds(&self) -> Result<(), Adrift> {
        self.data_dir.holds()?;
        self.database.holds()
    }
}

/// Returns true if a hive has locked the directory.
pub fn is_in_use(data_dir: &Path) -> bool {
    let locked = |path: &Path| {
        let file = File::open(path);
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    locked(&data_dir.join("deia.lock")) || locked(data_dir)
}

impl DataDir {
    /// Returns the identity that distinguishes this directory from its copies.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Checks that the directory with the lock is still at its path.
    pub(crate) fn holds(&self) -> Result<(), Adrift> {
        self.anchor.holds()
    }
}

/// Refuses links in place of the files that deia keeps its data in: the permissions and the disk
/// of their targets are not known here.
///
/// # Errors
/// [`DataDirError::Link`].
pub fn refuse_links(data_dir: &Path) -> Result<(), DataDirError> {
    let is_link = |path: &PathBuf| path.is_symlink();
    let files = modes::DATA_FILES.iter().map(|name| data_dir.join(name));
    match files.into_iter().find(is_link) {
        Some(path) => Err(DataDirError::Link { path }),
        None => Ok(()),
    }
}

/// Makes the directory and those above it that are missing, for their owner only, and
/// syncs each into the one above it: after a power loss all of them are there.
fn make_durable_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_durable_dir(above)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(above)?.sync_all(),
    }
}

/// Writes a secret for its owner only, whole or not at all, on disk when this returns.
pub(crate) fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    SecretDraft::write(path, text)?.publish()
}

/// A secret that is on disk beside its final path. Removed if it is dropped unpublished.
pub(crate) struct SecretDraft {
    draft: PathBuf,
    path: PathBuf,
}

impl SecretDraft {
    /// Writes a secret for its owner only; on disk when this returns.
    pub(crate) fn write(path: &Path, text: &str) -> io::Result<Self> {
        let draft = Self {
            draft: path.with_extension("new"),
            path: path.to_owned(),
        };
        let _ = fs::remove_file(&draft.draft);
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&draft.draft)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        Ok(draft)
    }

    /// Moves the secret to its final path atomically, replacing any file there.
    pub(crate) fn publish(self) -> io::Result<()> {
        fs::rename(&self.draft, &self.path)?;
        match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
            _ => Ok(()),
        }
    }
}

impl Drop for SecretDraft {
    fn drop(&mut self) {
        // This fails if the secret was published.
        let _ = fs::remove_file(&self.draft);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_hive_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(
            DataDir::open(&path),
            Err(DataDirError::InUse { .. })
        ));
        // The directory is still locked if the lock file is removed.
        fs::remove_file(path.join("deia.lock")).unwrap();
        assert!(is_in_use(&path) && first.holds().is_err());
        assert!(matches!(
            DataDir::open(&path),
            Err(DataDirError::InUse { .. })
        ));
        drop(first);
        assert!(!is_in_use(&path));
        DataDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_link_in_the_place_of_the_data_is_refused_and_a_linked_directory_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        fs::write(&theirs, "").unwrap();
        for name in modes::DATA_FILES {
            let data = dir.path().join(format!("of-{name}"));
            fs::create_dir(&data).unwrap();
            std::os::unix::fs::symlink(&theirs, data.join(name)).unwrap();
            let error = DataDir::open(&data).unwrap_err();
            let expected = data.join(name);
            assert!(
                matches!(&error, DataDirError::Link { path } if *path == expected),
                "{error}"
            );
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("data"), &link).unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        DataDir::open(&link).unwrap();
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDir::open(&file.join("data")).unwrap_err().to_string();
        assert!(
            error.contains("file/data") && error.contains("data_dir"),
            "{error}"
        );
    }

    #[test]
    fn secrets_are_their_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.key");
        for text in ["one", "two"] {
            write_secret(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}\n"));
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
