//! Writes down behind the requests what they leave: when keys and sessions were
//! used last, which sessions are over, and who was refused.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, EndLogins, Ledger, NoteKeyUses, NoteLoginUses, RecordEvents, StoreError};
use deia_model::{LoginEnd, LoginId, LoginRecord, OpenedWith, Timestamp};
use deia_supervision::Context;

use crate::auth::{Denials, Issuers, Keyring, Logins};

/// How often refusals are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where that is gathered, and where it goes.
#[derive(Clone)]
pub(crate) struct AccessNotes {
    pub(crate) ledger: Ledger,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) denials: Arc<Denials>,
    pub(crate) logins: Arc<Logins>,
    pub(crate) issuers: Arc<Issuers>,
}

impl AccessNotes {
    /// Writes the refusals that are due; `all`: also those that would wait.
    pub(crate) async fn write_denials(&self, all: bool) {
        let events = self.denials.due(Timestamp::now(), all);
        if events.is_empty() {
            return;
        }
        // They have happened: on a full disk they wait for room, and what comes
        // meanwhile is counted until these are written.
        let writing = self.ledger.apply_deferred(RecordEvents(events));
        if let Err(error) = writing.await {
            tracing::warn!(%error, "refused requests could not be recorded");
        }
    }

    /// Writes when keys were used last.
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

    /// Writes when sessions in browsers were used last, and ends those that are
    /// over. They are over by the clock, whatever is written.
    pub(crate) async fn write_logins(&self) {
        if let Err(error) = self.try_write_logins().await {
            tracing::debug!(%error, "the last uses of sessions could not be written");
        }
    }

    async fn try_write_logins(&self) -> Result<(), StoreError> {
        let apply = |command| self.ledger.apply(command);
        let seen = self.logins.uses_to_write();
        if !seen.is_empty() {
            apply(NoteLoginUses(seen)).await?;
        }
        let over = self.logins.over(Timestamp::now());
        self.end_logins(over, LoginEnd::Expired).await?;
        self.end_baseless_logins().await
    }

    /// Ends the sessions whose tokens would not be taken any more, for good. No
    /// look-up finds them when this returns.
    pub(crate) async fn end_baseless_logins(&self) -> Result<(), StoreError> {
        let baseless = self.logins.those(|login| self.is_baseless(login));
        self.end_logins(baseless, LoginEnd::Withdrawn).await
    }

    async fn end_logins(&self, logins: Vec<LoginId>, why: LoginEnd) -> Result<(), StoreError> {
        if logins.is_empty() {
            return Ok(());
        }
        let actor = "deia".into();
        let command = EndLogins { logins, why, actor };
        self.ledger.apply(command).await?;
        self.logins.reload(&self.ledger).await
    }

    /// Returns whether it was opened with a token that would not be taken any more.
    fn is_baseless(&self, login: &LoginRecord) -> bool {
        match &login.info.opened_with {
            OpenedWith::Key(_) => false,
            OpenedWith::Token { issuer, .. } => {
                let still = self.issuers.still(issuer, login.basis.as_ref());
                still == Ok(false)
            }
        }
    }
}

/// Writes it from time to time, one thing after the other.
pub(crate) struct AccessClerk {
    notes: AccessNotes,
    uses_every: Duration,
    uses_written: Instant,
}

impl AccessClerk {
    pub(crate) fn new(notes: AccessNotes, uses_every: Duration) -> Self {
        Self {
            notes,
            uses_every,
            uses_written: Instant::now(),
        }
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        let uses_are_due = self.uses_written.elapsed() >= self.uses_every;
        if uses_are_due {
            self.uses_written = Instant::now();
        }
        let notes = self.notes.clone();
        let writing = async move {
            notes.write_denials(false).await;
            if uses_are_due {
                notes.write_uses().await;
                notes.write_logins().await;
            }
        };
        ctx.spawn(writing.into_actor(self).map(|(), _, ctx| {
            ctx.run_later(LOOK_EVERY, Self::step);
        }));
    }
}

impl Actor for AccessClerk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(LOOK_EVERY, Self::step);
    }
}
