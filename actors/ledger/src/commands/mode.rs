//! Commands about the level that an operator sets.

use deia_model::{Level, OperatorLevel, Timestamp};

use super::{Command, Reply, ledger_command};

/// Any command about the level that an operator sets, as a store gets it.
#[derive(Clone, Debug)]
pub enum ModeCommand {
    /// See [`SetMode`].
    Set(SetMode),
    /// See [`EndMode`].
    End(EndMode),
}

/// Sets the level at which features are shed, for a time. Replaces a level that was set before.
/// Replies with the level as it was recorded.
#[derive(Clone, Debug)]
pub struct SetMode {
    /// Level to set.
    pub level: Level,
    /// Reason for it.
    pub reason: String,
    /// Name of the caller.
    pub actor: String,
    /// Time for which it lasts, in milliseconds.
    pub duration_ms: u64,
}

ledger_command!(
    SetMode,
    |command| Command::Mode(ModeCommand::Set(command)),
    OperatorLevel,
    Reply::OperatorLevel(level) => *level
);

/// Ends a level that an operator has set. Replies with `true` if there was one.
#[derive(Clone, Debug)]
pub struct EndMode {
    /// Ends only the level that was set at that time.
    pub only_set_at: Option<Timestamp>,
    /// Name of the caller, or `deia` when its time is over.
    pub actor: String,
    /// Reason for the end.
    pub why: String,
    /// Level that the signals demand, which is in force from now on.
    pub then: Level,
}

ledger_command!(
    EndMode,
    |command| Command::Mode(ModeCommand::End(command)),
    bool,
    Reply::Done(n) => n > 0
);
