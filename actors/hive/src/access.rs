//! Access control: users, keys, web sessions, tokens of issuers.
//!
//! Records in force are held in memory and filled from the store; each change goes through the
//! store and takes effect before it is answered. Losing this subsystem's actors loses records of
//! use and refusal at most, never a decision: requests are authorized without them.

mod admin_key;
mod api;
mod auth_failure;
mod caches;
mod denial_log;
mod issuer_keys;
mod jwt;
mod keyring;
mod keys;
mod recorder;
mod users;
mod web_session_api;
mod web_sessions;

use std::sync::Arc;

pub(crate) use admin_key::ensure_admin_key;
pub use admin_key::{AdminKeyReset, reset_admin_key};
pub use api::{AccessApi, NewKey};
pub use auth_failure::{AuthError, AuthFailure};
use caches::AccessCaches;
use deia_ledger::{BoxFuture, CommitNotice};
use deia_supervision::{Handle, child};
pub use denial_log::{DenialLog, DenialRecord};
use issuer_keys::KeyFetcher;
pub use jwt::{
    Algorithm, Issuers, JwksError, KeySet, MAX_TOKEN_BYTES, TokenError, VerifyMode,
    looks_like_a_token,
};
pub(crate) use jwt::{Fetcher, Issuer};
pub use keyring::Keyring;
pub use keys::KeyRotation;
use recorder::{AccessRecorder, AccessState, KeysChanged, WebSessionsChanged};
use users::limits;
pub use web_session_api::OpenedWebSession;
pub use web_sessions::WebSessions;

use crate::subsystem::{Deps, Subsystem, TreeBuilder};

/// The subsystem for access control.
pub(crate) struct Access {
    api: AccessApi,
    state: AccessState,
    recorder: Handle<AccessRecorder>,
}

impl Access {
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder) -> Self {
        let config = deps.settings.get();
        let ledger = &deps.ledger;
        let keyring = Arc::new(Keyring::default());
        let web_sessions = Arc::new(WebSessions::new(config.auth.sessions.idle_timeout));
        let caches = AccessCaches::new(ledger.clone(), keyring.clone(), web_sessions.clone());
        let state = AccessState {
            ledger: ledger.clone(),
            caches: Arc::new(caches),
            keyring,
            denial_log: Arc::new(DenialLog::new(&config.auth)),
            web_sessions,
            issuers: Arc::new(Issuers::new(&config.auth.issuers, &config.auth.jwt)),
        };
        let (spec, recorder) = {
            let (state, every) = (state.clone(), config.auth.last_used_every);
            child("access", move || {
                AccessRecorder::start(state.clone(), every)
            })
        };
        tree.core(spec);
        if !config.auth.issuers.is_empty() {
            let (state, jwt) = (state.clone(), config.auth.jwt.clone());
            let (spec, _) = child("issuer-keys", move || {
                KeyFetcher::start(state.clone(), jwt.clone())
            });
            tree.core(spec);
        }
        Self {
            api: AccessApi::new(deps, state.clone()),
            state,
            recorder,
        }
    }

    pub(crate) fn api(&self) -> &AccessApi {
        &self.api
    }

    /// Loads the keys and sessions in force from the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn load(&self) -> Result<(), deia_ledger::StoreError> {
        self.state.caches.reload_keys().await?;
        self.state.caches.reload_web_sessions().await
    }
}

impl Subsystem for Access {
    fn on_commit(&self, notices: &[CommitNotice]) {
        for notice in notices {
            match notice {
                CommitNotice::WebSessionsChanged => {
                    self.state.caches.web_sessions_changed();
                    drop(self.recorder.tell(WebSessionsChanged));
                }
                CommitNotice::KeysChanged => drop(self.recorder.tell(KeysChanged)),
                _ => {}
            }
        }
    }

    /// Writes uses of keys, sessions and refusals.
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.state.write_uses().await;
            self.state.write_web_sessions().await;
            self.state.write_denials(true).await;
        })
    }
}
