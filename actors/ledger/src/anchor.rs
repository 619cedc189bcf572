//! Detection of files that were removed or replaced while open.
//!
//! A file that was removed, or whose file system was unmounted, can still be written
//! to, and everything written is lost with the last descriptor.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Device and inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

/// The path of an open file, and the identity of the file.
#[derive(Clone, Debug)]
pub struct Anchor {
    path: PathBuf,
    id: FileId,
}

/// The file is no longer at its path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} {how}; the data directory was removed, replaced or unmounted while the hive runs: \
     bring it back, or stop the hive"
)]
pub struct Adrift {
    /// The path.
    path: PathBuf,
    /// The observation that shows this.
    how: String,
}

impl Anchor {
    /// Records the identity of the file at the path; must be called right after it was
    /// opened.
    ///
    /// # Errors
    /// There is no file at the path.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: FileId::of(&fs::metadata(path)?),
        })
    }

    /// Checks that the same file is still at the path. Does not open the file.
    ///
    /// # Errors
    /// [`Adrift`].
    pub fn holds(&self) -> Result<(), Adrift> {
        let how = match fs::metadata(&self.path) {
            Ok(file) if FileId::of(&file) == self.id => return Ok(()),
            Ok(_) => "is another file now".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "is gone".to_owned(),
            Err(error) => format!("cannot be found ({error})"),
        };
        Err(Adrift {
            path: self.path.clone(),
            how,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_file_at_the_same_path_holds() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("file"), dir.path().join("aside"));
        assert!(Anchor::at(&path).is_err());
        fs::write(&path, "1").unwrap();
        let anchor = Anchor::at(&path).unwrap();
        let said = || anchor.holds().map_err(|adrift| adrift.how);
        fs::write(&path, "grown").unwrap();
        assert_eq!(said(), Ok(()));
        fs::rename(&path, &aside).unwrap();
        assert_eq!(said(), Err("is gone".into()));
        fs::write(&path, "1").unwrap();
        assert_eq!(said(), Err("is another file now".into()));
        fs::rename(&aside, &path).unwrap();
        assert_eq!(said(), Ok(()));
    }
}
