//! The issuers whose tokens are accepted, and their keys as far as they are known.
//!
//! Requests only read here. An actor fetches the keys: before they are stale, and when a request
//! arrives with an unknown key. Only that request waits, for a bounded time and with a bounded
//! number of others.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use deia_model::{Credential, Principal, Timestamp, TrustAnchor};
use tokio::sync::{Notify, Semaphore, watch};

use super::{
    cache::{Cache, Known, fingerprint},
    jwks::{KeySet, hash},
    token::{Token, TokenError},
    verify::{Rules, Verified, verify},
};
use crate::config::{IssuerSettings, JwtSettings};

/// Maximum number of requests that wait for the keys of one issuer.
const MAX_WAITING: usize = 64;

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

/// An issuer whose tokens are accepted.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) settings: IssuerSettings,
    pub(crate) jwt: JwtSettings,
    name: Arc<str>,
    settings_sha256: [u8; 32],
    keys: ArcSwapOption<Fetched>,
    editions: AtomicU64,
    gate: Mutex<Gate>,
    asked: Notify,
    /// Number of attempts that have ended.
    rounds: watch::Sender<u64>,
    waiting: Semaphore,
}

#[derive(Debug)]
struct Fetched {
    set: KeySet,
    /// Number that changes whenever the set does.
    edition: u64,
    /// Time at which the keys were requested.
    at: Instant,
    /// Trust anchors of tokens that are signed with these keys.
    trust_anchors: Vec<TrustAnchor>,
}

/// Times at which keys were requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gate {
    last: Option<Instant>,
    in_flight: bool,
}

impl Gate {
    /// Returns true if another attempt may begin at that time.
    fn is_open(self, now: Instant, at_most_every: Duration) -> bool {
        let rested = |last| now.saturating_duration_since(last) >= at_most_every;
        !self.in_flight && self.last.is_none_or(rested)
    }

    /// Returns the time until keys that were fetched at `fetched` must be fetched again.
    fn due_in(self, fetched: Option<Instant>, now: Instant, jwt: &JwtSettings) -> Duration {
        let left = |from: Instant, every: Duration| {
            every.saturating_sub(now.saturating_duration_since(from))
        };
        let rest = self
            .last
            .map_or(Duration::ZERO, |last| left(last, jwt.refresh_at_most_every));
        fetched
            .map_or(Duration::ZERO, |at| left(at, jwt.refresh_every))
            .max(rest)
    }
}

/// A running attempt, which ends when this is dropped.
pub(crate) struct Attempt<'a>(&'a Issuer);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.gate().in_flight = false;
        self.0.rounds.send_modify(|rounds| *rounds += 1);
    }
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

/// Returns a hash of the settings that decide which identity a token of the issuer proves. The
/// address of the keys is not among them.
fn settings_sha256(settings: &IssuerSettings) -> [u8; 32] {
    let settings = IssuerSettings {
        jwks_url: None,
        ..settings.clone()
    };
    // The fields are plain and in a fixed order, so serialization cannot fail.
    hash(&[&serde_json::to_vec(&settings).unwrap_or_default()])
}

