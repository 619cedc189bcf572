//! The ledger: the only way in which anything durable changes.
//!
//! A [`Command`] is applied in one transaction together with the events it
//! causes, and nobody is answered before that transaction is on disk. How that
//! is done is the business of the [`Store`]; nothing here assumes one node, a
//! file, or a thread.

mod command;
mod hint;
mod store;
mod watch;

pub use command::{
    AttemptReport, BotDelta, Claim, ClaimedTask, Command, Dedup, FinishOutcome, Outcome, Refusal,
    TaskPolicy,
};
pub use hint::{Hint, ReadyTask};
pub use store::{BoxFuture, HintSink, Ledger, ReadyQuery, Store, StoreError};
pub(crate) use watch::TaskWatch;
