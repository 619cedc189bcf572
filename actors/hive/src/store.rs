//! Implementations of [`crate::ledger::Store`]: the only place with SQL.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod sqlite;

pub use sqlite::{OpenError, SqliteOptions, SqliteStore};
