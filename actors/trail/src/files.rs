//! Files that are written now and made durable together later.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Number of files that are synced one by one. Fixed: beyond it, one sync of the file
/// system costs less.
const FEW: usize = 16;
/// Number of directories that are remembered. Fixed: bounds the memory; what is forgotten
/// is read again.
const KNOWN_MAX: usize = 4_096;

/// A function that is told of a change.
type Call = Box<dyn Fn(&Path) + Send + Sync>;

/// Called with the path of each file that was written or replaced, and of each directory that was
/// removed, for those who copy the trail. Nobody is called by default.
#[derive(Clone, Default)]
pub struct OnChange(Option<Arc<Call>>);

impl OnChange {
    /// Lets a function be called, which must not wait.
    pub fn new(call: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Box::new(call))))
    }

    pub(crate) fn changed(&self, path: &Path) {
        if let Some(call) = &self.0 {
            call(path);
        }
    }
}

impl fmt::Debug for OnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnChange")
    }
}

/// Files of a directory that were written and not yet synced.
#[derive(Debug)]
pub(crate) struct Dirty {
    root: PathBuf,
    on_change: OnChange,
    files: BTreeSet<PathBuf>,
    dirs: BTreeSet<PathBuf>,
    /// Directories that exist.
    known: HashSet<PathBuf>,
    /// The directory, open from before the first write: a sync of its file system reports the
    /// errors since then.
    volume: Option<File>,
}

impl Dirty {
    pub(crate) fn new(root: PathBuf, on_change: OnChange) -> Self {
        Self {
            root,
            on_change,
            files: BTreeSet::new(),
            dirs: BTreeSet::new(),
            known: HashSet::new(),
            volume: None,
        }
    }

    /// Writes a file, with the directories above it. It may not be on disk before
    /// [`sync`](Self::sync). A file of that name, which a checkpoint may cover, is never
    /// truncated: another content takes its place as a whole.
    pub(crate) fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(name);
        self.make_dir_of(&path)?;
        if self.volume.is_none() {
            self.volume = Some(File::open(&self.root)?);
        }
        match create_new(&path) {
            Ok(mut file) => file.write_all(bytes)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(&path)? != bytes {
                    let draft = path.with_extension("new");
                    remove(&draft)?;
                    let mut file = create_new(&draft)?;
                    file.write_all(bytes)?;
                    file.sync_data()?;
                    fs::rename(&draft, &path)?;
                }
            }
            Err(error) => return Err(error),
        }
        self.on_change.changed(&path);
        self.files.insert(path);
        Ok(())
    }

    /// Notes a file that was changed otherwise.
    pub(crate) fn changed(&mut self, path: PathBuf) {
        if let Some(dir) = path.parent() {
            self.dirs.insert(dir.to_owned());
        }
        self.on_change.changed(&path);
        self.files.insert(path);
    }

    /// Makes the directories above a file.
    pub(crate) fn make_dir_of(&mut self, path: &Path) -> io::Result<()> {
        let Some(dir) = path.parent() else {
            return Ok(());
        };
        self.dirs.insert(dir.to_owned());
        if self.known.contains(dir) {
            return Ok(());
        }
        // A directory of an earlier process may not be on disk yet.
        if let Some(above) = dir.parent() {
            self.dirs.insert(above.to_owned());
        }
        if !dir.is_dir() {
            self.make_dir_of(dir)?;
            match DirBuilder::new().mode(0o700).create(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        self.known.insert(dir.to_owned());
        Ok(())
    }

    /// Makes everything that was written durable. A sync for each of many files would be a
    /// commit of the file system each, so these are left to one sync of the whole.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let files = std::mem::take(&mut self.files);
        let dirs = std::mem::take(&mut self.dirs);
        match &self.volume {
            Some(volume) if files.len() > FEW => rustix::fs::syncfs(volume)?,
            _ => {
                for file in files {
                    File::open(file)?.sync_data()?;
                }
                for dir in dirs {
                    File::open(dir)?.sync_all()?;
                }
            }
        }
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        Ok(())
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

/// Removes a directory with all below it, if it is there.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(path))
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a small file so that it is replaced as a whole; on disk when this returns. `hit` is
/// called before it takes the place of the old one.
pub(crate) fn replace(path: &Path, bytes: &[u8], hit: impl FnOnce()) -> io::Result<()> {
    let draft = path.with_extension("new");
    remove(&draft)?;
    let mut file = create_new(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    hit();
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads a file; `None` if it does not exist.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
