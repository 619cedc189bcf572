//! What the scheduler is told.

use actix::Message;
use deia_supervision::Handle;

use crate::{
    actors::bots::BotActor,
    ledger::ReadyTask,
    model::{BotName, Capabilities},
};

/// Tasks became ready, or will be.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TasksWaiting {
    /// Those that are ready.
    pub(crate) ready: Vec<ReadyTask>,
    /// When the next one will be, in milliseconds since the epoch.
    pub(crate) due: Option<i64>,
}

/// A bot takes tasks. Sent when it begins and, lest a new scheduler know of no
/// bots, from time to time.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SeatOpened {
    pub(crate) bot: BotName,
    /// Which start of the bot this is.
    pub(crate) epoch: u64,
    pub(crate) capabilities: Capabilities,
    pub(crate) in_hand: u32,
    pub(crate) handle: Handle<BotActor>,
}

/// A bot takes no more tasks.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SeatClosed {
    pub(crate) bot: BotName,
    pub(crate) epoch: u64,
}

/// A bot has finished tasks.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SeatsFreed {
    pub(crate) bot: BotName,
    pub(crate) epoch: u64,
    pub(crate) places: u32,
}

/// Assign nothing any more: the hive is stopping.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Quiesce;

/// What is paused changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PausesChanged;

/// The book has free places, or tells what came of claims.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BookChanged;
