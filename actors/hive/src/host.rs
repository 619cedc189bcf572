//! Resources that this process gets from its host: open files, children, signals.
//!
//! Plain blocking code: it never runs on an arbiter.

pub mod children;
pub mod descriptors;
mod disk;
pub(crate) mod private_dir;
pub mod signals;

pub(crate) use disk::DiskSpace;
