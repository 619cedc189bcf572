//! The files of a hive beside its store: outputs, the audit trail, the settings, encrypted keys.
//!
//! Changes of files are shipped in numbered **file parts**, each with the hash of the one before it
//! and the changed bytes. A **base** is a series of such parts that lists all files, and names the
//! objects that have their bytes, of this generation or of an earlier one: a restore begins with the
//! newest base, and nothing is uploaded again for a new generation. Parts of the log and restore
//! points name the file part that was there before them ([`FilesAt`]), so a restore brings the files
//! of its moment.

mod changes;
mod keys;
mod part;
mod replay;
mod restore;
mod retention;
mod state;
mod verify;
mod writer;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::frame::PartHash;

pub use self::{
    changes::{Change, Stamp},
    restore::{FilesPlan, FilesRestored},
    writer::FilesWriter,
};
pub(crate) use self::{keys::Listing, retention::outdated, verify::verify};

/// The end of the shipped files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesAt {
    /// Number of the last file part.
    pub(crate) part: u64,
    /// Hash of that part, in hexadecimal digits.
    pub(crate) hash: String,
    /// True if the archive had all changes of files that were made before the commits.
    pub is_complete: bool,
}

impl FilesAt {
    fn new(part: u64, hash: &PartHash, is_complete: bool) -> Self {
        Self {
            part,
            hash: HEXLOWER.encode(hash),
            is_complete,
        }
    }
}
