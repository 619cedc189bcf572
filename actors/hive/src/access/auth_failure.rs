//! Reasons why somebody is not let in.

use std::sync::Arc;

use deia_model::{KeyError, KeyId, Timestamp};

use super::TokenError;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The text is not a key.
    #[error(transparent)]
    Malformed(#[from] KeyError),
    /// No such key, or another secret. The two are not told apart.
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
        /// The key that was put in its place.
        by: KeyId,
        /// When that key was made.
        at: Timestamp,
    },
    /// The user of the key may not act.
    #[error("the user of the key is not active")]
    UserInactive,
    /// The key may not be used from there.
    #[error("the key may not be used from this address")]
    Address,
    /// There is no such web session any more.
    #[error("the session is over")]
    SessionOver,
    /// It is a token, and is not taken.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Somebody who is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthFailure {
    /// Why.
    pub why: AuthError,
    /// Whose credential it is, when it is a genuine one.
    pub user: Option<Arc<str>>,
    /// The key that it is, or that it was made with.
    pub key: Option<KeyId>,
}

impl AuthFailure {
    /// Somebody without a genuine credential.
    pub fn anonymous(why: AuthError) -> Self {
        Self {
            why,
            user: None,
            key: None,
        }
    }
}
