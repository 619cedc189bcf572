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
    /// Ports that may be assigned to the bot.
    pub ports: BotPorts,
    /// Maximum number of bots.
    pub max_bots: u32,
}

/// Ports that may be assigned to a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BotPorts {
    /// First port of the range.
    pub first: u16,
    /// Last port of the range.
    pub last: u16,
    /// Ports that something on the host listens at. One of them is assigned only if there is
    /// no other.
    pub in_use: Vec<u16>,
}

/// A bot after a change.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredBot {
    /// Record of the bot.
    pub record: BotRecord,
    /// True if the bot is new.
    pub created: bool,
}

ledger_command!(PutBot, |put| Command::PutBot(Box::new(put)), StoredBot, Reply::Bot(bot) => *bot);

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

/// Assigns another port to a bot, as something else listens at its own. Replies with the bot, whose
/// port is the same if no other is free.
#[derive(Clone, Debug)]
pub struct MoveBot {
    /// Name of the bot.
    pub name: BotName,
    /// Ports that may be assigned to it.
    pub ports: BotPorts,
}

ledger_command!(MoveBot, Command::MoveBot, BotRecord, Reply::Bot(bot) => bot.record);

/// Reports that a draining bot holds no more tasks: it is stopped, unless its desired
/// state has changed since. Replies with whether it was stopped.
#[derive(Clone, Debug)]
pub struct NoteDrained(pub BotName);

ledger_command!(NoteDrained, Command::NoteDrained, bool, Reply::Done(n) => n > 0);
