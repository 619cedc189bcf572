//! Resources that this process gets from its host: open files, children, signals.
//!
//! Plain blocking code: it never runs on an arbiter.

pub(crate) mod anchor;
pub mod children;
pub mod descriptors;
pub(crate) mod private_dir;
pub(crate) mod reserve;
pub mod signals;
