//! Sessions in browsers.

use std::{net::IpAddr, sync::Arc};

use deia_ledger::{Dedup, EndLogins, EndUserLogins, LedgerCommand, OpenLogin};
use deia_model::{
    Login, LoginCookie, LoginEnd, LoginId, LoginRecord, OpenedWith, Principal, Timestamp, Via,
};

use super::{AccessApi, AuthError, Denied};
use crate::HiveError;

/// Characters of what a browser says of itself.
const USER_AGENT_MAX: usize = 256;

/// A session that was opened just now: the only time that its cookie is seen.
#[derive(Clone, Debug)]
pub struct OpenedLogin {
    /// What listings show of it.
    pub login: Login,
    /// What is in its cookie.
    pub cookie: LoginCookie,
}

impl AccessApi {
    /// Opens a session for who came with a key or a token. It can do no more than
    /// that, and lives no longer.
    ///
    /// # Errors
    /// [`HiveError::Refused`] when there are as many as may be, or when the same
    /// request opened its session already;
    /// [`HiveError::NotFound`] for who came with a session.
    pub async fn open_login(
        &self,
        who: &Principal,
        from: Option<IpAddr>,
        user_agent: Option<&str>,
        dedup: Option<Dedup>,
    ) -> Result<OpenedLogin, HiveError> {
        let settings = &self.config().auth.sessions;
        let now = Timestamp::now();
        let lifetime = u64::try_from(settings.lifetime.as_millis()).unwrap_or(u64::MAX);
        let by_lifetime = now.plus_millis(lifetime);
        let (opened_with, expires_at, basis) = match &who.via {
            Via::Key(key) => (OpenedWith::Key(*key), by_lifetime, None),
            Via::Token {
                issuer,
                expires_at,
                basis,
            } => {
                let token = OpenedWith::Token {
                    issuer: issuer.to_string(),
                    role: who.role,
                };
                (token, by_lifetime.min(*expires_at), Some(*basis))
            }
            Via::Login { id, .. } => return Err(no_such(*id)),
            Via::Certificate => return Err(none_here()),
        };
        let cookie = LoginCookie::generate()?;
        let login = Login {
            id: cookie.id(),
            user: who.user.to_string(),
            opened_with,
            created_at: now,
            last_seen_at: now,
            expires_at,
            ip_address: from.map(|from| from.to_string()),
            user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_MAX).collect()),
        };
        let command = OpenLogin {
            login: Box::new(LoginRecord {
                info: login.clone(),
                secret_sha256: cookie.secret_sha256(),
                basis,
            }),
            max_per_user: settings.max_per_user,
            max: settings.max,
            dedup,
        };
        self.change_logins(who, command).await?;
        Ok(OpenedLogin { login, cookie })
    }

    /// Who comes with this cookie. Takes no lock and does no I/O.
    ///
    /// # Errors
    /// [`AuthError::SessionOver`], or what is wrong with the key that it was
    /// opened with by now.
    pub fn authenticate_login(
        &self,
        cookie: &LoginCookie,
        from: Option<IpAddr>,
    ) -> Result<Principal, Denied> {
        let now = Timestamp::now();
        let found = self.state.logins.find(cookie, now);
        self.login_principal(&found.map_err(Denied::stranger)?, from, now)
    }

    /// Who acts in the session of that id, if it is open.
    pub(super) fn login_still(
        &self,
        id: LoginId,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Principal, Denied> {
        let found = self.state.logins.get(id, now);
        let over = || Denied::stranger(AuthError::SessionOver);
        self.login_principal(&found.ok_or_else(over)?, from, now)
    }

    /// Who acts in an open session: who would with what it was opened with.
    fn login_principal(
        &self,
        login: &LoginRecord,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Principal, Denied> {
        let LoginRecord {
            info: login, basis, ..
        } = login;
        let opened = match &login.opened_with {
            OpenedWith::Key(key) => {
                let holder = self.state.keyring.holder(*key, from, now);
                holder.map_err(|denied| match denied.why {
                    // It went with its user.
                    AuthError::Unknown => Denied::stranger(AuthError::SessionOver),
                    _ => denied,
                })?
            }
            OpenedWith::Token { issuer, role } => {
                let user: Arc<str> = login.user.as_str().into();
                let why = match self.state.issuers.still(issuer, basis.as_ref()) {
                    Ok(true) => None,
                    Ok(false) => Some(AuthError::SessionOver),
                    Err(unknown) => Some(unknown.into()),
                };
                if let Some(why) = why {
                    return Err(Denied {
                        user: Some(user),
                        ..Denied::stranger(why)
                    });
                }
                Principal {
                    user,
                    role: *role,
                    permissions: role.permissions(),
                    bot: None,
                    via: Via::Login {
                        id: login.id,
                        key: None,
                    },
                }
            }
        };
        let key = opened.key();
        let via = Via::Login { id: login.id, key };
        Ok(Principal { via, ..opened })
    }

    /// The session that somebody acts in.
    ///
    /// # Errors
    /// [`HiveError::NotFound`] when they act in none.
    pub fn own_login(&self, who: &Principal) -> Result<Login, HiveError> {
        let id = match &who.via {
            Via::Login { id, .. } => *id,
            Via::Key(_) | Via::Token { .. } | Via::Certificate => return Err(none_here()),
        };
        let found = self.state.logins.get(id, Timestamp::now());
        found.map(|login| login.info).ok_or_else(|| no_such(id))
    }

    /// The open sessions of somebody, oldest first.
    pub fn logins_of(&self, who: &Principal) -> Vec<Login> {
        self.state.logins.of_user(&who.user, Timestamp::now())
    }

    /// Ends the session that somebody acts in, for good.
    ///
    /// # Errors
    /// As [`Self::own_login`].
    pub async fn end_login(&self, who: &Principal) -> Result<(), HiveError> {
        let command = EndLogins {
            logins: vec![self.own_login(who)?.id],
            why: LoginEnd::LoggedOut,
            actor: who.user.to_string(),
        };
        self.change_logins(who, command).await.map(drop)
    }

    /// Ends every session of a user; how many there were.
    ///
    /// # Errors
    /// What keeps the store from writing.
    pub async fn end_logins_of(&self, who: &Principal, user: &str) -> Result<u64, HiveError> {
        let command = EndUserLogins {
            user: user.to_owned(),
            actor: who.user.to_string(),
        };
        self.change_logins(who, command).await
    }

    async fn change_logins<C: LedgerCommand>(
        &self,
        who: &Principal,
        command: C,
    ) -> Result<C::Reply, HiveError> {
        let reply = self.apply_for(who, command).await?;
        // It holds from the answer on.
        if let Err(error) = self.caches().reload_logins().await {
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

fn no_such(id: LoginId) -> HiveError {
    HiveError::NotFound {
        kind: "session",
        id: id.to_string(),
    }
}
