//! Reasons why a store did not do what it was asked.

use std::{fmt, path::PathBuf};

use crate::{Refusal, anchor::Adrift};

/// Free space at the time when there was too little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Directory whose file system it is; empty when that is not known.
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

/// Why the store did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The command is refused; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk, or what the store may use of it, is full. Nothing was changed.
    #[error("the disk is full{0}; nothing was changed")]
    Full(Shortage),
    /// The file of the store is no longer where it was opened. Nothing was changed.
    #[error(transparent)]
    Gone(#[from] Adrift),
    /// Too many commands wait already. Nothing was changed.
    #[error("the store has too much to do already")]
    Busy,
    /// The store is shut, or its writer is being restarted. Nothing was changed.
    #[error("the store is not open")]
    Closed,
    /// The command was accepted, and the writer ended with it in hand: the commit may or
    /// may not have happened. A repetition must be one that has its effect once.
    #[error(
        "the store's writer ended with the command in hand; it may or may not have been applied"
    )]
    Unknown,
    /// The cursor was not made by this store for this list.
    #[error("the cursor is not one that this list gave out")]
    BadCursor,
    /// The read took longer than it may.
    #[error("the read took too long and was ended")]
    ReadTimeout,
    /// Anything else.
    #[error("the store failed: {0}")]
    Failed(String),
}
