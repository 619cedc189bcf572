//! The sign of a disk that is full except for the reserve.
//!
//! The store keeps a file of some blocks, and releases them on a full disk so that
//! running work can still be finished. The space that becomes free is for the store
//! alone: a program that continues to print would use it up at once.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Name of the reserve in the data directory.
pub const FILE: &str = "reserve";

/// Refuses to write to a file that can wait for space, while the reserve of this data
/// directory is released.
/// directory is given up.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`].
pub fn leave_alone(data_dir: &Path) -> io::Result<()> {
    match fs::metadata(data_dir.join(FILE)) {
        Ok(file) if file.blocks() == 0 => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "the disk is full but for the reserve (store.reserve_bytes)",
        )),
        // Without a reserve the disk itself reports when it is full.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_emptied_reserve_refuses_writes() {
        let dir = tempfile::tempdir().unwrap();
        leave_alone(dir.path()).unwrap();
        fs::write(dir.path().join(FILE), [1; 4_096]).unwrap();
        leave_alone(dir.path()).unwrap();
        fs::write(dir.path().join(FILE), []).unwrap();
        let refused = leave_alone(dir.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    }
}
