//! Commands about users and keys.

use std::time::Duration;

use deia_model::{KeyId, KeyInfo, KeyRecord, Role, Timestamp, User, UserChange};

use super::{Command, Idempotency, Reply, ledger_command};

/// Limits on the numbers of users and keys, from `auth.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLimits {
    /// Maximum number of users.
    pub max_users: u32,
    /// Maximum number of keys. Beyond it, the keys that ended longest ago are deleted.
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
    /// True to create the user, with the role of the key, if there is none.
    pub new_user: bool,
    /// Prevents a second key when the request is repeated.
    pub idempotency: Option<Idempotency>,
    /// Name of the caller.
    pub actor: String,
    /// Limits on the numbers of users and keys.
    pub limits: AccessLimits,
}

/// A key that was added.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedKey {
    /// Description of the key.
    pub info: KeyInfo,
    /// True if the user was created together with the key.
    pub user_created: bool,
}

ledger_command!(
    AddKey,
    |command| Command::Access(AccessCommand::AddKey(command)),
    AddedKey,
    Reply::KeyAdded(key) => *key
);

/// Replaces a key, which stays in force for a while. Replies with the new one.
#[derive(Clone, Debug)]
pub struct RotateKey {
    /// The key in force.
    pub old: KeyId,
    /// The new key.
    pub new: KeyId,
    /// SHA-256 of the secret part of the new key.
    pub secret_sha256: [u8; 32],
    /// Time from which the new key is refused; `None`: the expiry of the old one.
    pub expires_at: Option<Timestamp>,
    /// Maximum time for which both keys are in force.
    pub overlap: Duration,
    /// Prevents a second key when the request is repeated.
    pub idempotency: Option<Idempotency>,
    /// Name of the caller.
    pub actor: String,
    /// Limits on the numbers of users and keys.
    pub limits: AccessLimits,
}

ledger_command!(
    RotateKey,
    |command| Command::Access(AccessCommand::RotateKey(command)),
    KeyInfo,
    Reply::Key(key) => *key
);

/// Revokes a key. Replies with the revoked key.
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

/// Records when keys were last used, without an event. Replies with the number of
/// changed keys.
#[derive(Clone, Debug)]
pub struct NoteKeyUses(pub Vec<(KeyId, Timestamp)>);

ledger_command!(
    NoteKeyUses,
    |command| Command::Access(AccessCommand::NoteUses(command)),
    u64,
    Reply::Done(n) => n
);

/// Adds an admin key regardless of limits, and makes its user an active admin.
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
    pub idempotency: Option<Idempotency>,
    /// Name of the caller.
    pub actor: String,
    /// Limits on the numbers of users and keys.
    pub limits: AccessLimits,
}

/// A user who was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// The user, as added.
    pub user: User,
    /// True if this is the answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

ledger_command!(
    AddUser,
    |command| Command::Access(AccessCommand::AddUser(command)),
    NewUser,
    Reply::UserAdded(user) => user
);

/// Changes a user. Replies with the changed user.
#[derive(Clone, Debug)]
pub struct ChangeUser {
    /// Name of the user.
    pub name: String,
    /// Changes to the user.
    pub change: UserChange,
    /// If set, refuses unless the stored version is this one.
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

/// Deletes a user with all keys. The user's tasks stay. Replies with the deleted user.
#[derive(Clone, Debug)]
pub struct DeleteUser {
    /// Name of the user.
    pub name: String,
    /// If set, refuses unless the stored version is this one.
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
