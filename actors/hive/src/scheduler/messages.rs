//! The messages to the scheduler that do not come from bots.

use actix::Message;
use deia_ledger::ReadyTask;

/// Tasks became ready, or will be.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TasksWaiting {
    /// Those that are ready.
    pub(crate) ready: Vec<ReadyTask>,
    /// When the next one will be, in milliseconds since the epoch.
    pub(crate) due: Option<i64>,
}

/// What is paused changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PausesChanged;

/// Claims have settled, tasks could not be delivered, or bots have room again: the
/// scheduler looks.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ClaimsSettled;
