//! Counters and histograms, and what a store counts with them.
//!
//! Whoever does the work adds to plain atomics, once a commit where it can; the
//! text for `GET /metrics` is made elsewhere, when somebody asks for it.

mod count;
mod histogram;
mod store;

pub use count::Count;
pub use histogram::{Histogram, Snapshot};
pub use store::{StoreMetrics, UNREADABLE_ROWS};
