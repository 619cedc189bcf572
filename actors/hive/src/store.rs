//! Implementations of [`crate::ledger::Store`]: the only place with SQL.

#[cfg(any(test, feature = "testing"))]
#[allow(clippy::unwrap_used, reason = "a test suite")]
pub mod conformance;
mod sqlite;

pub use sqlite::{OpenError, SqliteOptions, SqliteStore};
