//! Counters and measurements for `GET /metrics`.
//!
//! [`table`] lists every metric; `docs/METRICS.md` is generated from it. The code that does the
//! work adds to plain atomics, once per commit where possible; the text is produced on request.

mod exposition;
mod flow;
mod host;
mod parts;
mod process;
mod supervision;
pub mod table;

pub use exposition::{CONTENT_TYPE, Exposition};
pub(crate) use flow::FlowMetrics;
pub(crate) use host::HostReading;
pub(crate) use parts::{BOT_LOGS, SchedulerMetrics, WORKERS, write_store};
pub(crate) use process::ProcessReading;
pub(crate) use supervision::SupervisionMetrics;
