//! Detection of a full disk, and its log messages.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::Shortage;

/// Number of bytes that are written to find out whether there is space. Fixed: more than
/// the pages of one commit.
const PROBE_BYTES: usize = 64 << 10;
/// Space that the growth of a file for maintenance leaves to essential writes. Fixed:
/// some hundred pages, enough for ends of attempts.
const LEFT_OVER_BYTES: u64 = 1 << 20;
/// Interval of the log messages about a disk that stays full. Fixed: keeps a log from
/// being flooded.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Returns the free space of the directory's file system.
pub(super) fn shortage(dir: &Path) -> Shortage {
    let free_bytes =
        rustix::fs::statvfs(or_here(dir)).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    Shortage {
        dir: or_here(dir).to_owned(),
        free_bytes,
    }
}

fn or_here(dir: &Path) -> &Path {
    match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    }
}

/// Returns whether the directory's file system or the quota is full, by writing to a
/// file without a name.
pub(super) fn is_none_left(dir: &Path) -> bool {
    let dir = or_here(dir);
    let probe = || {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?;
        let mut left = PROBE_BYTES;
        while left > 0 {
            left -= rustix::io::write(&file, &[1; PROBE_BYTES][..left])?;
        }
        rustix::fs::fsync(&file)
    };
    matches!(probe(), Err(Errno::NOSPC | Errno::DQUOT))
}

/// Returns whether the file system takes `growth` more bytes for this file, with a
/// margin. A file system that does not report its free space is assumed to have enough.
pub(super) fn is_enough_for(file: &Path, growth: u64) -> bool {
    growth == 0
        || rustix::fs::statvfs(file).map_or(true, |fs| {
            fs.f_bavail.saturating_mul(fs.f_frsize) >= growth.saturating_add(LEFT_OVER_BYTES)
        })
}

/// Logs a full disk from time to time, and once when there is space again.
#[derive(Default)]
pub(super) struct FullDisk {
    told: Option<Instant>,
}

impl FullDisk {
    /// Notes that a write found no space.
    pub(super) fn seen(&mut self, shortage: &Shortage) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::error!(
                dir = %shortage.dir.display(),
                free_bytes = shortage.free_bytes,
                "the disk is full: writes are refused, and results of bots are kept in memory until there is space"
            );
        }
    }

    /// Returns whether nothing was written since a write found no space.
    pub(super) fn lasts(&self) -> bool {
        self.told.is_some()
    }

    /// Notes that something was written.
    pub(super) fn written(&mut self) {
        // Small writes may succeed while large ones do not: that is not worth a
        // message.
        if self
            .told
            .is_some_and(|told| told.elapsed() >= TELL_EVERY / 60)
        {
            self.told = None;
            tracing::info!("the disk has space again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_room_is_not_full_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_none_left(dir.path()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(!is_none_left(Path::new("/nonexistent")));
    }

    #[test]
    fn growth_leaves_something() {
        let dir = tempfile::tempdir().unwrap();
        for (growth, enough) in [(0, true), (1, true), (u64::MAX, false)] {
            assert_eq!(is_enough_for(dir.path(), growth), enough, "{growth}");
        }
    }

    #[test]
    fn a_full_disk_is_told_of_once() {
        let mut full = FullDisk::default();
        full.written();
        assert!(full.told.is_none());
        full.seen(&Shortage::default());
        let told = full.told;
        full.seen(&Shortage::default());
        full.written();
        assert!(told.is_some() && full.told == told);
    }
}
