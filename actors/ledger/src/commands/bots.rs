//! Commands about bots.

use deia_model::{BotDesired, BotName, BotRecord, BotSpec};

use super::{Command, Reply, ledger_command};

/// Creates a bot or replaces its specification.
#[derive(Clone, Debug)]
pub struct PutBot {
    /// Name of the bot.
    pub name: BotName,
    /// Specification of the bot.
    pub spec: BotSpec,
    /// Name of the caller.
    pub actor: String,
    /// If set, refuses unless the stored version is this one.
    pub if_version: Option<u64>,
    /// First and last port that may be assigned to the bot.
    pub ports: (u16, u16),
    /// Maximum number of bots.
    pub max_bots: u32,
}

/// A bot after a change.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredBot {
    /// Record of the bot.
    pub record: BotRecord,
    /// True if the bot is new.
    pub created: bool,
}

ledger_command!(PutBot, Command::PutBot, StoredBot, Reply::Bot(bot) => *bot);

/// Deletes a bot that is stopped and holds no task.
#[derive(Clone, Debug)]
pub struct DeleteBot {
    /// Name of the bot.
    pub name: BotName,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(DeleteBot, Command::DeleteBot, (), Reply::Done(_) => ());

/// Sets the desired state of a bot. Replies with the changed bot.
#[derive(Clone, Debug)]
pub struct SetDesired {
    /// Name of the bot.
    pub name: BotName,
    /// The desired state.
    pub desired: BotDesired,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(SetDesired, Command::SetDesired, BotRecord, Reply::Bot(bot) => bot.record);

/// Reports that a draining bot holds no more tasks: it is stopped, unless its desired
/// state has changed since. Replies with whether it was stopped.
#[derive(Clone, Debug)]
pub struct NoteDrained(pub BotName);

ledger_command!(NoteDrained, Command::NoteDrained, bool, Reply::Done(n) => n > 0);
