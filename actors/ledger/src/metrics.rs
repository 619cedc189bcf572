//! Counters and histograms, and the metrics of a store.
//!
//! Producers add to plain atomics, once per commit where possible; the text for `GET
//! /metrics` is made elsewhere, on request.

mod counter;
mod histogram;
mod store;
mod turns;

pub use counter::Counter;
pub use histogram::{Histogram, Snapshot};
pub use store::{StoreMetrics, UNREADABLE_ROWS};
pub use turns::TurnWaits;
