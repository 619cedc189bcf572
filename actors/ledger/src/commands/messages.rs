//! Commands about messages between bots.

use std::time::Duration;

use deia_model::{BotMessageId, BotName, Message, NewMessage, Timestamp};

use super::{Command, Idempotency, Reply, ledger_command};

/// Any command about messages, as a store gets it.
#[derive(Clone, Debug)]
pub enum MessageCommand {
    /// See [`SendMessage`].
    Send(SendMessage),
    /// See [`TakeMessages`].
    Take(TakeMessages),
    /// See [`ReadMessage`].
    Read(ReadMessage),
    /// See [`CloseMessages`].
    Close(CloseMessages),
}

/// Accepts a message into the inbox of its receiver. Refused if the receiver or the named
/// sender does not exist, or the inbox is full.
#[derive(Clone, Debug)]
pub struct SendMessage {
    /// The message, already checked against the limits.
    pub message: NewMessage,
    /// Name of the caller.
    pub actor: String,
    /// Time until it expires.
    pub ttl: Duration,
    /// Maximum number of messages that the receiver may have unread.
    pub max_inbox: u32,
    /// Makes a repetition harmless.
    pub idempotency: Option<Idempotency>,
}

/// An accepted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// The message, as it was accepted.
    pub message: Message,
    /// True if this is the answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

ledger_command!(
    SendMessage,
    |command| Command::Message(MessageCommand::Send(command)),
    SentMessage,
    Reply::MessageSent(sent) => *sent
);

/// Gives a bot the messages in its inbox that are due: those that it was never given, and
/// those that it was given a while ago and has not read. The most urgent come first, then
/// the oldest.
#[derive(Clone, Debug)]
pub struct TakeMessages {
    /// The bot.
    pub bot: BotName,
    /// Name of the caller.
    pub actor: String,
    /// Maximum number of messages.
    pub limit: u32,
    /// Bytes of text beyond which no further message is given; the first always is.
    pub max_bytes: u64,
    /// Time for which a message that was given is not given again.
    pub redeliver_after: Duration,
    /// Number of deliveries after which a message fails unless it is read.
    pub max_deliveries: u32,
}

ledger_command!(
    TakeMessages,
    |command| Command::Message(MessageCommand::Take(command)),
    Vec<Message>,
    Reply::Messages(messages) => messages
);

/// Notes that the receiver has read a message. Repeated, it changes nothing. Refused if the
/// message failed or expired before.
#[derive(Clone, Debug)]
pub struct ReadMessage {
    /// The message.
    pub message: BotMessageId,
    /// Name of the caller.
    pub actor: String,
    /// If set, messages to other bots do not exist for the caller.
    pub only_for: Option<BotName>,
}

ledger_command!(
    ReadMessage,
    |command| Command::Message(MessageCommand::Read(command)),
    Message,
    Reply::Message(message) => *message
);

/// Ends messages whose time is over, and forgets old ones, some at a time. Replies with the
/// number of messages that were ended or forgotten.
#[derive(Clone, Copy, Debug)]
pub struct CloseMessages {
    /// Maximum number of messages of each kind.
    pub limit: u32,
    /// Messages that ended before that time are forgotten.
    pub forget_before: Timestamp,
}

ledger_command!(
    CloseMessages,
    |command| Command::Message(MessageCommand::Close(command)),
    u64,
    Reply::Done(n) => n
);
