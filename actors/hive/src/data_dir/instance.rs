//! The identity of a data directory, which no copy of it shares.
//!
//! The hive's id is in the store and so belongs to the data: a copy has it, too.
//! Environment tags that must differ between the two carry the instance instead: those of the
//! hive's programs, which a start on the same directory ends. It is kept in a file
//! beside the lock and is bound to the lock file's device and inode: the lock of a copy
//! is another file, so a start there makes a new instance. A later start on the same
//! directory finds the same one.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use uuid::Uuid;

use super::write_secret;

/// Name of the file in the data directory.
const FILE: &str = "deia.instance";

/// Device and inode of the lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lock {
    device: u64,
    inode: u64,
}

/// Returns the instance of the directory whose lock is held; creates one if it has none, or has
/// that of another directory.
///
/// # Errors
/// The lock file cannot be read.
pub(super) fn instance_of(dir: &Path, lock: &File) -> io::Result<String> {
    let lock = lock.metadata()?;
    let lock = Lock {
        device: lock.dev(),
        inode: lock.ino(),
    };
    let path = dir.join(FILE);
    let kept = fs::read_to_string(&path).ok();
    if let Some(instance) = kept.as_deref().and_then(|text| bound_to(lock, text)) {
        return Ok(instance.to_owned());
    }
    if kept.is_some() {
        tracing::info!(
            data_dir = %dir.display(),
            "data directory was copied, restored or moved; its programs get a new mark"
        );
    }
    let instance = format!("instance-{}", Uuid::now_v7().simple());
    let text = format!("{instance} {} {}", lock.device, lock.inode);
    if let Err(error) = write_secret(&path, &text) {
        // A full disk does not prevent a start; the reaper ends the programs nevertheless.
        tracing::warn!(
            path = %path.display(),
            %error,
            "instance cannot be kept: a start after a kill of both deia and its reaper would not find the programs of this run"
        );
    }
    Ok(instance)
}

/// Returns the instance in the text of the file if it belongs to this lock.
fn bound_to(lock: Lock, text: &str) -> Option<&str> {
    let mut words = text.strip_suffix('\n')?.split(' ');
    let (instance, device, inode) = (words.next()?, words.next()?, words.next()?);
    let same = device.parse() == Ok(lock.device) && inode.parse() == Ok(lock.inode);
    let sound = instance.starts_with("instance-") && words.next().is_none();
    (same && sound).then_some(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_is_bound_to_the_lock_file() {
        let lock = Lock {
            device: 7,
            inode: 42,
        };
        for (text, expected) in [
            ("instance-a 7 42\n", Some("instance-a")),
            ("instance-a 7 43\n", None),
            ("instance-a 8 42\n", None),
            // The text was truncated by a loss of power.
            ("instance-a 7 42", None),
            ("instance-a 7 4\n", None),
            ("instance-a 7\n", None),
            ("", None),
            ("instance-a 7 42 1\n", None),
            ("a 7 42\n", None),
        ] {
            assert_eq!(bound_to(lock, text), expected, "{text:?}");
        }
    }

    #[test]
    fn directory_keeps_its_instance_and_a_copy_gets_another() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("data"), dir.path().join("copy"));
        let instance = |path: &Path| {
            let lock = File::create(path.join("deia.lock")).unwrap();
            instance_of(path, &lock).unwrap()
        };
        fs::create_dir(&path).unwrap();
        let first = instance(&path);
        fs::create_dir(&copy).unwrap();
        for file in ["deia.lock", FILE] {
            fs::copy(path.join(file), copy.join(file)).unwrap();
        }
        let copied = instance(&copy);
        assert_ne!(first, copied);
        assert_eq!(instance(&path), first);
        assert_eq!(instance(&copy), copied);
        // The directory remains the same when it is moved within its file system.
        fs::rename(&path, dir.path().join("moved")).unwrap();
        assert_eq!(instance(&dir.path().join("moved")), first);
    }
}
