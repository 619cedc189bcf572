//! Storages that an archive is kept in.

mod directory;
mod url;

use std::io;

pub(crate) use self::directory::make_durable_dir;
pub use self::{directory::Directory, url::open};

/// Name of the object that marks a storage as an archive. Listings do not have it.
pub const MARK: &str = "deia-archive.txt";
/// Content of that object.
pub const MARK_TEXT: &str = "This is an archive of deia. deia writes nothing here unless this file exists: a disk that is not\nmounted, or a bucket that was emptied, is noticed by that. Copy it along with the archive.\n";

/// First character of names that no object has.
const DRAFT: char = '.';

/// Checks that a key is one of an object: names with `/` between them, none of which is empty or
/// begins with a dot.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`].
pub fn check_key(key: &str) -> io::Result<()> {
    let is_plain =
        |name: &str| !name.is_empty() && !name.starts_with(DRAFT) && !name.contains(['\\', '\0']);
    match key.split('/').all(is_plain) {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{key:?} is no key of an object"),
        )),
    }
}

/// Returns the error of a write to a place without the mark.
pub fn archive_is_gone(place: &str) -> io::Error {
    let reason =
        format!("{place} has no file {MARK}: the archive is gone, or its disk is not mounted");
    io::Error::new(io::ErrorKind::NotFound, reason)
}

/// An object of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Key: names with `/` between them.
    pub key: String,
    /// Size, in bytes.
    pub bytes: u64,
}

/// A storage of objects under keys. All calls block; a caller that must not wait runs them
/// elsewhere.
pub trait Storage: Send + Sync {
    /// Makes the storage usable for a new archive, and marks it as one. Nothing else does: writes
    /// to a storage without the mark fail, because an archive that is gone, its disk unmounted,
    /// must not be continued elsewhere.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    /// Writes an object, whole or not at all, replacing one of the same key. The object is
    /// durable when this returns.
    ///
    /// # Errors
    /// The storage cannot be written; the object may exist all the same.
    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()>;

    /// Writes an object of which there must be none, whole or not at all. The object is durable
    /// when this returns.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]: there is one, which stays as it is. The storage cannot be
    /// written; the object may exist all the same.
    fn create(&self, key: &str, bytes: &[u8]) -> io::Result<()>;

    /// Reads an object.
    ///
    /// # Errors
    /// The storage cannot be read; [`io::ErrorKind::NotFound`] if there is no such object.
    fn get(&self, key: &str) -> io::Result<Vec<u8>>;

    /// Lists the objects whose key begins with `prefix`, which ends with `/`, in the order of
    /// their keys.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn list(&self, prefix: &str) -> io::Result<Vec<Item>>;

    /// Removes an object. Succeeds if there is none.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn remove(&self, key: &str) -> io::Result<()>;

    /// Removes what writers that died have left, and no listing shows. Does nothing by default.
    ///
    /// # Errors
    /// The storage cannot be read or written.
    fn sweep(&self) -> io::Result<()> {
        Ok(())
    }

    /// Ends the calls under way, and refuses later ones, with [`io::ErrorKind::Interrupted`], where
    /// a call may wait for another machine. For the end of the program; does nothing by default.
    fn interrupt(&self) {}

    /// Returns the address of an object for messages, without credentials.
    fn address(&self, key: &str) -> String;
}
