//! Reasons why an archive cannot be written, read or restored from.

use std::{io, path::PathBuf};

use crate::restore::Extent;

/// A failure of an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The storage cannot be reached, read or written.
    #[error("{place}: {source}")]
    Storage {
        /// The object, with the address of the storage.
        place: String,
        /// The reason.
        source: io::Error,
    },
    /// An object of the archive is not as it was written.
    #[error("{place} is damaged: {reason}")]
    Damaged {
        /// The object, with the address of the storage.
        place: String,
        /// The observation that shows this.
        reason: String,
    },
    /// An object that is needed does not exist.
    #[error("{place} is missing")]
    Missing {
        /// The object, with the address of the storage.
        place: String,
    },
    /// The log of the store does not continue where the archive ends.
    #[error("the log does not continue the archive: {0}")]
    Broken(String),
    /// Another hive writes the archive of this one.
    #[error(
        "{place}: another hive writes this archive; each data directory needs its own recovery.url"
    )]
    Fenced {
        /// The object that the other one has written.
        place: String,
    },
    /// Two hives have written the archive of one.
    #[error(
        "two hives have written this archive: {later} does not continue {earlier}; choose one of their restore points"
    )]
    Forked {
        /// Id of the later generation.
        later: String,
        /// Id of the one before it.
        earlier: String,
    },
    /// Nothing in the archive fits the request.
    #[error("{0}")]
    NoSuchPoint(String),
    /// The archive does not have the moment.
    #[error("{reason}{}", between(extent.as_ref()))]
    Outside {
        /// The observation that shows this.
        reason: String,
        /// The commits that can be restored, if they are known.
        extent: Option<Extent>,
    },
    /// The restored file cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

fn between(extent: Option<&Extent>) -> String {
    let words = |extent: &Extent| format!("; it has events {} to {}", extent.oldest, extent.newest);
    extent.map_or_else(String::new, words)
}

impl ArchiveError {
    /// Returns whether the writer of the archive goes on with the same operation: it may succeed
    /// later, or somebody has to decide.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Storage { .. } | Self::Fenced { .. })
    }

    pub(crate) fn damaged(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged {
            place: place.into(),
            reason: reason.into(),
        }
    }
}
