//! Reasons for refusing a caller.

use std::sync::Arc;

use deia_model::{KeyError, KeyId, Timestamp};

use super::TokenError;

/// Reason for refusing a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The text is not a key.
    #[error(transparent)]
    Malformed(#[from] KeyError),
    /// The key does not exist, or its secret is another. Callers cannot distinguish the two.
    #[error("the key is not known here")]
    Unknown,
    /// The key was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// The key has expired.
    #[error("the key has expired")]
    Expired,
    /// The key was rotated, and has expired.
    #[error("the key was replaced by {by} at {at}")]
    Replaced {
        /// Id of the key that replaced it.
        by: KeyId,
        /// Time at which that key was made.
        at: Timestamp,
    },
    /// The user of the key is not active.
    #[error("the user of the key is not active")]
    UserInactive,
    /// The key may not be used from this address.
    #[error("the key may not be used from this address")]
    Address,
    /// The web session does not exist any more.
    #[error("the session is over")]
    SessionOver,
    /// The credential is a token, and is not accepted.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// A refused caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthFailure {
    /// Reason for the refusal.
    pub why: AuthError,
    /// Name of the user, if the credential is a genuine one.
    pub user: Option<Arc<str>>,
    /// Id of the key that the caller used, or that the session was made with.
    pub key: Option<KeyId>,
}

impl AuthFailure {
    /// Returns a failure of a caller without a genuine credential.
    pub fn anonymous(why: AuthError) -> Self {
        Self {
            why,
            user: None,
            key: None,
        }
    }
}
