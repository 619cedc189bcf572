//! Follows changes of keys and sessions, and writes in the background the traces that requests
//! leave: when keys and sessions were used last, which sessions have ended, and which callers
//! were refused.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_ledger::{
    Apply, CommandLog, EndWebSessions, NoteKeyUses, NoteWebSessionUses, RecordEvents, StoreError,
};
use deia_model::{OpenedWith, Timestamp, WebSessionEnd, WebSessionId, WebSessionRecord};
use deia_supervision::{Context, StartError};

use super::{DenialLog, Issuers, Keyring, WebSessions, caches::AccessCaches};

/// Pause before keys or sessions are read again after that failed. Fixed: a fault is not
/// tried in a loop, and its end is noticed soon.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Interval between checks for refusals that are due. Fixed: short enough that nobody
/// waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// In-memory state of access, and the ledger that it is written to.
#[derive(Clone)]
pub(crate) struct AccessState {
    pub(crate) ledger: Arc<dyn CommandLog>,
    pub(crate) caches: Arc<AccessCaches>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) denial_log: Arc<DenialLog>,
    pub(crate) web_sessions: Arc<WebSessions>,
    pub(crate) issuers: Arc<Issuers>,
}

impl AccessState {
    /// Writes the refusals that are due; with `all`, also those that would wait.
    pub(crate) async fn write_denials(&self, all: bool) {
        let events = self.denial_log.due(Timestamp::now(), all);
        if events.is_empty() {
            return;
        }
        // The refusals have happened: on a full disk their events wait for room, and later
        // refusals are counted until these are written.
        let writing = self.ledger.apply_deferred(RecordEvents(events));
        if let Err(error) = writing.await {
            tracing::warn!(%error, "refused requests could not be recorded");
        }
    }

    /// Writes the times at which keys were used last.
    pub(crate) async fn write_uses(&self) {
        let uses = self.keyring.uses_to_write();
        if uses.is_empty() {
            return;
        }
        let command = NoteKeyUses(uses);
        match self.ledger.apply(command).await {
            Ok(_) => {}
            // The next use is written again.
            Err(
                StoreError::Full(_) | StoreError::Busy | StoreError::Closed | StoreError::Unknown,
            ) => {}
            Err(error) => tracing::warn!(%error, "the last uses of keys could not be written"),
        }
    }

    /// Writes the times at which web sessions were used last, and ends expired sessions. These
    /// have ended by the clock even if the write fails.
    pub(crate) async fn write_web_sessions(&self) {
        if let Err(error) = self.try_write_web_sessions().await {
            tracing::debug!(%error, "the last uses of sessions could not be written");
        }
    }

    async fn try_write_web_sessions(&self) -> Result<(), StoreError> {
        let seen = self.web_sessions.uses_to_write();
        if !seen.is_empty() {
            self.ledger.apply(NoteWebSessionUses(seen)).await?;
        }
        let over = self.web_sessions.over(Timestamp::now());
        self.end_web_sessions(over, WebSessionEnd::Expired).await?;
        self.end_untrusted_web_sessions().await
    }

    /// Ends for good the sessions whose tokens would not be accepted any more. No look-up finds
    /// them once this returns.
    pub(crate) async fn end_untrusted_web_sessions(&self) -> Result<(), StoreError> {
        let untrusted = self
            .web_sessions
            .those(|web_session| self.is_untrusted(web_session));
        self.end_web_sessions(untrusted, WebSessionEnd::Withdrawn)
            .await
    }

    async fn end_web_sessions(
        &self,
        web_sessions: Vec<WebSessionId>,
        why: WebSessionEnd,
    ) -> Result<(), StoreError> {
        if web_sessions.is_empty() {
            return Ok(());
        }
        let actor = "deia".into();
        let command = EndWebSessions {
            web_sessions,
            why,
            actor,
        };
        self.ledger.apply(command).await?;
        self.caches.reload_web_sessions().await
    }

    /// Returns true if the session was opened with a token that would not be accepted any more.
    fn is_untrusted(&self, web_session: &WebSessionRecord) -> bool {
        match &web_session.info.opened_with {
            OpenedWith::Key(_) => false,
            OpenedWith::Token { issuer, .. } => {
                let still = self
                    .issuers
                    .still(issuer, web_session.trust_anchor.as_ref());
                still == Ok(false)
            }
        }
    }
}

/// Reads changes when they arrive, and writes periodically, one operation after the other.
pub(crate) struct AccessRecorder {
    state: AccessState,
    uses_every: Duration,
    uses_written: Instant,
}

impl AccessRecorder {
    /// Starts with the keys in force and the open sessions: commits before this start, for
    /// example by an earlier writer of the store, were not announced.
    pub(crate) async fn start(
        state: AccessState,
        uses_every: Duration,
    ) -> Result<Self, StartError> {
        let caches = &state.caches;
        caches.reload_keys().await.map_err(StartError::failed)?;
        caches.web_sessions_changed();
        caches
            .reload_web_sessions()
            .await
            .map_err(StartError::failed)?;
        Ok(Self {
            state,
            uses_every,
            uses_written: Instant::now(),
        })
    }

    fn reload_keys(&mut self, ctx: &mut Context<Self>) {
        let caches = self.state.caches.clone();
        let reloading = async move { caches.reload_keys().await };
        ctx.spawn(reloading.into_actor(self).map(|reloaded, _, ctx| {
            if let Err(error) = reloaded {
                let retry_in_ms = RETRY_AFTER.as_millis();
                tracing::warn!(%error, "the keys could not be read; retrying in {retry_in_ms} ms");
                ctx.run_later(RETRY_AFTER, Self::reload_keys);
            }
        }));
    }

    fn reload_web_sessions(&mut self, ctx: &mut Context<Self>) {
        let caches = self.state.caches.clone();
        let reloading = async move { caches.reload_web_sessions().await };
        ctx.spawn(reloading.into_actor(self).map(|reloaded, this, ctx| {
            match reloaded {
                Ok(()) => this.state.keyring.announce(),
                Err(error) => {
                    let retry_in_ms = RETRY_AFTER.as_millis();
                    tracing::warn!(%error, "the sessions could not be read; retrying in {retry_in_ms} ms");
                    ctx.run_later(RETRY_AFTER, Self::reload_web_sessions);
                }
            }
        }));
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        let uses_are_due = self.uses_written.elapsed() >= self.uses_every;
        if uses_are_due {
            self.uses_written = Instant::now();
        }
        let state = self.state.clone();
        let writing = async move {
            state.write_denials(false).await;
            if uses_are_due {
                state.write_uses().await;
                state.write_web_sessions().await;
            }
        };
        ctx.spawn(writing.into_actor(self).map(|(), _, ctx| {
            ctx.run_later(LOOK_EVERY, Self::step);
        }));
    }
}

impl Actor for AccessRecorder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(LOOK_EVERY, Self::step);
    }
}

/// Message that a commit changed the web sessions.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct WebSessionsChanged;

impl Handler<WebSessionsChanged> for AccessRecorder {
    type Result = ();

    fn handle(&mut self, _: WebSessionsChanged, ctx: &mut Self::Context) {
        self.reload_web_sessions(ctx);
    }
}

/// Message that a commit changed the keys.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct KeysChanged;

impl Handler<KeysChanged> for AccessRecorder {
    type Result = ();

    fn handle(&mut self, _: KeysChanged, ctx: &mut Self::Context) {
        self.reload_keys(ctx);
    }
}
