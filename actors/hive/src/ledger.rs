//! The ledger: the only way in which anything durable changes.
//!
//! A [`Command`] is applied in one transaction together with the events it
//! causes, and nobody is answered before that transaction is on disk. How that
//! is done is the business of the [`Store`]; nothing here assumes one node, a
//! file, or a thread.

mod access;
mod command;
mod flow;
mod hint;
mod logins;
mod meter;
mod offers;
mod refusal;
mod secrets;
mod shares;
mod store;
mod watch;

pub use access::{AccessCommand, AccessLimits};
pub use command::{
    AttemptReport, BotDelta, Claim, ClaimedTask, Command, Dedup, FinishOutcome, Outcome,
    ProgressReport, TaskPolicy, TypePolicy,
};
pub use flow::{Flow, Histogram};
pub use hint::{Cancelling, Hint, ReadyLane, ReadyTask};
pub use logins::LoginCommand;
pub(crate) use meter::FlowMeter;
pub use offers::{Offers, Seat};
pub use refusal::Refusal;
pub use secrets::{Resealed, SecretCommand, StoredSecret};
pub use shares::{Backlog, Load, TypeLimit, TypeRoom, admit};
pub use store::{
    BoxFuture, HintSink, Ledger, Prunable, ReadyQuery, Shortage, Standing, Store, StoreError,
    TaskOutcome,
};
pub(crate) use watch::TaskWatch;
