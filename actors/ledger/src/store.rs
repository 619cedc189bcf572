//! Implementations of [`crate::Store`]: the only place with SQL.

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test suite")]
mod conformance;
mod sqlite;

#[doc(hidden)]
pub use sqlite::lists::cursor as task_cursor;
pub use sqlite::{Examined, OpenError, SqliteOptions, SqliteStore, examine};
