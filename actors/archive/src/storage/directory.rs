//! A directory as a storage.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Item, Storage};

/// First character of the names of files that are not complete.
const DRAFT: char = '.';

/// A directory, for its owner only. A file gets its name after its content is on disk, and the
/// directory is synced after that.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    drafts: AtomicU64,
}

impl Directory {
    /// Takes the directory, which need not exist before [`Storage::prepare`].
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            drafts: AtomicU64::new(0),
        }
    }

    fn path(&self, key: &str) -> io::Result<PathBuf> {
        let is_plain = |name: &str| {
            !name.is_empty() && !name.starts_with(DRAFT) && !name.contains(['\\', '\0'])
        };
        match key.split('/').all(is_plain) {
            true => Ok(self.root.join(key)),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{key:?} is no key of an object"),
            )),
        }
    }
}

impl Storage for Directory {
    fn prepare(&self) -> io::Result<()> {
        make_durable_dir(&self.root)
    }

    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(key)?;
        if !self.root.is_dir() {
            let reason = "the directory of the archive is gone";
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        let dir = path.parent().unwrap_or(&self.root);
        make_durable_dir(dir)?;
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let draft = dir.join(format!("{DRAFT}draft-{}-{number}", std::process::id()));
        let written = write_synced(&draft, bytes).and_then(|()| fs::rename(&draft, &path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written?;
        File::open(dir)?.sync_all()
    }

    fn get(&self, key: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(key)?)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        let dir = match prefix.trim_end_matches('/') {
            "" => self.root.clone(),
            below => self.path(below)?,
        };
        gather(&dir, prefix, &mut items)?;
        items.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(items)
    }

    fn remove(&self, key: &str) -> io::Result<()> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Directories that are empty now are of no use; others stay.
        for dir in path.ancestors().skip(1) {
            if dir == self.root || fs::remove_dir(dir).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn address(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }
}

fn gather(dir: &Path, prefix: &str, items: &mut Vec<Item>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with(DRAFT) {
            continue;
        }
        let key = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            gather(&entry.path(), &format!("{key}/"), items)?;
        } else if kind.is_file() {
            // A file that is removed meanwhile is not listed.
            match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => items.push(Item {
                    key,
                    bytes: file?.len(),
                }),
            }
        }
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the directory and those above it that are missing, for their owner only, and syncs
/// each into the one above it.
pub(crate) fn make_durable_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_durable_dir(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(above)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_written_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Directory::new(dir.path().join("archive"));
        assert_eq!(storage.list("").unwrap(), []);
        assert!(storage.put("h/a/1", b"").is_err(), "it does not exist");
        storage.prepare().unwrap();
        for (key, bytes) in [("h/b/2", "two"), ("h/a/1", "one"), ("h/b/2", "again")] {
            storage.put(key, bytes.as_bytes()).unwrap();
        }
        fs::write(dir.path().join("archive/h/a/.draft-1-1"), "half").unwrap();
        let keys = |prefix| {
            let items = storage.list(prefix).unwrap();
            items.into_iter().map(|it| it.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(""), ["h/a/1", "h/b/2"]);
        assert_eq!(keys("h/b/"), ["h/b/2"]);
        assert_eq!(storage.get("h/b/2").unwrap(), b"again");
        storage.remove("h/b/2").unwrap();
        storage.remove("h/b/2").unwrap();
        assert!(!dir.path().join("archive/h/b").exists());
        let gone = storage.get("h/b/2").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn keys_do_not_leave_the_directory() {
        let storage = Directory::new(PathBuf::from("/nonexistent"));
        for key in ["../a", "a/../b", "/a", "a//b", ".a", ""] {
            let refused = storage.put(key, b"").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{key}");
        }
    }
}
