//! Implementations of [`crate::Store`]: the only place with SQL.

#[cfg(any(test, feature = "testing"))]
#[allow(clippy::unwrap_used, reason = "a test suite")]
pub mod conformance;
mod sqlite;

#[doc(hidden)]
pub use sqlite::lists::cursor as task_cursor;
pub use sqlite::{OpenError, SqliteOptions, SqliteStore};
