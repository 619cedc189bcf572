//! Transparency logs on disk: the format of the audit trail, without a hive.
//!
//! A trail is a Merkle tree over its entries in the public formats: RFC 6962 hashes, C2SP
//! `tlog-tiles`, `tlog-checkpoint`, `signed-note` and `tlog-proof`. Whoever has a copy of the
//! directory and the verifier key checks it without deia.

pub mod bundle;
pub mod checkpoint;
pub mod details;
pub mod edge;
pub mod entry;
mod files;
pub mod hash;
pub mod history;
pub mod names;
pub mod note;
pub mod proof;
mod reader;
pub mod tile;
mod trail;
pub mod verify;

pub use self::{
    files::OnChange,
    reader::{ReadError, TrailReader, TreeReader},
    trail::{Appended, Beginning, Gap, Hook, Trail, TrailError, TrailOptions},
};
