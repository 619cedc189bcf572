//! Restoring the files of a moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, FileTimes, OpenOptions, Permissions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use data_encoding::HEXLOWER;

use super::{
    FilesAt,
    keys::{self, Listing},
    part::FilePart,
    replay::Source,
    state::{self, Extent, Files},
};
use crate::{
    ArchiveError, document, frame,
    storage::{Storage, make_durable_dir},
};

/// The files of one moment that are to be restored.
#[derive(Debug)]
pub struct FilesPlan {
    hive: String,
    files: Files,
}

/// Files that were restored, or compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilesRestored {
    /// Number of files.
    pub files: u64,
    /// Their size, in bytes.
    pub bytes: u64,
}

/// An extent, the file that it belongs to, and its offset in that.
type Placed<'a> = (&'a str, u64, &'a Extent);

impl FilesPlan {
    /// Finds the files of a moment in a generation.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`] or [`ArchiveError::Damaged`] names the object that is not sound.
    pub fn at(
        storage: &dyn Storage,
        hive: &str,
        generation: &str,
        at: &FilesAt,
    ) -> Result<Self, ArchiveError> {
        let found = Self::find(storage, hive, generation, Some(at.part))?;
        let (files, hash) = found.unwrap_or_default();
        if HEXLOWER.encode(&hash) != at.hash {
            let key = keys::part(hive, generation, at.part, false);
            let reason = "it is not the file part that the log names";
            return Err(ArchiveError::damaged(storage.address(&key), reason));
        }
        let hive = hive.to_owned();
        Ok(Self { hive, files })
    }

