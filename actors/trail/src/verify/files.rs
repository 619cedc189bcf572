//! Bounded reads of a directory that is not trusted: links are not followed, only regular files
//! are read, and none beyond the size that it can have.

use std::{
    cell::RefCell,
    fmt,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat},
    io::Errno,
};

/// Number of directories that stay open. Fixed: bounds the memory; what is forgotten is
/// read again.
const OPEN_MAX: usize = 8;

/// Reason why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It does not exist.
    Missing,
    /// It, or a directory above it, is a link, a device or the like.
    NotAFile,
    /// It is longer than this.
    TooLong(u64),
    /// The system refuses.
    Refused(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is missing"),
            Self::NotAFile => f.write_str(
                "it is a link or no regular file; a trail has none, and none is followed",
            ),
            Self::TooLong(max) => write!(f, "it is longer than the {max} bytes it can have"),
            Self::Refused(reason) => write!(f, "it cannot be read: {reason}"),
        }
    }
}

impl From<Errno> for Unreadable {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::Missing,
            // A link where `NOFOLLOW` is set, or something else than a directory above.
            Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => Self::NotAFile,
            error => Self::Refused(io::Error::from(error).to_string()),
        }
    }
}

/// The kind of an entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Dir,
    Other,
}

/// The files below a directory.
#[derive(Debug)]
pub(super) struct Files {
    root: OwnedFd,
    /// Directories that were used last.
    near: RefCell<Vec<(String, OwnedFd)>>,
}

fn open_dir(at: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

impl Files {
    /// Opens the directory, which may be given by a link.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(rustix::fs::CWD, dir, flags, Mode::empty())?;
        Ok(Self {
            root,
            near: RefCell::default(),
        })
    }

    /// Returns the same files for another thread.
    pub(super) fn another(&self) -> io::Result<Self> {
        Ok(Self {
            root: self.root.try_clone()?,
            near: RefCell::default(),
        })
    }

    /// Calls `then` with an open directory.
    fn with_dir<T>(
        &self,
        name: &str,
        then: impl FnOnce(&OwnedFd) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        if name.is_empty() {
            return then(&self.root);
        }
        let mut near = self.near.borrow_mut();
        if let Some((_, fd)) = near.iter().find(|(known, _)| known == name) {
            return then(fd);
        }
        let mut fd = None;
        for part in name.split('/') {
            fd = Some(match &fd {
                None => open_dir(&self.root, part)?,
                Some(fd) => open_dir(fd, part)?,
            });
        }
        let fd = fd.ok_or(Unreadable::Missing)?;
        // Directories of incomplete tiles are removed while a trail grows.
        if name.ends_with(".p") {
            return then(&fd);
        }
        if near.len() >= OPEN_MAX {
            near.remove(0);
        }
        near.push((name.to_owned(), fd));
        near.last()
            .map_or(Err(Unreadable::Missing), |(_, fd)| then(fd))
    }

    /// Opens a file, and returns its length.
    pub(super) fn file(&self, name: &str) -> Result<(File, u64), Unreadable> {
        let (dir, last) = name.rsplit_once('/').unwrap_or(("", name));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = self.with_dir(dir, |dir| Ok(openat(dir, last, flags, Mode::empty())?))?;
        let status = fstat(&fd)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(Unreadable::NotAFile);
        }
        Ok((File::from(fd), u64::try_from(status.st_size).unwrap_or(0)))
    }

    /// Reads a file into `into`, whose content is replaced.
    pub(super) fn read(&self, name: &str, max: u64, into: &mut Vec<u8>) -> Result<(), Unreadable> {
        into.clear();
        let (file, length) = self.file(name)?;
        if length > max {
            return Err(Unreadable::TooLong(max));
        }
        let length = usize::try_from(length).map_err(|_| Unreadable::TooLong(max))?;
        into.reserve(length);
        while into.len() < length {
            let read = rustix::io::read(&file, rustix::buffer::spare_capacity(into))?;
            if read == 0 {
                break;
            }
        }
        // It may have grown meanwhile.
        into.truncate(length);
        Ok(())
    }

    /// Returns whether there is something of that name.
    pub(super) fn exists(&self, name: &str) -> bool {
        let (dir, last) = name.rsplit_once('/').unwrap_or(("", name));
        self.with_dir(dir, |dir| Ok(statat(dir, last, AtFlags::SYMLINK_NOFOLLOW)?))
            .is_ok()
    }

    /// Calls `each` with the names in a directory, in no order. A name that is not UTF-8 comes
    /// with replacement characters.
    pub(super) fn list(
        &self,
        dir: &str,
        mut each: impl FnMut(&str, EntryKind),
    ) -> Result<(), Unreadable> {
        // A file of its own, as the place in a directory belongs to the open file.
        let mut listed = match dir.rsplit_once('/') {
            _ if dir.is_empty() => Dir::read_from(&self.root)?,
            None => Dir::new(open_dir(&self.root, dir)?)?,
            Some((above, last)) => {
                Dir::new(self.with_dir(above, |above| Ok(open_dir(above, last)?))?)?
            }
        };
        while let Some(entry) = listed.read() {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                let status = statat(listed.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?;
                kind = FileType::from_raw_mode(status.st_mode);
            }
            let kind = match kind {
                FileType::RegularFile => EntryKind::File,
                FileType::Directory => EntryKind::Dir,
                _ => EntryKind::Other,
            };
            each(&name.to_string_lossy(), kind);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::fs::write(at("real/file"), "content").unwrap();
        symlink(at("real/file"), at("link")).unwrap();
        symlink(at("real"), at("linked")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        let fifo = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), FileType::Fifo, fifo, 0).unwrap();
        let files = Files::open(dir.path()).unwrap();
        let mut bytes = b"earlier".to_vec();
        for _ in 0..2 {
            assert_eq!(files.read("real/file", 7, &mut bytes), Ok(()));
            assert_eq!(bytes, b"content");
        }
        for (name, max, expected) in [
            ("real/file", 6, Unreadable::TooLong(6)),
            ("real/none", 7, Unreadable::Missing),
            ("none/file", 7, Unreadable::Missing),
            ("link", 7, Unreadable::NotAFile),
            ("linked/file", 7, Unreadable::NotAFile),
            ("zero", 7, Unreadable::NotAFile),
            ("fifo", 7, Unreadable::NotAFile),
            ("real", 7, Unreadable::NotAFile),
            ("real/file/more", 7, Unreadable::NotAFile),
        ] {
            assert_eq!(files.read(name, max, &mut bytes), Err(expected), "{name}");
        }
        assert!(files.exists("link") && files.exists("real/file") && !files.exists("none"));
        let mut names = Vec::new();
        files
            .list("", |name, kind| names.push((name.to_owned(), kind)))
            .unwrap();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        let kinds: Vec<_> = names.iter().map(|(_, kind)| *kind).collect();
        use EntryKind::{Dir, Other};
        assert_eq!(kinds, [Other, Other, Other, Dir, Other]);
        assert_eq!(files.list("linked", |_, _| ()), Err(Unreadable::NotAFile));
        // A link to the directory itself is the wish of the caller.
        let linked = Files::open(&at("linked")).unwrap();
        assert_eq!(linked.read("file", 7, &mut bytes), Ok(()));
    }
}
