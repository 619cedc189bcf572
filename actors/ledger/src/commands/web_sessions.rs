//! Commands about web sessions.

use deia_model::{LoginEnd, LoginId, LoginRecord, Timestamp};

use super::{Command, Dedup, Reply, ledger_command};

/// Any command about web sessions, as a store gets it.
#[derive(Clone, Debug)]
pub enum LoginCommand {
    /// See [`OpenLogin`].
    Open(OpenLogin),
    /// See [`EndLogins`].
    End(EndLogins),
    /// See [`EndUserLogins`].
    EndAll(EndUserLogins),
    /// See [`NoteLoginUses`].
    NoteUses(NoteLoginUses),
}

/// Opens a session. If its user has as many as allowed, the least recently used one
/// ends.
#[derive(Clone, Debug)]
pub struct OpenLogin {
    /// The session.
    pub login: Box<LoginRecord>,
    /// Maximum number of sessions of one user.
    pub max_per_user: u32,
    /// Maximum number of sessions of all users.
    pub max: u32,
    /// Prevents a second session when the request is repeated.
    pub dedup: Option<Dedup>,
}

ledger_command!(
    OpenLogin,
    |command| Command::Login(LoginCommand::Open(command)),
    (),
    Reply::Done(_) => ()
);

/// Ends these sessions. Replies with the number that were open.
#[derive(Clone, Debug)]
pub struct EndLogins {
    /// The sessions.
    pub logins: Vec<LoginId>,
    /// Reason, for the event.
    pub why: LoginEnd,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    EndLogins,
    |command| Command::Login(LoginCommand::End(command)),
    u64,
    Reply::Done(n) => n
);

/// Ends all sessions of a user. Replies with the number that were open.
#[derive(Clone, Debug)]
pub struct EndUserLogins {
    /// The user.
    pub user: String,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    EndUserLogins,
    |command| Command::Login(LoginCommand::EndAll(command)),
    u64,
    Reply::Done(n) => n
);

/// Records when sessions were last used, without an event. Replies with the number
/// changed.
#[derive(Clone, Debug)]
pub struct NoteLoginUses(pub Vec<(LoginId, Timestamp)>);

ledger_command!(
    NoteLoginUses,
    |command| Command::Login(LoginCommand::NoteUses(command)),
    u64,
    Reply::Done(n) => n
);
