//! Keeps the keys of the accepted issuers current.

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, WrapFuture};
use deia_supervision::{Context, StartError};

use super::recorder::AccessState;
use crate::{
    access::{Fetcher, Issuer},
    config::JwtSettings,
};

/// Time before a failed attempt to end sessions is repeated. Fixed: a fault is not tried
/// in a loop, and its end is noticed soon.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Fetches the keys of issuers before they are stale, and on request. Fetched keys outlive the
/// actor.
pub(crate) struct KeyFetcher {
    state: AccessState,
    fetcher: Fetcher,
}

impl KeyFetcher {
    pub(crate) async fn start(state: AccessState, jwt: JwtSettings) -> Result<Self, StartError> {
        // Creating the fetcher reads the certificates that this machine trusts.
        let made = tokio::task::spawn_blocking(move || Fetcher::new(&jwt)).await;
        let fetcher = made
            .map_err(StartError::failed)?
            .map_err(StartError::failed)?;
        Ok(Self { state, fetcher })
    }
}

impl Actor for KeyFetcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for issuer in self.state.issuers.iter() {
            let keeping = keep(issuer.clone(), self.state.clone(), self.fetcher.clone());
            ctx.spawn(keeping.into_actor(self));
        }
    }
}

/// Keeps the keys of one issuer current forever. Each issuer has its own task, so that one that
/// hangs does not delay the others.
async fn keep(issuer: Arc<Issuer>, state: AccessState, fetcher: Fetcher) {
    loop {
        issuer.due().await;
        let attempt = issuer.begin();
        let name = &issuer.settings.name;
        match fetcher.keys(&issuer.settings, &issuer.jwt).await {
            Ok(set) => {
                let is_cut = set.is_cut;
                if let Some(keys) = issuer.replace(set) {
                    tell(name, keys, is_cut);
                    // Callers authenticated with a removed key must be disconnected.
                    state.keyring.announce();
                    end_untrusted(name, &state).await;
                }
            }
            Err(error) => {
                let reason = describe(&error);
                tracing::warn!(
                    issuer = name,
                    reason,
                    "the keys of the issuer cannot be fetched; retrying"
                );
            }
        }
        drop(attempt);
    }
}

/// Ends for good the sessions whose key was removed. The caller waits for this, because the
/// key must not return before.
async fn end_untrusted(issuer: &str, state: &AccessState) {
    while let Err(error) = state.end_untrusted_web_sessions().await {
        let retry_in_ms = RETRY_AFTER.as_millis();
        tracing::warn!(
            issuer,
            %error,
            "sessions that rest on withdrawn keys cannot be ended; retrying in {retry_in_ms} ms"
        );
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

fn tell(issuer: &str, keys: usize, is_cut: bool) {
    if is_cut {
        tracing::warn!(
            issuer,
            keys,
            "the issuer has too many signing keys; the rest is not used"
        );
    } else if keys == 0 {
        tracing::warn!(
            issuer,
            "the issuer has no usable signing key any more; its tokens are refused"
        );
    } else {
        tracing::info!(issuer, keys, "fetched signing keys of the issuer");
    }
}

/// Describes an error with its causes: the outermost error of an HTTP client says little.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
