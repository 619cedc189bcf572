//! Notices of changes in directories (inotify(7)).

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::inotify;
use tokio::io::{Interest, unix::AsyncFd};

/// Changes of names in a directory, and of the content of its files.
const CHANGES: inotify::WatchFlags = inotify::WatchFlags::CREATE
    .union(inotify::WatchFlags::CLOSE_WRITE)
    .union(inotify::WatchFlags::MODIFY)
    .union(inotify::WatchFlags::MOVED_TO)
    .union(inotify::WatchFlags::MOVED_FROM)
    .union(inotify::WatchFlags::DELETE)
    .union(inotify::WatchFlags::ATTRIB)
    .union(inotify::WatchFlags::DELETE_SELF)
    .union(inotify::WatchFlags::MOVE_SELF);

/// A watch of directories. Which of their files has changed is not told.
#[derive(Debug)]
pub(crate) struct DirectoryWatch(AsyncFd<OwnedFd>);

impl DirectoryWatch {
    /// Reads the changes of directories that are watched. Needs a tokio runtime.
    ///
    /// # Errors
    /// The descriptor is of no use to the runtime.
    #[allow(
        deprecated,
        reason = "the other constructors are unsafe; an OwnedFd keeps the promise that they ask for"
    )]
    pub(crate) fn of(watched: OwnedFd) -> io::Result<Self> {
        AsyncFd::with_interest(watched, Interest::READABLE).map(Self)
    }

    /// Resolves when something in the directories has changed since the last call.
    ///
    /// # Errors
    /// The watch broke.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4_096];
            let mut any = false;
            let drained = ready.try_io(|watch| {
                let mut events = inotify::Reader::new(watch.get_ref(), &mut buffer);
                loop {
                    match events.next() {
                        Ok(_) => any = true,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(error) => break Err::<(), _>(error.into()),
                    }
                }
            });
            match drained {
                _ if any => return Ok(()),
                Err(_) => {}
                Ok(broken) => return broken,
            }
        }
    }
}

/// Watches directories from now on. May block, as everything that follows paths.
///
/// # Errors
/// One of them cannot be watched: it does not exist, the file system has no events, or the user has
/// too many watches.
pub(crate) fn watch(directories: &[PathBuf]) -> io::Result<OwnedFd> {
    let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
    let watch = inotify::init(flags)?;
    for directory in directories {
        inotify::add_watch(&watch, directory.as_path(), CHANGES)?;
    }
    Ok(watch)
}

/// Returns the directories in which a change can give a file another content: its own, and those
/// of the files that it is a symbolic link to.
pub(crate) fn directories_of(file: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut found = vec![parent(file)];
    let mut at = file.to_owned();
    // As many links as Linux follows (path_resolution(7)).
    for _ in 0..40 {
        let Ok(target) = std::fs::read_link(&at) else {
            break;
        };
        at = parent(&at).join(target);
        found.push(parent(&at));
    }
    if let Ok(real) = file.canonicalize() {
        found.push(parent(&real));
    }
    found.sort();
    found.dedup();
    found.retain(|directory| directory.is_dir());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_renames_and_links_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        std::fs::create_dir(&real).unwrap();
        std::fs::write(real.join("a.yaml"), "1").unwrap();
        let link = dir.path().join("deia.yaml");
        std::os::unix::fs::symlink("real/a.yaml", &link).unwrap();
        let directories = directories_of(&link);
        assert!(
            directories.contains(&dir.path().to_owned()),
            "{directories:?}"
        );
        assert!(
            directories.iter().any(|it| it.ends_with("real")),
            "{directories:?}"
        );
        let watched = DirectoryWatch::of(watch(&directories).unwrap()).unwrap();
        std::fs::write(real.join("a.yaml"), "2").unwrap();
        watched.changed().await.unwrap();
        let other = dir.path().join("new");
        std::os::unix::fs::symlink("real/b.yaml", &other).unwrap();
        std::fs::rename(&other, &link).unwrap();
        watched.changed().await.unwrap();
        assert!(watch(&["/no/such/directory".into()]).is_err());
    }
}
