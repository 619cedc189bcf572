//! Commands about sessions in browsers.

use deia_model::{LoginEnd, LoginId, LoginRecord, Timestamp};

use super::{Command, Dedup, Reply, ledger_command};

/// Any command about sessions in browsers, as a store gets it.
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

/// Opens a session. When its user has as many as allowed, the one that was used
/// longest ago ends.
#[derive(Clone, Debug)]
pub struct OpenLogin {
    /// The session.
    pub login: Box<LoginRecord>,
    /// Maximum number of sessions of one user.
    pub max_per_user: u32,
    /// Maximum number of sessions of all users.
    pub max: u32,
    /// Opens no second one when the request is repeated.
    pub dedup: Option<Dedup>,
}

ledger_command!(
    OpenLogin,
    |command| Command::Login(LoginCommand::Open(command)),
    (),
    Reply::Done(_) => ()
);

/// Ends these sessions. Replies with how many were open.
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

/// Ends all sessions of a user. Replies with how many were open.
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

/// Notes when sessions were used last, without an event. Replies with how many were
/// changed.
#[derive(Clone, Debug)]
pub struct NoteLoginUses(pub Vec<(LoginId, Timestamp)>);

ledger_command!(
    NoteLoginUses,
    |command| Command::Login(LoginCommand::NoteUses(command)),
    u64,
    Reply::Done(n) => n
);
