//! Dispatch of a task in the transaction that makes it ready.

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
}

/// Takes tasks at the moment that they come in: when nothing with their
/// demand waits and a bot has room, the claim joins the transaction of the submission,
/// which saves a commit. A store may leave it: then every task is claimed later.
///
/// Called on the store's own thread, so nothing in it may block.
pub trait DirectDispatch: Send + Sync + 'static {
    /// Takes a slot for a task with that demand, if it may start at once.
    fn take(&self, demand: &Demand) -> Option<Slot>;

    /// Returns whether tasks are withheld from a bot since a commit before this one: no
    /// claim for it may be applied any more.
    fn withholds(&self, bot: &BotName) -> bool {
        let _ = bot;
        false
    }

    /// Hands over the tasks, whose claims are on disk now.
    fn claimed(&self, tasks: Vec<ClaimedTask>);

    /// Frees slots whose transaction did not come to be.
    fn release(&self, slots: Vec<Slot>);
}
