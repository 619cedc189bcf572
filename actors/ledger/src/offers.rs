//! Whom a task goes to in the transaction that makes it ready.

use deia_model::{BotName, LeaseToken, TaskType};

use super::ClaimedTask;

/// A place that was taken for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The bot.
    pub bot: BotName,
    /// Which start of the bot.
    pub epoch: u64,
    /// The token of the attempt.
    pub lease: LeaseToken,
}

/// Takes tasks at the moment that they come in: when nothing of their type
/// waits and a bot has room, the claim joins the transaction of the submission,
/// which saves a commit. A store may leave it: then every task is claimed later.
///
/// Called on the store's own thread, so nothing in it may block.
pub trait Offers: Send + Sync + 'static {
    /// Takes a place for a task of that type, if it may start at once.
    fn take(&self, task_type: &TaskType) -> Option<Seat>;

    /// Returns whether tasks are withheld from a bot since a commit before this one: no
    /// claim for it may be applied any more.
    fn withholds(&self, bot: &BotName) -> bool {
        let _ = bot;
        false
    }

    /// The claims are on disk.
    fn claimed(&self, tasks: Vec<(Seat, ClaimedTask)>);

    /// The transaction did not come to be: the places are free again.
    fn release(&self, seats: Vec<Seat>);
}
