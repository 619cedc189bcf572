//! The ledger: the only path for durable changes.
//!
//! A [`Command`] is applied in one transaction together with the events it causes, and
//! nobody is answered before that transaction is on disk. The implementation is the
//! business of the [`Store`]; nothing here assumes one node, a file, or a thread.

pub mod anchor;
mod apply;
mod commands;
mod commit_notice;
mod demand;
mod direct_dispatch;
pub mod failpoint;
mod followers;
mod lane_stats;
mod log_feed;
pub mod metrics;
mod policy;
mod rejection;
pub mod reserve;
mod shares;
mod statistics;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod trail;
mod traits;

pub use apply::Apply;
pub use commands::*;
pub use commit_notice::{Cancelling, CommitNotice, ReadyLane, ReadyTask};
pub use demand::Demand;
pub use direct_dispatch::{DirectDispatch, Slot};
pub use followers::{Advance, Effect, EventLog, EventsPage, Follower, FollowerName, FollowerState};
pub use lane_stats::{Histogram, LaneStats};
pub use log_feed::{Feed, FeedWaits, LogEnd, LogFeed, LoggedCommit};
pub use policy::{PerSubmitter, Retention, SubmitterLimits, TaskPolicy, TypePolicy};
pub use rejection::Rejection;
pub use shares::{Backlog, Load, TypeLimit, TypeRoom, admit};
pub use statistics::{CountedEvent, EventCounts, Statistics, StatisticsRow, hour_of};
pub use trail::SealedTrail;
pub use traits::{
    AccessReads, AlertReads, AuditReads, BotReads, BoxFuture, CommandLog, CommitListener,
    EventReads, EventScan, Ledger, MessagingReads, ModeReads, Prunable, QueuePosition, ReadyQuery,
    RunningReplay, SchedulerReads, SettingsReads, Shortage, Store, StoreError, TaskCompletion,
    TaskReads, WaitingDelivery, WebhookReads,
};
