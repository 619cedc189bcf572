//! The space of a disk.

use std::{io, path::Path};

use rustix::fs::statvfs;

/// The space of the disk that a path is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    /// Bytes that this process may still use.
    pub(crate) free_bytes: u64,
    /// Size of the disk, in bytes.
    pub(crate) bytes: u64,
}

impl DiskSpace {
    /// Queries the file system. May hang as long as the disk does.
    ///
    /// # Errors
    /// The path does not exist or cannot be read.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let fs = statvfs(path)?;
        Ok(Self {
            free_bytes: fs.f_bavail.saturating_mul(fs.f_frsize),
            bytes: fs.f_blocks.saturating_mul(fs.f_frsize),
        })
    }

    /// Returns the share that is in use or not for this process, in percent; 0 for a disk
    /// without a size.
    pub(crate) fn used_percent(self) -> f64 {
        super::used_percent(self.free_bytes, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_in_use_is_that_of_the_whole_disk() {
        for (free_bytes, bytes, expected) in
            [(0, 0, 0.0), (100, 100, 0.0), (25, 100, 75.0), (0, 8, 100.0)]
        {
            let disk = DiskSpace { free_bytes, bytes };
            assert!((disk.used_percent() - expected).abs() < 1e-9, "{disk:?}");
        }
        assert!(DiskSpace::of(Path::new("/")).unwrap().bytes > 0);
        assert!(DiskSpace::of(Path::new("/there/is/none")).is_err());
    }
}
