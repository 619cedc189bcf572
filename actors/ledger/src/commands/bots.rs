//! Commands about bots.

use deia_model::{BotDesired, BotName, BotRecord, BotSpec};

use super::{Command, Reply, ledger_command};

/// Puts a bot in place or replaces its specification.
#[derive(Clone, Debug)]
pub struct PutBot {
    /// Name of the bot.
    pub name: BotName,
    /// Specification of the bot.
    pub spec: BotSpec,
    /// Name of the caller.
    pub actor: String,
    /// Refuse unless the stored version is this one.
    pub if_version: Option<u64>,
    /// First and last port that may be given to it.
    pub ports: (u16, u16),
    /// Maximum number of bots.
    pub max_bots: u32,
}

/// A bot as it now stands.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredBot {
    /// Record of the bot.
    pub record: BotRecord,
    /// True if it is new.
    pub created: bool,
}

ledger_command!(PutBot, Command::PutBot, StoredBot, Reply::Bot(bot) => *bot);

/// Removes a bot that is stopped and holds no task.
#[derive(Clone, Debug)]
pub struct DeleteBot {
    /// Name of the bot.
    pub name: BotName,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(DeleteBot, Command::DeleteBot, (), Reply::Done(_) => ());

/// Says whether a bot is meant to run. Replies with the bot as it now stands.
#[derive(Clone, Debug)]
pub struct SetDesired {
    /// Name of the bot.
    pub name: BotName,
    /// State that is wanted.
    pub desired: BotDesired,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(SetDesired, Command::SetDesired, BotRecord, Reply::Bot(bot) => bot.record);

/// Notes that a draining bot holds no task any more: it is stopped, unless something
/// else is wanted of it by now. Replies with whether it was stopped.
#[derive(Clone, Debug)]
pub struct NoteDrained(pub BotName);

ledger_command!(NoteDrained, Command::NoteDrained, bool, Reply::Done(n) => n > 0);
