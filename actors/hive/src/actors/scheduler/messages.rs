//! What the scheduler is told.

use actix::Message;
use deia_ledger::ReadyTask;
use deia_model::{BotGeneration, BotName, Capabilities};
use deia_supervision::Handle;

use crate::actors::bots::BotActor;

/// Tasks became ready, or will be.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TasksWaiting {
    /// Those that are ready.
    pub(crate) ready: Vec<ReadyTask>,
    /// When the next one will be, in milliseconds since the epoch.
    pub(crate) due: Option<i64>,
}

/// A bot takes tasks. Sent when it begins, and with every heartbeat: a new
/// scheduler learns of it, and changed capabilities take effect.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SeatOpened {
    pub(crate) bot: BotName,
    /// Which start of the bot this is.
    pub(crate) epoch: u64,
    /// Launch and specification that it was started for.
    pub(crate) generation: BotGeneration,
    pub(crate) capabilities: Capabilities,
    /// Tasks that reached it since its epoch began.
    pub(crate) received: u64,
    /// Tasks of these that it has no more in hand.
    pub(crate) ended: u64,
    pub(crate) handle: Handle<BotActor>,
}

/// A bot takes no tasks until its next [`SeatOpened`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SeatClosed {
    pub(crate) bot: BotName,
    pub(crate) epoch: u64,
}

/// A bot has room again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SeatsFreed {
    pub(crate) bot: BotName,
    pub(crate) epoch: u64,
    /// Tasks that it has no more in hand, since its epoch began.
    pub(crate) ended: u64,
}

/// What is paused changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PausesChanged;

/// The book has free places, or tells what came of claims.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BookChanged;