impl Issuer {
    fn new(settings: IssuerSettings, jwt: JwtSettings) -> Self {
        Self {
            name: settings.name.as_str().into(),
            settings_sha256: settings_sha256(&settings),
            settings,
            jwt,
            keys: ArcSwapOption::empty(),
            editions: AtomicU64::new(1),
            gate: Mutex::default(),
            asked: Notify::new(),
            rounds: watch::Sender::new(0),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    fn principal(&self, who: Verified) -> Principal {
        Principal {
            user: who.user,
            role: who.role,
            permissions: who.role.permissions(),
            bot: None,
            credential: Credential::Token {
                issuer: self.name.clone(),
                expires_at: who.expires_at,
                trust_anchor: who.trust_anchor,
            },
        }
    }

    /// Returns the keys of the issuer, unless they are too old to be trusted.
    fn current(&self) -> Option<Arc<Fetched>> {
        let fetched = self.keys.load_full()?;
        (fetched.at.elapsed() < self.jwt.keys_valid_for).then_some(fetched)
    }

    fn check(&self, token: &Token<'_>, now: Timestamp) -> Result<(Verified, u64), TokenError> {
        // A token that is not allowed with any key is not worth a fetch.
        if !self.settings.algorithms.contains(&token.algorithm) {
            return Err(TokenError::Algorithm);
        }
        let fetched = self.current().ok_or_else(|| self.unavailable())?;
        let rules = Rules {
            issuer: &self.settings,
            settings_sha256: &self.settings_sha256,
            jwt: &self.jwt,
        };
        Ok((verify(token, rules, &fetched.set, now)?, fetched.edition))
    }

    /// Returns true if the keys are as they were at that time or later.
    fn was_fetched_since(&self, time: Instant) -> bool {
        self.keys
            .load()
            .as_ref()
            .is_some_and(|keys| keys.at >= time)
    }

    /// Returns the error for an issuer that cannot be asked now, with the time until it can.
    fn unavailable(&self) -> TokenError {
        let gate = *self.gate();
        let rest = gate.due_in(None, Instant::now(), &self.jwt);
        TokenError::Unavailable(if gate.in_flight { Duration::ZERO } else { rest })
    }

    /// Requests the keys, and waits until the attempt to fetch them has ended. Refuses when it is
    /// too soon to ask again: an anonymous caller who makes up names of keys must not cause a new
    /// key to be refused for good.
    async fn wait_for_keys(&self) -> Result<(), TokenError> {
        let mut rounds = self.rounds.subscribe();
        let gate = *self.gate();
        if !gate.in_flight && !gate.is_open(Instant::now(), self.jwt.refresh_at_most_every) {
            return Err(self.unavailable());
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(self.unavailable());
        };
        self.asked.notify_one();
        // The actor may be restarting.
        let patience = self.jwt.fetch_timeout + Duration::from_secs(1);
        match tokio::time::timeout(patience, rounds.changed()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.unavailable()),
        }
    }

    /// Resolves when the keys must be fetched.
    pub(crate) async fn due(&self) {
        loop {
            let fetched = self.keys.load().as_ref().map(|fetched| fetched.at);
            let wait = self.gate().due_in(fetched, Instant::now(), &self.jwt);
            let asked = tokio::time::timeout(wait, self.asked.notified()).await;
            let open = self
                .gate()
                .is_open(Instant::now(), self.jwt.refresh_at_most_every);
            if open {
                return;
            }
            if asked.is_ok() {
                // Too soon: callers that asked need not wait.
                self.rounds.send_modify(|rounds| *rounds += 1);
            }
        }
    }

    /// Begins an attempt.
    pub(crate) fn begin(&self) -> Attempt<'_> {
        *self.gate() = Gate {
            last: Some(Instant::now()),
            in_flight: true,
        };
        Attempt(self)
    }

    /// Stores the keys that the last attempt fetched. Returns their number if they differ from
    /// the earlier ones.
    pub(crate) fn replace(&self, set: KeySet) -> Option<usize> {
        let before = self.keys.load_full();
        let same = before.filter(|before| before.set == set);
        let (len, changed) = (set.len(), same.is_none());
        let edition = match same {
            Some(before) => before.edition,
            None => self.editions.fetch_add(1, Ordering::Relaxed),
        };
        let fetched = Fetched {
            trust_anchors: set.trust_anchors(&self.settings_sha256),
            at: self.gate().last.unwrap_or_else(Instant::now),
            set,
            edition,
        };
        self.keys.store(Some(Arc::new(fetched)));
        changed.then_some(len)
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn when_keys_are_fetched() {
        let jwt = JwtSettings {
            refresh_every: 100 * SECOND,
            refresh_at_most_every: 10 * SECOND,
            ..crate::config::Config::defaults().unwrap().auth.jwt
        };
        let start = Instant::now();
        let at = |seconds: u32| start + seconds * SECOND;
        let gate = |last: Option<u32>, in_flight| Gate {
            last: last.map(at),
            in_flight,
        };
        for (gate, now, open) in [
            (gate(None, false), 0, true),
            (gate(Some(0), false), 9, false),
            (gate(Some(0), false), 10, true),
            (gate(Some(0), true), 50, false),
        ] {
            assert_eq!(
                gate.is_open(at(now), jwt.refresh_at_most_every),
                open,
                "{now}"
            );
        }
        for (last, fetched, now, expected) in [
            (None, None, 0, 0),
            (Some(0), None, 4, 6),
            (Some(0), None, 20, 0),
            (Some(0), Some(0), 20, 80),
            (Some(99), Some(0), 100, 9),
            (Some(100), Some(0), 200, 0),
        ] {
            let due = gate(last, false).due_in(fetched.map(at), at(now), &jwt);
            assert_eq!(due, expected * SECOND, "{last:?} {fetched:?} {now}");
        }
    }
}
