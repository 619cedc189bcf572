//! Errors of a store.

use std::{fmt, path::PathBuf};

use crate::{Rejection, anchor::Adrift};

/// Free space at the time when it was insufficient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Directory on the file system; empty if that is not known.
    pub dir: PathBuf,
    /// Free space of the file system, in bytes.
    pub free_bytes: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dir.as_os_str().is_empty() {
            true => Ok(()),
            false => write!(
                f,
                " ({}, {} free)",
                self.dir.display(),
                bytesize::ByteSize(self.free_bytes)
            ),
        }
    }
}

/// Reason why the store did not carry out a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The command was refused; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// The disk, or what the store may use of it, is full. Nothing was changed.
    #[error("the disk is full{0}; nothing was changed")]
    Full(Shortage),
    /// The file of the store is no longer where it was opened. Nothing was changed.
    #[error(transparent)]
    Gone(#[from] Adrift),
    /// Too many commands wait already. Nothing was changed.
    #[error("too many commands wait for the store")]
    Busy,
    /// The store is closed, or its writer is being restarted. Nothing was changed.
    #[error("the store is not open")]
    Closed,
    /// The command was accepted, and the writer ended while applying it, or the archive did
    /// not get the commit in time: the commit may or may not last. A repetition must be
    /// idempotent.
    #[error(
        "the writer of the store ended while applying the command, which may or may not have been applied"
    )]
    Unknown,
    /// The archive does not have an earlier commit, and answers must wait for it. Nothing
    /// was changed.
    #[error("the archive cannot be written, and recovery.mode is sync; nothing was changed")]
    Unarchived,
    /// The cursor was not issued by this store for this list.
    #[error("the cursor was not issued by this list")]
    BadCursor,
    /// The read took longer than allowed.
    #[error("the read took too long and was ended")]
    ReadTimeout,
    /// Any other failure.
    #[error("the store failed: {0}")]
    Failed(String),
}
