//! Messages to the scheduler from senders other than bots.

use actix::Message;
use deia_ledger::ReadyTask;

/// Message that tasks became ready, or will be.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TasksWaiting {
    /// Tasks that are ready.
    pub(crate) ready: Vec<ReadyTask>,
    /// Time at which the next task becomes ready, in milliseconds since the epoch.
    pub(crate) due: Option<i64>,
}

/// Message that the pauses changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PausesChanged;

/// Message that claims have settled, tasks could not be delivered, or bots have room again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ClaimsSettled;
