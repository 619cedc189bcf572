//! The issuers whose tokens are accepted.

use std::{sync::Arc, time::Instant};

use deia_model::{Principal, Timestamp, TrustAnchor};
use tokio::sync::Semaphore;

use super::{
    cache::{Cache, Known, fingerprint},
    issuer::Issuer,
    token::{Token, TokenError},
    verify::Verified,
};
use crate::config::{IssuerSettings, JwtSettings};

/// Way of verifying signatures of tokens that were not verified before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyMode {
    /// Signatures are verified concurrently.
    Parallel,
    /// Signatures are verified one at a time: for callers beyond their budget, so that many
    /// invalid tokens occupy at most one processor.
    Serialized,
}

/// The issuers whose tokens are accepted.
#[derive(Debug)]
pub struct Issuers {
    issuers: Vec<Arc<Issuer>>,
    known: Cache,
    /// Held while a signature is verified in [`VerifyMode::Serialized`].
    serialized: Semaphore,
}

impl Issuers {
    /// Creates the issuers of these settings, with no keys fetched yet.
    pub fn new(issuers: &[IssuerSettings], jwt: &JwtSettings) -> Self {
        let issuer =
            |settings: &IssuerSettings| Arc::new(Issuer::new(settings.clone(), jwt.clone()));
        Self {
            issuers: issuers.iter().map(issuer).collect(),
            known: Cache::new(jwt.max_verified as usize),
            serialized: Semaphore::new(1),
        }
    }

    /// Iterates over the issuers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.iter()
    }

    /// Returns true if a token of the issuer of that name with that trust anchor would still be
    /// accepted, as far as its issuer is concerned.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`] while the keys of the issuer are not known.
    pub fn still(
        &self,
        name: &str,
        trust_anchor: Option<&TrustAnchor>,
    ) -> Result<bool, TokenError> {
        let mut issuers = self.issuers.iter();
        let Some(issuer) = issuers.find(|issuer| *issuer.name == *name) else {
            return Ok(false);
        };
        let current = issuer.current().ok_or_else(|| issuer.unavailable())?;
        Ok(trust_anchor.is_some_and(|trust_anchor| current.trust_anchors.contains(trust_anchor)))
    }

    /// Returns the identity that this token proves. A token that was verified before costs one
    /// look-up; a token waits only if its key is unknown, or if it was not verified before and
    /// arrives in [`VerifyMode::Serialized`], which verifies signatures one at a time.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn authenticate(
        &self,
        text: &str,
        mode: VerifyMode,
        now: Timestamp,
    ) -> Result<Principal, TokenError> {
        let fingerprint = fingerprint(text);
        if let Some(known) = self.known.get(&fingerprint, now) {
            let issuer = &self.issuers[known.issuer];
            let current = issuer.current().map(|fetched| fetched.edition);
            if current == Some(known.edition) {
                return Ok(issuer.principal(known.who));
            }
        }
        let token = Token::parse(text)?;
        let named = |issuer: &Arc<Issuer>| token.issuer() == Some(&issuer.settings.issuer);
        let place = self
            .issuers
            .iter()
            .position(named)
            .ok_or(TokenError::Issuer)?;
        let issuer = &self.issuers[place];
        let (who, edition) = match self.check(issuer, &token, mode, now).await {
            Err(TokenError::Key | TokenError::Unavailable(_)) => {
                let asked_at = Instant::now();
                issuer.wait_for_keys().await?;
                match self.check(issuer, &token, mode, now).await {
                    // Older keys do not prove that there is no such key now.
                    Err(TokenError::Key) if !issuer.was_fetched_since(asked_at) => {
                        return Err(issuer.unavailable());
                    }
                    other => other?,
                }
            }
            other => other?,
        };
        let known = Known {
            who: who.clone(),
            issuer: place,
            edition,
        };
        self.known.put(fingerprint, known, now);
        Ok(issuer.principal(who))
    }

    async fn check(
        &self,
        issuer: &Issuer,
        token: &Token<'_>,
        mode: VerifyMode,
        now: Timestamp,
    ) -> Result<(Verified, u64), TokenError> {
        // The semaphore is never closed.
        let _turn = match mode {
            VerifyMode::Serialized => self.serialized.acquire().await.ok(),
            VerifyMode::Parallel => None,
        };
        issuer.check(token, now)
    }
}
