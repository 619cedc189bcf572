//! Commands about users and keys.

use std::time::Duration;

use deia_model::{KeyId, KeyRecord, Role, Timestamp, UserChange};

use super::Dedup;

/// How many users and keys there may be. Taken from `auth.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLimits {
    /// Users at most.
    pub max_users: u32,
    /// Keys at most. Beyond, those that ended longest ago are forgotten.
    pub max_keys: u32,
}

/// Something durable to do about users and keys.
#[derive(Clone, Debug)]
pub enum AccessCommand {
    /// Add a key to a user, whose role must cover that of the key.
    AddKey {
        /// The key.
        key: KeyRecord,
        /// Whether a user that is not there is made, with the role of the key.
        new_user: bool,
        /// To make no second key when the request is repeated.
        dedup: Option<Dedup>,
        /// Name of the caller.
        actor: String,
        /// How many there may be.
        limits: AccessLimits,
    },
    /// Put a key in the place of another, which is in force for a while longer.
    RotateKey {
        /// The key in force.
        old: KeyId,
        /// The new one.
        new: KeyId,
        /// SHA-256 of its secret part.
        secret_sha256: [u8; 32],
        /// From when on it is refused; `None`: it lives as long as the old one
        /// was meant to.
        expires_at: Option<Timestamp>,
        /// How long both are in force, at most.
        overlap: Duration,
        /// To make no second key when the request is repeated.
        dedup: Option<Dedup>,
        /// Name of the caller.
        actor: String,
        /// How many there may be.
        limits: AccessLimits,
    },
    /// Revoke a key.
    RevokeKey {
        /// The key.
        key: KeyId,
        /// Name of the caller.
        actor: String,
    },
    /// Note when keys were used last. No event comes of it.
    NoteUses(Vec<(KeyId, Timestamp)>),
    /// Add an admin key whatever else there is, and make its user an active admin.
    RecoverAdmin {
        /// The key.
        key: KeyRecord,
        /// How it came to that.
        reason: &'static str,
    },
    /// Add a user. Answered with [`Outcome::NewUser`](super::Outcome::NewUser).
    AddUser {
        /// The name.
        name: String,
        /// The role.
        role: Role,
        /// Whether they may act.
        active: bool,
        /// To give the same answer when the request is repeated.
        dedup: Option<Dedup>,
        /// Name of the caller.
        actor: String,
        /// How many there may be.
        limits: AccessLimits,
    },
    /// Change a user.
    ChangeUser {
        /// The name.
        name: String,
        /// What shall be different.
        change: UserChange,
        /// Refuse unless the stored version is this one.
        if_version: Option<u64>,
        /// Name of the caller.
        actor: String,
    },
    /// Remove a user with all keys. Their tasks stay.
    DeleteUser {
        /// The name.
        name: String,
        /// Refuse unless the stored version is this one.
        if_version: Option<u64>,
        /// Name of the caller.
        actor: String,
    },
}
