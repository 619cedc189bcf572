//! What is counted and measured, for `GET /metrics`.
//!
//! [`table`] names everything there is; `docs/METRICS.md` is written from it.
//! Whoever does the work adds to plain atomics, once a commit where it can; the
//! text is made when somebody asks for it.

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
pub(crate) use parts::{BOT_LOGS, SchedulerMetrics, write_store};
pub(crate) use process::ProcessReading;
pub(crate) use supervision::SupervisionMetrics;
