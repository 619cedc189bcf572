//! Dispatch of a task in the transaction that makes it ready.

use std::time::Duration;

use deia_model::{BotName, LeaseToken};

use super::{ClaimedTask, Demand};

/// A slot of a bot that was taken for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The bot.
    pub bot: BotName,
    /// Number of the bot's start.
    pub incarnation: u64,
    /// The token of the attempt.
    pub lease: LeaseToken,
    /// Time after which the lease expires unless it is extended; `None`: it ends with
    /// its bot.
    pub expires_after: Option<Duration>,
    /// Bot for which the bot takes the task; `None`: it takes tasks of this type anyway.
    pub stands_in_for: Option<BotName>,
}

/// Assigns tasks at the moment of submission: if no task with the same demand waits and
/// a bot has capacity, the claim joins the transaction of the submission, which saves a
/// commit. A store may ignore this: then every task is claimed later.
///
/// Called on the store's own thread, so implementations must not block.
pub trait DirectDispatch: Send + Sync + 'static {
    /// Takes a slot for a task with that demand, if it may start at once.
    fn take(&self, demand: &Demand) -> Option<Slot>;

    /// Returns whether tasks are withheld from a bot since an earlier commit: claims
    /// for it must not be applied any more.
    fn withholds(&self, bot: &BotName) -> bool {
        let _ = bot;
        false
    }

    /// Delivers the tasks, whose claims are now on disk.
    fn claimed(&self, tasks: Vec<ClaimedTask>);

    /// Frees slots whose transaction was rolled back.
    fn release(&self, slots: Vec<Slot>);
}
