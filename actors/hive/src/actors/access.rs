//! Writes down behind the requests what they leave: when keys were used last,
//! and who was refused.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_supervision::Context;

use crate::{
    auth::{Denials, Keyring},
    ledger::{AccessCommand, Command, Ledger, StoreError},
    model::Timestamp,
};

/// How often refusals are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where that is gathered, and where it goes.
#[derive(Clone)]
pub(crate) struct AccessNotes {
    pub(crate) ledger: Ledger,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) denials: Arc<Denials>,
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
        let writing = self
            .ledger
            .apply_when_there_is_room(Command::Record(events));
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
        let command = Command::Access(AccessCommand::NoteUses(uses));
        match self.ledger.apply(command).await {
            Ok(_) => {}
            // The next use is written again.
            Err(StoreError::Full | StoreError::Busy | StoreError::Closed) => {}
            Err(error) => tracing::warn!(%error, "the last uses of keys could not be written"),
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
