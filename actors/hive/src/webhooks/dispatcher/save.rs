//! The cursor of the dispatcher, stored together with those of the endpoints behind it.

use std::{collections::HashMap, sync::PoisonError};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Advance, Apply, Effect, Ledger, Rejection, StoreError};
use deia_model::{Position, WebhookId};
use deia_supervision::Context;

use super::{
    super::shared::{Progress, Shared},
    Dispatcher, NAME,
};

/// Cursors of endpoints.
type Cursors = HashMap<WebhookId, Option<Position>>;

/// Moves the cursor, and sets those of endpoints.
pub(super) async fn advance(
    ledger: &Ledger,
    from: Position,
    to: Position,
    effects: Vec<Effect>,
) -> Result<(), StoreError> {
    let advance = Advance {
        follower: NAME,
        binding: false,
        from,
        to,
        effects,
    };
    match ledger.apply(advance).await {
        // A cursor of a history that was cut off moves on with its first page.
        Err(StoreError::Refused(Rejection::CursorMoved { at })) if from == to && at == from => {
            Ok(())
        }
        moved => moved,
    }
}

/// Stores the cursors once more, when no actor runs any more.
pub(in super::super) async fn flush(shared: &Shared) {
    let progress = *shared
        .progress
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (Some(from), Some(to)) = (progress.saved, progress.at) else {
        return;
    };
    let cursors: Cursors = {
        let feeds = shared.feeds.lock();
        let changed = feeds
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry.feed.cursor_to_store(to)?)));
        changed.collect()
    };
    if from == to && cursors.is_empty() {
        return;
    }
    let effects = vec![Effect::WebhookCursors(cursors.into_iter().collect())];
    if let Err(error) = advance(&shared.ledger, from, to, effects).await {
        tracing::warn!(%error, "the cursors of webhooks were not stored; the next start repeats some deliveries");
    }
}

impl Dispatcher {
    /// Shows how far the dispatcher is.
    pub(super) fn publish(&self) {
        let progress = &self.shared.progress;
        *progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress {
            at: self.at,
            saved: self.saved,
        };
    }

    /// Stores the cursors, if any has changed.
    pub(super) fn save(&mut self, ctx: &mut Context<Self>) {
        let (Some(from), Some(to)) = (self.saved, self.at) else {
            return;
        };
        if self.is_saving {
            return;
        }
        let cursors = self.cursors_to_store(to);
        let missed = self.missed;
        if from == to && cursors.is_empty() && !missed {
            return;
        }
        self.is_saving = true;
        let mut effects = Vec::new();
        // Before the cursors are set, which say which endpoints had read everything.
        effects.extend(missed.then_some(Effect::WebhooksMissed));
        if !cursors.is_empty() {
            effects.push(Effect::WebhookCursors(
                cursors.clone().into_iter().collect(),
            ));
        }
        let ledger = self.shared.ledger.clone();
        let saving = async move { advance(&ledger, from, to, effects).await };
        ctx.spawn(saving.into_actor(self).map(move |saved, this, ctx| {
            this.is_saving = false;
            match saved {
                Ok(()) => {
                    this.saved = Some(to);
                    this.publish();
                    this.missed &= !missed;
                    this.note_stored(&cursors, to);
                    this.look(ctx);
                }
                Err(StoreError::Refused(Rejection::CursorMoved { at })) => {
                    tracing::warn!(%at, "the cursor of webhooks was moved by another writer; reading it again");
                    (this.at, this.saved) = (None, None);
                    this.load(ctx);
                }
                // The next save stores the same cursors, or later ones.
                Err(error) => this.failed(&error),
            }
        }));
    }

    fn cursors_to_store(&self, to: Position) -> Cursors {
        let feeds = self.shared.feeds.lock();
        let changed = self.touched.iter().filter_map(|id| {
            let cursor = feeds.get(id)?.feed.cursor_to_store(to)?;
            Some((*id, cursor))
        });
        changed.collect()
    }

    fn note_stored(&mut self, cursors: &Cursors, to: Position) {
        let feeds = self.shared.feeds.lock();
        for (id, cursor) in cursors {
            if let Some(entry) = feeds.get(id) {
                entry.feed.stored(*cursor);
            }
        }
        self.touched.retain(|id| {
            let entry = feeds.get(id);
            entry.is_some_and(|it| it.feed.is_behind() || it.feed.cursor_to_store(to).is_some())
        });
    }
}
