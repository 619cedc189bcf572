//! Keeps the keys of the issuers whose tokens are taken.

use std::sync::Arc;

use actix::{Actor, AsyncContext, WrapFuture};
use deia_supervision::{Context, StartError};

use crate::{
    auth::{Fetcher, Issuer, Issuers},
    config::JwtSettings,
};

/// Fetches the keys of issuers before they are old, and when they are asked for.
/// What it has fetched outlives it.
pub(crate) struct KeyFetcher {
    issuers: Arc<Issuers>,
    fetcher: Fetcher,
}

impl KeyFetcher {
    pub(crate) async fn start(issuers: Arc<Issuers>, jwt: JwtSettings) -> Result<Self, StartError> {
        // It reads the certificates that this machine trusts.
        let made = tokio::task::spawn_blocking(move || Fetcher::new(&jwt)).await;
        let fetcher = made
            .map_err(StartError::failed)?
            .map_err(StartError::failed)?;
        Ok(Self { issuers, fetcher })
    }
}

impl Actor for KeyFetcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for issuer in self.issuers.iter() {
            let keeping = keep(issuer.clone(), self.fetcher.clone());
            ctx.spawn(keeping.into_actor(self));
        }
    }
}

/// One issuer, for ever. Each has its own: one that hangs holds up no other.
async fn keep(issuer: Arc<Issuer>, fetcher: Fetcher) {
    loop {
        issuer.due().await;
        let attempt = issuer.begin();
        let name = &issuer.settings.name;
        match fetcher.keys(&issuer.settings, &issuer.jwt).await {
            Ok(keys) => {
                if let Some(keys) = issuer.replace(keys) {
                    tracing::info!(issuer = name, keys, "has new keys of the issuer");
                }
            }
            Err(error) => {
                let reason = describe(&error);
                tracing::warn!(
                    issuer = name,
                    reason,
                    "the keys of the issuer cannot be fetched; tried again"
                );
            }
        }
        drop(attempt);
    }
}

/// With its causes: the outermost of an HTTP client says little.
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
