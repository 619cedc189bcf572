//! Archives of a hive's store, on any storage: the log of its commits, shipped in parts,
//! snapshots of the database, and restore points.
//!
//! A **generation** is a chain of parts without a gap. Each part has frames of the
//! write-ahead log up to a commit, the hash of the part before it, and a checksum over all
//! pages of the database after it. A **snapshot** is a copy of the database file that was
//! made while it was written to; applying the parts from the first frame of the log that was
//! in use when the copy began makes the copy exact. A restore takes a snapshot, applies parts
//! up to one commit, and compares the checksums. No runtime, no SQL, no HTTP: an archive is
//! restored without a hive.
//!
//! **Files** beside the store are shipped as a log of their changes, before the commits that name
//! them; a restore brings those of its moment.

mod document;
mod error;
mod files;
mod frame;
mod layout;
mod lineage;
mod log;
mod marks;
mod part;
mod point;
mod restore;
mod retention;
mod snapshot;
mod storage;
mod survey;
#[cfg(feature = "testing")]
pub mod testing;
mod verify;
mod writer;

pub use self::{
    error::ArchiveError,
    files::{Change, FilesAt, FilesPlan, FilesRestored, FilesWriter, Stamp},
    log::{FRAME_HEADER_BYTES, LogFile, LogHeader},
    part::{Commit, PartHeader},
    point::{Point, PointKind},
    restore::{Edge, EventRef, Extent, Moment, Plan, Restored, Target, plan, restore},
    retention::prune,
    snapshot::Snapshot,
    storage::{
        Directory, Item, MARK as ARCHIVE_MARK, MARK_TEXT as ARCHIVE_MARK_TEXT, Storage,
        archive_is_gone, check_key, open,
    },
    survey::{Fault, Survey},
    verify::{Verified, verify},
    writer::{Ahead, Beginning, GenerationWriter, LogEnd, NEW_ARCHIVE, Needs, Resumed, resume},
};
