//! Permissions of a data directory: only its owner may read it.

use std::{
    fmt,
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Mode of directories. Fact: chmod(2): the data is for the owner of the hive alone.
const DIRECTORY: u32 = 0o700;
/// Mode of files. Fact: chmod(2): the data is for the owner of the hive alone.
const FILE: u32 = 0o600;
/// Directories of deia below the data directory.
const DIRECTORIES: &[&str] = &["logs", "logs/bots", "outputs", "work", "audit"];
/// Files that deia keeps its data in.
pub(super) const DATA_FILES: &[&str] = &[
    "deia.db",
    "deia.db-wal",
    "deia.db-shm",
    "deia.lock",
    "deia.instance",
    "secrets.key",
    "audit.key",
    "audit",
    "audit-index.db",
];
/// Files of deia in the data directory.
const FILES: &[&str] = &[
    "deia.db",
    "deia.db-wal",
    "deia.db-shm",
    "deia.lock",
    "deia.instance",
    "admin.key",
    "secrets.key",
    "audit.key",
    "audit-index.db",
    "reserve",
    "archive.json",
    "deia.db-commits",
    "crash-report.txt",
    "crash-report.previous.txt",
];

/// A file or directory that others than its owner may read or write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Path of the file or directory.
    pub path: PathBuf,
    /// Current permissions.
    pub mode: u32,
    /// Permissions that it should have.
    pub wanted: u32,
    /// True if this process may change the permissions: it leaves the target of a link alone.
    pub is_ours: bool,
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, wanted) = (self.path.display(), self.wanted);
        write!(
            f,
            "{path} is open to other users (mode {:o}): chmod {wanted:o} {path}",
            self.mode
        )
    }
}

/// Returns the permissions that `mode` should be reduced to, if others have any.
fn wanted(mode: u32, is_dir: bool) -> Option<u32> {
    (mode & 0o077 != 0).then_some(if is_dir { DIRECTORY } else { FILE })
}

fn look(path: PathBuf, found: &mut Vec<Exposed>) -> bool {
    let Ok(metadata) = path.symlink_metadata() else {
        return false;
    };
    if !metadata.is_symlink() {
        return look_at(path, &metadata, found);
    }
    // A link has no permissions of its own, and its target is not deia's to change.
    let Some(target) = path.canonicalize().ok() else {
        return false;
    };
    let known = found.len();
    let open = target
        .metadata()
        .is_ok_and(|metadata| look_at(target, &metadata, found));
    found[known..].iter_mut().for_each(|it| it.is_ours = false);
    open
}

fn look_at(path: PathBuf, metadata: &Metadata, found: &mut Vec<Exposed>) -> bool {
    let mode = metadata.mode() & 0o777;
    let known = metadata.is_dir() || metadata.is_file();
    let Some(wanted) = wanted(mode, metadata.is_dir()).filter(|_| known) else {
        return false;
    };
    let user = nix::unistd::geteuid();
    found.push(Exposed {
        path,
        mode,
        wanted,
        is_ours: user.is_root() || user.as_raw() == metadata.uid(),
    });
    true
}

/// Lists files and directories that are open to other users. Outputs are scanned only if one of
/// the directories above them is open: there may be very many.
pub fn exposed(data_dir: &Path) -> Vec<Exposed> {
    let mut found = Vec::new();
    let Ok(metadata) = data_dir.metadata() else {
        return found;
    };
    let above = look_at(data_dir.to_owned(), &metadata, &mut found);
    for name in FILES {
        look(data_dir.join(name), &mut found);
    }
    for name in DIRECTORIES {
        let open = look(data_dir.join(name), &mut found);
        match *name {
            "logs/bots" => look_below(&data_dir.join(name), 1, &mut found),
            "outputs" if open || above => look_below(&data_dir.join(name), 2, &mut found),
            _ => {}
        }
    }
    found
}

fn look_below(dir: &Path, levels: u32, found: &mut Vec<Exposed>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        look(path.clone(), found);
        if levels > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            look_below(&path, levels - 1, found);
        }
    }
}

/// Removes the permissions of others where possible, and logs this.
pub(super) fn make_private(data_dir: &Path) {
    let (mut changed, mut first) = (0_usize, None);
    for open in exposed(data_dir) {
        if !open.is_ours {
            tracing::warn!("{open}");
            continue;
        }
        match set(&open) {
            Ok(()) => {
                changed += 1;
                first.get_or_insert(open);
            }
            Err(error) => tracing::warn!(%error, "{open}"),
        }
    }
    if let Some(first) = first {
        tracing::warn!(
            path = %first.path.display(),
            mode = format!("{:o}", first.mode),
            changed,
            "the data directory was open to other users; it is its owner's alone now"
        );
    }
}

fn set(open: &Exposed) -> io::Result<()> {
    fs::set_permissions(&open.path, Permissions::from_mode(open.wanted))?;
    // Not every file system has permissions.
    match wanted(open.path.metadata()?.mode() & 0o777, false) {
        None => Ok(()),
        Some(_) => Err(io::Error::other("the file system keeps the mode as it is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_of_others_are_not_wanted() {
        for (mode, is_dir, expected) in [
            (0o700, true, None),
            (0o600, false, None),
            (0o400, false, None),
            (0o755, true, Some(0o700)),
            (0o710, true, Some(0o700)),
            (0o644, false, Some(0o600)),
            (0o602, false, Some(0o600)),
        ] {
            assert_eq!(wanted(mode, is_dir), expected, "{mode:o}");
        }
    }

    #[test]
    fn an_open_directory_is_found_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let open = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        for sub in ["logs/bots", "outputs/task", "work/bot"] {
            fs::create_dir_all(data.join(sub)).unwrap();
        }
        for file in [
            "deia.db",
            "logs/bots/b.log",
            "outputs/task/1",
            "work/bot/theirs",
            "other",
        ] {
            fs::write(data.join(file), "").unwrap();
            open(&data.join(file), 0o644);
        }
        for sub in [
            "",
            "logs",
            "logs/bots",
            "outputs",
            "outputs/task",
            "work",
            "work/bot",
        ] {
            open(&data.join(sub), 0o755);
        }
        make_private(data);
        assert_eq!(exposed(data), []);
        let mode = |path: &str| data.join(path).metadata().unwrap().mode() & 0o777;
        for (path, expected) in [
            ("", 0o700),
            ("deia.db", 0o600),
            ("logs/bots/b.log", 0o600),
            ("outputs/task", 0o700),
            ("outputs/task/1", 0o600),
            ("work", 0o700),
            // Files that are not deia's are left alone.
            ("work/bot", 0o755),
            ("work/bot/theirs", 0o644),
            ("other", 0o644),
        ] {
            assert_eq!(mode(path), expected, "{path}");
        }
    }

    #[test]
    fn link_target_is_reported_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
        let theirs = dir.path().join("theirs");
        fs::write(&theirs, "").unwrap();
        fs::set_permissions(&theirs, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&theirs, data.join("admin.key")).unwrap();
        make_private(&data);
        assert_eq!(theirs.metadata().unwrap().mode() & 0o777, 0o644);
        let told = exposed(&data);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].path, theirs.canonicalize().unwrap());
        assert!(!told[0].is_ours);
    }
}
