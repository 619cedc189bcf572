//! Commands about users and keys.

use std::time::Duration;

use deia_model::{KeyId, KeyInfo, KeyRecord, Role, Timestamp, User, UserChange};

use super::{Command, Dedup, Reply, ledger_command};

/// Limits of the numbers of users and keys. Taken from `auth.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLimits {
    /// Maximum number of users.
    pub max_users: u32,
    /// Maximum number of keys. Beyond, those that ended longest ago are forgotten.
    pub max_keys: u32,
}

/// Any command about users and keys, as a store gets it.
#[derive(Clone, Debug)]
pub enum AccessCommand {
    /// See [`AddKey`].
    AddKey(AddKey),
    /// See [`RotateKey`].
    RotateKey(RotateKey),
    /// See [`RevokeKey`].
    RevokeKey(RevokeKey),
    /// See [`NoteKeyUses`].
    NoteUses(NoteKeyUses),
    /// See [`RecoverAdmin`].
    RecoverAdmin(RecoverAdmin),
    /// See [`AddUser`].
    AddUser(AddUser),
    /// See [`ChangeUser`].
    ChangeUser(ChangeUser),
    /// See [`DeleteUser`].
    DeleteUser(DeleteUser),
}

/// Adds a key to a user, whose role must cover that of the key.
#[derive(Clone, Debug)]
pub struct AddKey {
    /// The key.
    pub key: KeyRecord,
    /// True to make a user that is not there, with the role of the key.
    pub new_user: bool,
    /// Makes no second key when the request is repeated.
    pub dedup: Option<Dedup>,
    /// Name of the caller.
    pub actor: String,
    /// Limits of the numbers of users and keys.
    pub limits: AccessLimits,
}

/// A key that was added.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedKey {
    /// Description of the key.
    pub info: KeyInfo,
    /// True if its user was made with it.
    pub user_created: bool,
}

ledger_command!(
    AddKey,
    |command| Command::Access(AccessCommand::AddKey(command)),
    AddedKey,
    Reply::KeyAdded(key) => *key
);

/// Puts a key in the place of another, which is in force for a while longer. Replies
/// with the new one.
#[derive(Clone, Debug)]
pub struct RotateKey {
    /// The key in force.
    pub old: KeyId,
    /// The new one.
    pub new: KeyId,
    /// SHA-256 of its secret part.
    pub secret_sha256: [u8; 32],
    /// Time from which on it is refused; `None`: it lives as long as the old one was
    /// meant to.
    pub expires_at: Option<Timestamp>,
    /// Longest time for which both are in force.
    pub overlap: Duration,
    /// Makes no second key when the request is repeated.
    pub dedup: Option<Dedup>,
    /// Name of the caller.
    pub actor: String,
    /// Limits of the numbers of users and keys.
    pub limits: AccessLimits,
}

ledger_command!(
    RotateKey,
    |command| Command::Access(AccessCommand::RotateKey(command)),
    KeyInfo,
    Reply::Key(key) => *key
);

/// Revokes a key. Replies with the key as it now stands.
#[derive(Clone, Debug)]
pub struct RevokeKey {
    /// The key.
    pub key: KeyId,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    RevokeKey,
    |command| Command::Access(AccessCommand::RevokeKey(command)),
    KeyInfo,
    Reply::Key(key) => *key
);

/// Notes when keys were used last, without an event. Replies with how many were changed.
#[derive(Clone, Debug)]
pub struct NoteKeyUses(pub Vec<(KeyId, Timestamp)>);

ledger_command!(
    NoteKeyUses,
    |command| Command::Access(AccessCommand::NoteUses(command)),
    u64,
    Reply::Done(n) => n
);

/// Adds an admin key whatever else there is, and makes its user an active admin.
#[derive(Clone, Debug)]
pub struct RecoverAdmin {
    /// The key.
    pub key: KeyRecord,
    /// Reason, for the event.
    pub reason: &'static str,
}

ledger_command!(
    RecoverAdmin,
    |command| Command::Access(AccessCommand::RecoverAdmin(command)),
    KeyInfo,
    Reply::Key(key) => *key
);

/// Adds a user.
#[derive(Clone, Debug)]
pub struct AddUser {
    /// Name of the user.
    pub name: String,
    /// Role of the user.
    pub role: Role,
    /// True if the user may act.
    pub active: bool,
    /// Gives the same answer when the request is repeated.
    pub dedup: Option<Dedup>,
    /// Name of the caller.
    pub actor: String,
    /// Limits of the numbers of users and keys.
    pub limits: AccessLimits,
}

/// A user who was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// The user, as added.
    pub user: User,
    /// True if this repeats the answer to an earlier request with the same key.
    pub replayed: bool,
}

ledger_command!(
    AddUser,
    |command| Command::Access(AccessCommand::AddUser(command)),
    NewUser,
    Reply::UserAdded(user) => user
);

/// Changes a user. Replies with the user as they now stand.
#[derive(Clone, Debug)]
pub struct ChangeUser {
    /// Name of the user.
    pub name: String,
    /// Changes to the user.
    pub change: UserChange,
    /// Refuse unless the stored version is this one.
    pub if_version: Option<u64>,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    ChangeUser,
    |command| Command::Access(AccessCommand::ChangeUser(command)),
    User,
    Reply::User(user) => user
);

/// Removes a user with all keys. Their tasks stay. Replies with the user as they were.
#[derive(Clone, Debug)]
pub struct DeleteUser {
    /// Name of the user.
    pub name: String,
    /// Refuse unless the stored version is this one.
    pub if_version: Option<u64>,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    DeleteUser,
    |command| Command::Access(AccessCommand::DeleteUser(command)),
    User,
    Reply::User(user) => user
);
