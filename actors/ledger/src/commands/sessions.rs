//! Commands about sessions.

use std::time::Duration;

use deia_model::{BotName, NewSession, Session, SessionId, Timestamp};

use super::{Command, Idempotency, Reply, ledger_command};

/// Any command about sessions, as a store gets it.
#[derive(Clone, Debug)]
pub enum SessionCommand {
    /// See [`StartSession`].
    Start(StartSession),
    /// See [`EndSession`].
    End(EndSession),
    /// See [`ReleaseBot`].
    Release(ReleaseBot),
    /// See [`SettleSessions`].
    Settle(SettleSessions),
}

/// Starts a session. Refused if its bot is not launched, or the user has too many.
#[derive(Clone, Debug)]
pub struct StartSession {
    /// The session, already checked against the limits.
    pub session: NewSession,
    /// Name of the caller, who becomes its user.
    pub user: String,
    /// Time without activity after which it ends.
    pub idle_ttl: Duration,
    /// Maximum number of active sessions of the user.
    pub max_per_user: u32,
    /// Address of the caller.
    pub ip_address: Option<String>,
    /// The program of the caller.
    pub user_agent: Option<String>,
    /// Makes a repetition harmless.
    pub idempotency: Option<Idempotency>,
}

/// A started session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedSession {
    /// The session, as it was started.
    pub session: Session,
    /// True if this is the answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

ledger_command!(
    StartSession,
    |command| Command::Session(SessionCommand::Start(command)),
    StartedSession,
    Reply::SessionStarted(started) => *started
);

/// Ends a session. Repeated, it changes nothing but the fate of waiting tasks. Replies with
/// the session.
#[derive(Clone, Debug)]
pub struct EndSession {
    /// The session.
    pub session: SessionId,
    /// Name of the caller.
    pub actor: String,
    /// If set, sessions of other users do not exist for the caller.
    pub only_of: Option<String>,
    /// If true, the waiting tasks of the session are cancelled: the first at once, the
    /// others by [`SettleSessions`].
    pub cancel_waiting: bool,
}

ledger_command!(
    EndSession,
    |command| Command::Session(SessionCommand::End(command)),
    Session,
    Reply::Session(session) => *session
);

/// Takes a bot that died from its sessions, some at a time: sessions with
/// `on_bot_death: rebind` get another with their next task, the others end, and their waiting
/// tasks fail. Does nothing for a bot that is launched or drains, unless `although_launched`.
/// Replies with the number of sessions and tasks that were changed.
#[derive(Clone, Debug)]
pub struct ReleaseBot {
    /// The bot.
    pub bot: BotName,
    /// True if the bot is known to be failing.
    pub although_launched: bool,
    /// Reason, in words that follow the name of the bot.
    pub reason: String,
    /// Maximum number of sessions, and of tasks.
    pub limit: u32,
}

ledger_command!(
    ReleaseBot,
    |command| Command::Session(SessionCommand::Release(command)),
    u64,
    Reply::Done(n) => n
);

/// Ends idle sessions, cancels waiting tasks of ended sessions for which that was asked, and
/// forgets old sessions, some at a time. Replies with the number of changes.
#[derive(Clone, Copy, Debug)]
pub struct SettleSessions {
    /// Maximum number of changes of each kind.
    pub limit: u32,
    /// Sessions that ended before that time are forgotten.
    pub forget_before: Timestamp,
}

ledger_command!(
    SettleSessions,
    |command| Command::Session(SessionCommand::Settle(command)),
    u64,
    Reply::Done(n) => n
);
