//! Sessions in browsers.

use std::{net::IpAddr, sync::Arc};

use deia_ledger::{EndUserWebSessions, EndWebSessions, Idempotency, LedgerCommand, OpenWebSession};
use deia_model::{
    Credential, OpenedWith, Principal, Timestamp, WebSession, WebSessionCookie, WebSessionEnd,
    WebSessionId, WebSessionRecord,
};

use super::{AccessApi, AuthError, AuthFailure};
use crate::HiveError;

/// Maximum length of the user agent that a browser sends, in characters. Fact: the API,
/// whose schema states it.
const USER_AGENT_MAX: usize = 256;

/// A session that was just opened, the only value that contains its cookie.
#[derive(Clone, Debug)]
pub struct OpenedWebSession {
    /// Description of the session in listings.
    pub web_session: WebSession,
    /// Content of its cookie.
    pub cookie: WebSessionCookie,
}

impl AccessApi {
    /// Opens a session for a caller with a key or a token. The session has no more permissions
    /// than that, and no longer life.
    ///
    /// # Errors
    /// [`HiveError::Refused`] if the maximum number is reached, or if the same request opened its
    /// session already; [`HiveError::NotFound`] for a caller with a session.
    pub async fn open_web_session(
        &self,
        who: &Principal,
        from: Option<IpAddr>,
        user_agent: Option<&str>,
        idempotency: Option<Idempotency>,
    ) -> Result<OpenedWebSession, HiveError> {
        let settings = &self.config().auth.sessions;
        let now = Timestamp::now();
        let lifetime = u64::try_from(settings.lifetime.as_millis()).unwrap_or(u64::MAX);
        let by_lifetime = now.plus_millis(lifetime);
        let (opened_with, expires_at, trust_anchor) = match &who.credential {
            Credential::Key(key) => (OpenedWith::Key(*key), by_lifetime, None),
            Credential::Token {
                issuer,
                expires_at,
                trust_anchor,
            } => {
                let token = OpenedWith::Token {
                    issuer: issuer.to_string(),
                    role: who.role,
                };
                (token, by_lifetime.min(*expires_at), Some(*trust_anchor))
            }
            Credential::WebSession { id, .. } => return Err(no_such(*id)),
            Credential::Certificate => return Err(none_here()),
        };
        let cookie = WebSessionCookie::generate()?;
        let web_session = WebSession {
            id: cookie.id(),
            user: who.user.to_string(),
            opened_with,
            created_at: now,
            last_seen_at: now,
            expires_at,
            ip_address: from.map(|from| from.to_string()),
            user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_MAX).collect()),
        };
        let command = OpenWebSession {
            web_session: Box::new(WebSessionRecord {
                info: web_session.clone(),
                secret_sha256: cookie.secret_sha256(),
                trust_anchor,
            }),
            max_per_user: settings.max_per_user,
            max: settings.max,
            idempotency,
        };
        self.change_web_sessions(who, command).await?;
        Ok(OpenedWebSession {
            web_session,
            cookie,
        })
    }

    /// Returns the principal of this cookie. Takes no lock and does no I/O.
    ///
    /// # Errors
    /// [`AuthError::SessionOver`], or the present fault of the key that the session was opened
    /// with.
    pub fn authenticate_web_session(
        &self,
        cookie: &WebSessionCookie,
        from: Option<IpAddr>,
    ) -> Result<Principal, AuthFailure> {
        let now = Timestamp::now();
        let found = self.state.web_sessions.find(cookie, now);
        self.web_session_principal(&found.map_err(AuthFailure::anonymous)?, from, now)
    }

    /// Returns the principal of the session of that id, if it is open.
    pub(super) fn web_session_still(
        &self,
        id: WebSessionId,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Principal, AuthFailure> {
        let found = self.state.web_sessions.get(id, now);
        let over = || AuthFailure::anonymous(AuthError::SessionOver);
        self.web_session_principal(&found.ok_or_else(over)?, from, now)
    }

    /// Returns the principal of an open session: that of the credential that opened it.
    fn web_session_principal(
        &self,
        web_session: &WebSessionRecord,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Principal, AuthFailure> {
        let WebSessionRecord {
            info: web_session,
            trust_anchor,
            ..
        } = web_session;
        let opened = match &web_session.opened_with {
            OpenedWith::Key(key) => {
                let holder = self.state.keyring.holder(*key, from, now);
                holder.map_err(|denied| match denied.why {
                    // The session was removed with its user.
                    AuthError::Unknown => AuthFailure::anonymous(AuthError::SessionOver),
                    _ => denied,
                })?
            }
            OpenedWith::Token { issuer, role } => {
                let user: Arc<str> = web_session.user.as_str().into();
                let why = match self.state.issuers.still(issuer, trust_anchor.as_ref()) {
                    Ok(true) => None,
                    Ok(false) => Some(AuthError::SessionOver),
                    Err(unknown) => Some(unknown.into()),
                };
                if let Some(why) = why {
                    return Err(AuthFailure {
                        user: Some(user),
                        ..AuthFailure::anonymous(why)
                    });
                }
                Principal {
                    user,
                    role: *role,
                    permissions: role.permissions(),
                    bot: None,
                    credential: Credential::WebSession {
                        id: web_session.id,
                        key: None,
                    },
                }
            }
        };
        let key = opened.key();
        let credential = Credential::WebSession {
            id: web_session.id,
            key,
        };
        Ok(Principal {
            credential,
            ..opened
        })
    }

    /// Returns the session that the caller acts in.
    ///
    /// # Errors
    /// [`HiveError::NotFound`] if the caller acts in none.
    pub fn own_web_session(&self, who: &Principal) -> Result<WebSession, HiveError> {
        let id = match &who.credential {
            Credential::WebSession { id, .. } => *id,
            Credential::Key(_) | Credential::Token { .. } | Credential::Certificate => {
                return Err(none_here());
            }
        };
        let found = self.state.web_sessions.get(id, Timestamp::now());
        found
            .map(|web_session| web_session.info)
            .ok_or_else(|| no_such(id))
    }

    /// Returns the caller's open sessions, oldest first.
    pub fn web_sessions_of(&self, who: &Principal) -> Vec<WebSession> {
        self.state.web_sessions.of_user(&who.user, Timestamp::now())
    }

    /// Ends for good the session that the caller acts in.
    ///
    /// # Errors
    /// As [`Self::own_web_session`].
    pub async fn end_web_session(&self, who: &Principal) -> Result<(), HiveError> {
        let command = EndWebSessions {
            web_sessions: vec![self.own_web_session(who)?.id],
            why: WebSessionEnd::LoggedOut,
            actor: who.user.to_string(),
        };
        self.change_web_sessions(who, command).await.map(drop)
    }

    /// Ends every session of a user, and returns their number.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be written.
    pub async fn end_web_sessions_of(&self, who: &Principal, user: &str) -> Result<u64, HiveError> {
        let command = EndUserWebSessions {
            user: user.to_owned(),
            actor: who.user.to_string(),
        };
        self.change_web_sessions(who, command).await
    }

    async fn change_web_sessions<C: LedgerCommand>(
        &self,
        who: &Principal,
        command: C,
    ) -> Result<C::Reply, HiveError> {
        let reply = self.apply_for(who, command).await?;
        // The change must be in force before the answer.
        if let Err(error) = self.caches().reload_web_sessions().await {
            tracing::warn!(%error, "a change of sessions could not be read yet; retrying");
        }
        self.state.keyring.announce();
        Ok(reply)
    }
}

fn none_here() -> HiveError {
    HiveError::NotFound {
        kind: "session",
        id: "of this request".into(),
    }
}

fn no_such(id: WebSessionId) -> HiveError {
    HiveError::NotFound {
        kind: "session",
        id: id.to_string(),
    }
}
