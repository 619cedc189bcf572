//! Interface of the subsystem to others: authentication of callers, and checks of their access.

use std::{net::IpAddr, sync::Arc};

use deia_ledger::{Apply, Ledger, LedgerCommand, Rejection, StoreError};
use deia_model::{Credential, KeyInfo, Principal, Timestamp};
use tokio::sync::watch;

use super::{
    AuthFailure, DenialRecord, TokenError, VerifyMode, caches::AccessCaches, looks_like_a_token,
    recorder::AccessState,
};
use crate::{
    HiveError,
    config::{Config, Settings},
    subsystem::Deps,
};

/// A new key, the only value that contains its text.
#[derive(Clone)]
pub struct NewKey {
    /// Description of the key in listings.
    pub info: KeyInfo,
    /// Text of the key.
    pub text: String,
    /// True if its user was created with it.
    pub user_created: bool,
}

/// Interface to users, keys, web sessions and tokens.
#[derive(Clone)]
pub struct AccessApi {
    pub(super) settings: Settings,
    pub(super) ledger: Ledger,
    pub(super) state: AccessState,
}

impl AccessApi {
    pub(super) fn new(deps: &Deps, state: AccessState) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            state,
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.settings.get()
    }

    pub(super) fn caches(&self) -> &AccessCaches {
        &self.state.caches
    }

    /// Returns the caller who comes with this key, from this address. Takes no lock and
    /// does no I/O.
    ///
    /// # Errors
    /// [`AuthFailure`], with nothing in it that the bearer did not know.
    pub fn authenticate(&self, key: &str, from: Option<IpAddr>) -> Result<Principal, AuthFailure> {
        let now = Timestamp::now();
        self.state.keyring.authenticate(key, from, now)
    }

    /// Returns the caller who comes with this key or token. Waits only for the keys of the
    /// issuer of a token whose key is not known; and, in [`VerifyMode::Serialized`], for the
    /// turn of a token that was not seen before, so that many bad ones take one processor at
    /// most.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn authenticate_bearer(
        &self,
        text: &str,
        from: Option<IpAddr>,
        mode: VerifyMode,
    ) -> Result<Principal, AuthFailure> {
        if !looks_like_a_token(text) {
            return self.authenticate(text, from);
        }
        let issuers = &self.state.issuers;
        let who = issuers.authenticate(text, mode, Timestamp::now());
        who.await
            .map_err(|error| AuthFailure::anonymous(error.into()))
    }

    /// Authenticates a caller again whose request takes long: their access may have
    /// changed since it began.
    ///
    /// # Errors
    /// [`AuthFailure`], when they would not be let in now.
    pub fn still(&self, who: &Principal, from: Option<IpAddr>) -> Result<Principal, AuthFailure> {
        let now = Timestamp::now();
        match &who.credential {
            Credential::Key(_) => self.state.keyring.still(who, from, now),
            Credential::Token {
                issuer,
                expires_at,
                trust_anchor,
            } => {
                let why = match self.state.issuers.still(issuer, Some(trust_anchor)) {
                    _ if *expires_at <= now => TokenError::Expired,
                    Ok(true) => return Ok(who.clone()),
                    Ok(false) => TokenError::Key,
                    Err(unknown) => unknown,
                };
                Err(AuthFailure {
                    user: Some(who.user.clone()),
                    ..AuthFailure::anonymous(why.into())
                })
            }
            Credential::WebSession { id, .. } => self.web_session_still(*id, from, now),
            // The listener knows how long the certificate is valid.
            Credential::Certificate => Ok(who.clone()),
        }
    }

    /// Returns the time from which on the caller is refused by the clock alone, as far as that is
    /// known now: the end of a key, a token or a session.
    pub fn let_in_until(&self, who: &Principal) -> Option<Timestamp> {
        let key = who.key().and_then(|key| self.known_key(key));
        let own = match &who.credential {
            Credential::Token { expires_at, .. } => Some(*expires_at),
            Credential::WebSession { id, .. } => self.state.web_sessions.over_at(*id),
            Credential::Key(_) | Credential::Certificate => None,
        };
        let of_key = key.and_then(|key| key.expires_at);
        [own, of_key].into_iter().flatten().min()
    }

    /// Applies a command for a caller, unless their access has changed since they
    /// were let in.
    pub(crate) async fn apply_for<C: LedgerCommand>(
        &self,
        who: &Principal,
        command: C,
    ) -> Result<C::Reply, StoreError> {
        let by_token = matches!(
            who.credential,
            Credential::Token { .. } | Credential::WebSession { key: None, .. }
        );
        // The store cannot know if the issuer still vouches for the token.
        if by_token && self.still(who, None).is_err() {
            return Err(StoreError::Refused(Rejection::AccessChanged));
        }
        self.ledger.apply_for(who, command).await
    }

    /// Returns a receiver that is notified whenever keys or users have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.state.keyring.changes()
    }

    /// Records that a request was accepted, which prolongs its session.
    pub fn note_admitted(&self, who: &Principal) {
        if let Credential::WebSession { id, .. } = who.credential {
            self.state.web_sessions.note_use(id, Timestamp::now());
        }
    }

    /// Records that a request was refused. The event log gets the refusal a little later.
    pub fn note_denial(&self, denial: DenialRecord) {
        self.state.denial_log.note(denial);
    }

    /// Reloads keys and sessions after a commit that changed them, so that the change is in force
    /// before the answer.
    ///
    /// # Errors
    /// As the command.
    pub(super) async fn change_access<C: LedgerCommand>(
        &self,
        who: &Principal,
        command: C,
    ) -> Result<C::Reply, HiveError> {
        let reply = self.apply_for(who, command).await?;
        self.caches().follow_commit().await;
        Ok(reply)
    }
}
