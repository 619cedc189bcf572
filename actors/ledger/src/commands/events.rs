//! Commands about the event log and those who follow it.

use super::{Command, Reply, ledger_command};
use crate::Advance;

ledger_command!(Advance, Command::Advance, (), Reply::Done(_) => ());

/// Forgets events that are past retention, the oldest first: never the newest of all, and
/// none that a binding follower has not taken in. Answered with how many.
#[derive(Clone, Copy, Debug)]
pub struct PruneEvents {
    /// The newest of them.
    pub upto: u64,
    /// At most this many.
    pub max: u32,
}

ledger_command!(PruneEvents, Command::PruneEvents, u64, Reply::Done(n) => n);
