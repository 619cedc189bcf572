//! The archive that a data directory has written, remembered in the directory: an archive that is
//! gone is noticed, and not begun anew.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::data_dir::write_secret;

/// Name of the file in the data directory.
pub(super) const FILE: &str = "archive.json";

/// An archive that was begun or continued here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownArchive {
    /// Address of the archive.
    pub(super) url: String,
    /// Id of the hive.
    pub(super) hive: String,
    /// The newest generation, once it has begun.
    pub(super) generation: Option<String>,
}

/// Reads the archive that was written last; `None` if there is none.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub(super) fn recall(data_dir: &Path) -> io::Result<Option<KnownArchive>> {
    match fs::read(data_dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
    }
}

/// Remembers an archive; on disk when this returns.
pub(super) fn remember(data_dir: &Path, known: &KnownArchive) -> io::Result<()> {
    let text = serde_json::to_string(known)?;
    write_secret(&data_dir.join(FILE), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_is_remembered_and_a_damaged_memory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(recall(dir.path()).unwrap(), None);
        let known = KnownArchive {
            url: "file:///mnt/nas".into(),
            hive: "hive-1".into(),
            generation: None,
        };
        remember(dir.path(), &known).unwrap();
        assert_eq!(recall(dir.path()).unwrap(), Some(known));
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(recall(dir.path()).is_err());
    }
}
