//! Commands about the event log and its followers.

use deia_model::{EventLevel, EventResult, ExternalAction};
use serde_json::Value;

use super::{Command, Idempotency, Reply, ledger_command};
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

/// Begins a new history of the event log, so that positions of the old one are not taken for
/// those of the new events. Replies with its number. Refused with
/// [`CursorMoved`](crate::Rejection::CursorMoved) if there is another one already.
#[derive(Clone, Copy, Debug)]
pub struct BeginTimeline {
    /// The history that it follows.
    pub after: u64,
}

ledger_command!(BeginTimeline, Command::BeginTimeline, u64, Reply::Done(n) => n);

/// Appends an event that another system asks to record. Replies with its sequence number.
/// Refused as [`Rejection::Invalid`](crate::Rejection::Invalid) if the target or the
/// details violate their limits: see [`deia_model::external_violations`]. The type of the
/// action rules out that an event of deia itself is recorded this way.
#[derive(Clone, Debug)]
pub struct AppendExternal {
    /// The action.
    pub action: ExternalAction,
    /// Name of the caller.
    pub actor: String,
    /// Target, in the words of the other system.
    pub target: String,
    /// Level of the event.
    pub level: EventLevel,
    /// Result of the action.
    pub result: EventResult,
    /// Further details, an object; `Null` if there are none.
    pub details: Value,
    /// The W3C trace that the event belongs to.
    pub trace_id: Option<String>,
    /// Makes a repetition harmless: it is answered with the first sequence number.
    pub idempotency: Option<Idempotency>,
}

ledger_command!(
    AppendExternal,
    Command::AppendExternal,
    u64,
    Reply::Appended(seq) => seq
);
