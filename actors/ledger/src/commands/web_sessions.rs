//! Commands about web sessions.

use deia_model::{Timestamp, WebSessionEnd, WebSessionId, WebSessionRecord};

use super::{Command, Idempotency, Reply, ledger_command};

/// Any command about web sessions, as a store gets it.
#[derive(Clone, Debug)]
pub enum WebSessionCommand {
    /// See [`OpenWebSession`].
    Open(OpenWebSession),
    /// See [`EndWebSessions`].
    End(EndWebSessions),
    /// See [`EndUserWebSessions`].
    EndAll(EndUserWebSessions),
    /// See [`NoteWebSessionUses`].
    NoteUses(NoteWebSessionUses),
}

/// Opens a session. If its user has as many as allowed, the least recently used one
/// ends.
#[derive(Clone, Debug)]
pub struct OpenWebSession {
    /// The session.
    pub web_session: Box<WebSessionRecord>,
    /// Maximum number of sessions of one user.
    pub max_per_user: u32,
    /// Maximum number of sessions of all users.
    pub max: u32,
    /// Prevents a second session when the request is repeated.
    pub idempotency: Option<Idempotency>,
}

ledger_command!(
    OpenWebSession,
    |command| Command::WebSession(WebSessionCommand::Open(command)),
    (),
    Reply::Done(_) => ()
);

/// Ends these sessions. Replies with the number that were open.
#[derive(Clone, Debug)]
pub struct EndWebSessions {
    /// The sessions.
    pub web_sessions: Vec<WebSessionId>,
    /// Reason, for the event.
    pub why: WebSessionEnd,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    EndWebSessions,
    |command| Command::WebSession(WebSessionCommand::End(command)),
    u64,
    Reply::Done(n) => n
);

/// Ends all sessions of a user. Replies with the number that were open.
#[derive(Clone, Debug)]
pub struct EndUserWebSessions {
    /// The user.
    pub user: String,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    EndUserWebSessions,
    |command| Command::WebSession(WebSessionCommand::EndAll(command)),
    u64,
    Reply::Done(n) => n
);

/// Records when sessions were last used, without an event. Replies with the number
/// changed.
#[derive(Clone, Debug)]
pub struct NoteWebSessionUses(pub Vec<(WebSessionId, Timestamp)>);

ledger_command!(
    NoteWebSessionUses,
    |command| Command::WebSession(WebSessionCommand::NoteUses(command)),
    u64,
    Reply::Done(n) => n
);
