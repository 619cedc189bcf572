//! Web sessions: a cookie in place of a key or a token.

use serde::{Deserialize, Serialize};

use super::{KeyId, Timestamp, WebSessionId};
use crate::Role;

/// The stored record of a web session. The secret of its cookie is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSessionRecord {
    /// The part of the record that listings show.
    pub info: WebSession,
    /// SHA-256 of the secret part of the cookie.
    pub secret_sha256: [u8; 32],
    /// The trust anchor of the token that opened the session: a hash of the signing key
    /// and the settings of its issuer.
    pub trust_anchor: Option<[u8; 32]>,
}

/// A web session as listings show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WebSession {
    /// The id of the session; not secret.
    pub id: WebSessionId,
    /// The user that acts in the session.
    pub user: String,
    /// The credential that opened the session.
    #[serde(flatten)]
    pub opened_with: OpenedWith,
    /// Time at which the session was opened.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last request, exact to about a minute after a crash.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// Time at which the session ends at the latest.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The address that the session was opened from.
    pub ip_address: Option<String>,
    /// The `User-Agent` of the client that opened the session; at most 256 characters.
    pub user_agent: Option<String>,
}

/// The credential that opened a session. The session has no more rights than the
/// credential, and ends with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenedWith {
    /// A key; the session has the rights that the key has at the time of a request.
    #[serde(rename = "key_id")]
    Key(KeyId),
    /// A token of an issuer.
    #[serde(rename = "token")]
    Token {
        /// The configured name of the issuer.
        issuer: String,
        /// The role that the token gave.
        role: Role,
    },
}

/// Reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSessionEnd {
    /// The user logged out.
    LoggedOut,
    /// The user ended all sessions.
    LoggedOutEverywhere,
    /// The user opened more sessions than allowed.
    Displaced,
    /// The session was idle too long, or reached its maximum age.
    Expired,
    /// The credential is no longer valid: the key was revoked, its user was
    /// deactivated, or the issuer of the token has withdrawn its signing key or has
    /// other settings.
    Withdrawn,
}

impl WebSessionEnd {
    /// Returns the name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::LoggedOutEverywhere => "logged_out_everywhere",
            Self::Displaced => "displaced",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl WebSession {
    /// Returns whether the session may still be used at `now`, when it was last used at
    /// `last_seen`.
    pub fn is_open(&self, last_seen: Timestamp, idle_timeout_ms: u64, now: Timestamp) -> bool {
        self.expires_at > now && now.millis_since(last_seen) < idle_timeout_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_when_idle_and_at_their_maximum_age() {
        let at = Timestamp::from_millis;
        let web_session = WebSession {
            id: WebSessionId::new(),
            user: "ada".into(),
            opened_with: OpenedWith::Key(KeyId::new()),
            created_at: at(0),
            last_seen_at: at(0),
            expires_at: at(100),
            ip_address: None,
            user_agent: None,
        };
        for (last_seen, now, open) in [
            (0, 0, true),
            (0, 9, true),
            (0, 10, false),
            (50, 59, true),
            (95, 99, true),
            (99, 100, false),
            // A clock that was set back.
            (50, 40, true),
        ] {
            assert_eq!(
                web_session.is_open(at(last_seen), 10, at(now)),
                open,
                "{last_seen} {now}"
            );
        }
        let json = serde_json::to_value(&web_session).unwrap();
        assert!(
            json["key_id"].is_string() && json.get("token").is_none(),
            "{json}"
        );
    }
}
