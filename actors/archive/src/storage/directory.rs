//! A directory as a storage.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{DRAFT, Item, MARK, MARK_TEXT, Storage, archive_is_gone, check_key};

/// Beginning of the names of drafts.
const DRAFT_PREFIX: &str = ".draft-";
/// Time after which a draft is that of a writer that died, on whatever machine. Fixed: a write
/// takes seconds.
const DRAFT_KEPT: Duration = Duration::from_secs(86_400);

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
        check_key(key)?;
        Ok(self.root.join(key))
    }
}

impl Directory {
    /// Writes a draft, and lets `publish` give it its name.
    fn write(
        &self,
        key: &str,
        bytes: &[u8],
        publish: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let path = self.path(key)?;
        if !self.root.join(MARK).is_file() {
            return Err(archive_is_gone(&self.root.display().to_string()));
        }
        let dir = path.parent().unwrap_or(&self.root);
        make_durable_dir(dir)?;
        let draft = self.draft(dir);
        let written = write_synced(&draft, bytes).and_then(|()| publish(&draft, &path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written?;
        File::open(dir)?.sync_all()
    }

    fn draft(&self, dir: &Path) -> PathBuf {
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        dir.join(format!("{DRAFT_PREFIX}{}-{number}", std::process::id()))
    }
}

impl Storage for Directory {
    fn prepare(&self) -> io::Result<()> {
        make_durable_dir(&self.root)?;
        let mark = self.root.join(MARK);
        if mark.is_file() {
            return Ok(());
        }
        let draft = self.draft(&self.root);
        write_synced(&draft, MARK_TEXT.as_bytes())?;
        fs::rename(&draft, &mark)?;
        File::open(&self.root)?.sync_all()
    }

    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(key, bytes, |draft, path| fs::rename(draft, path))
    }

    fn create(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(key, bytes, publish_new)
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

    fn sweep(&self) -> io::Result<()> {
        sweep(&self.root)
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
        if name.starts_with(DRAFT) || prefix.is_empty() && name == MARK {
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

/// Removes drafts that nobody writes any more, below a directory.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sweep(&entry.path())?;
            continue;
        }
        let is_draft = entry
            .file_name()
            .to_string_lossy()
            .starts_with(DRAFT_PREFIX);
        let age = || entry.metadata()?.modified().map(|it| it.elapsed());
        // A draft that is removed meanwhile has no age.
        if is_draft && matches!(age(), Ok(Ok(age)) if age > DRAFT_KEPT) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Gives a draft its name unless there is such a file.
fn publish_new(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        // A file system without links: two writers at the same instant are not told apart.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => match path.exists() {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => fs::rename(draft, path),
        },
        Err(error) => Err(error),
        Ok(()) => fs::remove_file(draft),
    }
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
    fn unfinished_files_and_empty_directories_are_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Directory::new(dir.path().join("archive"));
        storage.prepare().unwrap();
        storage.put("h/a/1", b"one").unwrap();
        storage.put("h/b/2", b"two").unwrap();
        fs::write(dir.path().join("archive/h/a/.draft-1-1"), "half").unwrap();
        let keys: Vec<_> = { storage.list("").unwrap().into_iter() }
            .map(|it| it.key)
            .collect();
        assert_eq!(keys, ["h/a/1", "h/b/2"]);
        storage.remove("h/b/2").unwrap();
        assert!(!dir.path().join("archive/h/b").exists());
    }

    #[test]
    fn drafts_of_writers_that_died_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Directory::new(dir.path().to_owned());
        storage.prepare().unwrap();
        storage.put("h/a", b"1").unwrap();
        let (new, old) = (".draft-1-1", ".draft-1-2");
        for name in [new, old] {
            fs::write(dir.path().join("h").join(name), "half").unwrap();
        }
        let file = File::options()
            .write(true)
            .open(dir.path().join("h").join(old));
        let before = std::time::SystemTime::now() - 2 * DRAFT_KEPT;
        file.unwrap().set_modified(before).unwrap();
        storage.sweep().unwrap();
        assert!(dir.path().join("h").join(new).exists());
        assert!(!dir.path().join("h").join(old).exists());
        assert_eq!(storage.get("h/a").unwrap(), b"1");
    }
}
