//! The ledger: the only path for durable changes.
//!
//! A [`Command`] is applied in one transaction together with the events it causes, and
//! nobody is answered before that transaction is on disk. The implementation is the
//! business of the [`Store`]; nothing here assumes one node, a file, or a thread.

pub mod anchor;
mod apply;
mod commands;
mod demand;
mod direct_dispatch;
pub mod failpoint;
mod flow;
mod followers;
mod hint;
pub mod metrics;
mod policy;
mod refusal;
pub mod reserve;
mod shares;
mod statistics;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod traits;

pub use apply::Apply;
pub use commands::*;
pub use demand::Demand;
pub use direct_dispatch::{DirectDispatch, Slot};
pub use flow::{Flow, Histogram};
pub use followers::{Advance, Effect, EventLog, EventsPage, Follower, FollowerName, FollowerState};
pub use hint::{Cancelling, Hint, ReadyLane, ReadyTask};
pub use policy::{PerSubmitter, Retention, SubmitterLimits, TaskPolicy, TypePolicy};
pub use refusal::Refusal;
pub use shares::{Backlog, Load, TypeLimit, TypeRoom, admit};
pub use statistics::{Statistics, StatisticsRow, hour_of};
pub use traits::{
    AccessReads, AlertReads, BotReads, BoxFuture, CommandLog, EventReads, HintSink, Ledger,
    Prunable, ReadyQuery, SchedulerReads, Shortage, Standing, Store, StoreError, TaskOutcome,
    TaskReads,
};
