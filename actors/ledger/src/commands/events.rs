//! Commands about the event log and its followers.

use super::{Command, Reply, ledger_command};
use crate::Advance;

ledger_command!(Advance, Command::Advance, (), Reply::Done(_) => ());

/// Deletes events that are past retention, the oldest first: never the newest of all,
/// and none that a binding follower has not processed. Replies with the number.
#[derive(Clone, Copy, Debug)]
pub struct PruneEvents {
    /// Sequence number of the newest of them.
    pub upto: u64,
    /// Maximum number to delete.
    pub max: u32,
}

ledger_command!(PruneEvents, Command::PruneEvents, u64, Reply::Done(n) => n);