    /// Finds the newest files of a generation; `None` if it has none.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub fn newest(
        storage: &dyn Storage,
        hive: &str,
        generation: &str,
    ) -> Result<Option<Self>, ArchiveError> {
        let found = Self::find(storage, hive, generation, None)?;
        let hive = hive.to_owned();
        Ok(found.map(|(files, _)| Self { hive, files }))
    }

    fn find(
        storage: &dyn Storage,
        hive: &str,
        generation: &str,
        upto: Option<u64>,
    ) -> Result<Option<(Files, frame::PartHash)>, ArchiveError> {
        let listing = Listing::of(storage, hive)?;
        let source = Source {
            storage,
            hive,
            listing: &listing,
        };
        let found = source.replay(generation, upto)?;
        Ok(found.map(|it| (it.files, it.hash)))
    }

    /// Returns the names of the files below a directory, which has its own name too.
    pub fn names(&self, directory: &str) -> Vec<String> {
        self.files.below(directory)
    }

    /// Returns the mark of a file, if there is such a file.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.files.files.get(name).map(|it| it.facts.tag.as_str())
    }

    /// Returns the length of a file, in bytes, if there is such a file.
    pub fn length(&self, name: &str) -> Option<u64> {
        self.files.files.get(name).map(state::File::length)
    }

    /// Returns the size of the files below a directory, in bytes.
    pub fn bytes(&self, directory: &str) -> u64 {
        let names = self.names(directory).into_iter();
        names.filter_map(|name| self.length(&name)).sum()
    }

    /// Reads a small file.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`] or [`ArchiveError::Damaged`] names the object that is not sound.
    pub fn read(&self, storage: &dyn Storage, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        if !self.files.files.contains_key(name) {
            return Ok(None);
        }
        let mut content = vec![0; usize::try_from(self.length(name).unwrap_or(0)).unwrap_or(0)];
        self.each(storage, [name.to_owned()], |(_, from, _), bytes| {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            if let Some(place) = content.get_mut(from..from + bytes.len()) {
                place.copy_from_slice(bytes);
            }
            Ok(())
        })?;
        Ok(Some(content))
    }

    /// Reads all files below a directory, and compares their checksums, without restoring them.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`] or [`ArchiveError::Damaged`] names the object that is not sound.
    pub fn compare(
        &self,
        storage: &dyn Storage,
        directory: &str,
    ) -> Result<FilesRestored, ArchiveError> {
        let names = self.names(directory);
        let restored = self.counted(&names);
        self.each(storage, names, |_, _| Ok(()))?;
        Ok(restored)
    }

    fn counted(&self, names: &[String]) -> FilesRestored {
        FilesRestored {
            files: names.len() as u64,
            bytes: names.iter().filter_map(|name| self.length(name)).sum(),
        }
    }

    /// Restores the files below a directory to another one, where they must not exist. All
    /// checksums are compared; the files are synced, and read back in the end.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`] or [`ArchiveError::Damaged`] names the object that is not sound;
    /// [`ArchiveError::File`] a file that cannot be written.
    pub fn restore(
        &self,
        storage: &dyn Storage,
        directory: &str,
        to: &Path,
    ) -> Result<FilesRestored, ArchiveError> {
        let names = self.names(directory);
        let target = |name: &str| to.join(&name[directory.len() + 1..]);
        let mut dirs = BTreeSet::new();
        make_durable_dir(to).map_err(|error| at(to, error))?;
        for name in &names {
            let path = target(name);
            let dir = path.parent().unwrap_or(to).to_owned();
            if !dirs.contains(&dir) {
                make_durable_dir(&dir).map_err(|error| at(&dir, error))?;
                dirs.insert(dir);
            }
            create(&path).map_err(|error| at(&path, error))?;
        }
        self.each(storage, names.iter().cloned(), |(name, from, _), bytes| {
            let path = target(name);
            let file = OpenOptions::new().write(true).open(&path);
            let written = file.and_then(|file| file.write_all_at(bytes, from));
            written.map_err(|error| at(&path, error))
        })?;
        for name in &names {
            let path = target(name);
            if let Some(file) = self.files.files.get(name) {
                finish(&path, file).map_err(|error| at(&path, error))?;
            }
        }
        for dir in dirs {
            let synced = File::open(&dir).and_then(|it| it.sync_all());
            synced.map_err(|error| at(&dir, error))?;
        }
        Ok(self.counted(&names))
    }

    /// Reads each object once, and hands over the bytes of each extent after comparing its checksum.
    fn each(
        &self,
        storage: &dyn Storage,
        names: impl IntoIterator<Item = String>,
        mut take: impl FnMut(Placed<'_>, &[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut objects: BTreeMap<u32, Vec<Placed<'_>>> = BTreeMap::new();
        for name in names {
            if let Some((name, file)) = self.files.files.get_key_value(&name) {
                for (from, extent) in file.placed() {
                    let placed = objects.entry(extent.object).or_default();
                    placed.push((name, from, extent));
                }
            }
        }
        for (index, placed) in objects {
            let object = &self.files.objects[index as usize];
            let of = (object.number, false);
            let part = FilePart::read(storage, &self.hive, &object.generation, of)?;
            if part.hash != object.hash {
                return Err(part.damaged("it is not the object that a list of files names"));
            }
            for placed in placed {
                let extent = placed.2;
                take(placed, part.bytes(extent.at, extent.bytes, &extent.sha256)?)?;
            }
        }
        Ok(())
    }
}

fn at(path: &Path, source: io::Error) -> ArchiveError {
    ArchiveError::File {
        path: path.to_owned(),
        source,
    }
}

fn create(path: &PathBuf) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.create_new(true).write(true).mode(0o600);
    options.open(path).map(drop)
}

/// Reads a restored file back, gives it its time and its permissions, and syncs it.
fn finish(path: &Path, file: &state::File) -> io::Result<()> {
    let restored = OpenOptions::new().read(true).write(true).open(path)?;
    if restored.metadata()?.len() != file.length() {
        return Err(io::Error::other("the restored file has another length"));
    }
    for (from, extent) in file.placed() {
        let mut bytes = vec![0; usize::try_from(extent.bytes).map_err(io::Error::other)?];
        restored.read_exact_at(&mut bytes, from)?;
        if document::sha256(&bytes) != HEXLOWER.encode(&extent.sha256) {
            return Err(io::Error::other("the restored file has other bytes"));
        }
    }
    if let Some(modified) = time(file.facts.modified) {
        restored.set_times(FileTimes::new().set_modified(modified))?;
    }
    restored.sync_all()?;
    drop(restored);
    fs::set_permissions(path, Permissions::from_mode(file.facts.mode & 0o600))
}

/// Returns a time, in nanoseconds since 1970.
fn time(nanos: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
}
