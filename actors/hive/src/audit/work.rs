//! The work of the audit writer: reads events, enters them in the trail, signs checkpoints, and
//! moves its cursor. In this order, so that the store forgets nothing that is not in the trail.

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deia_ledger::{
    Advance, Apply, Effect, EventsPage, FollowerName, Ledger, Rejection, SealedTrail, StoreError,
};
use deia_model::{EventRows, Position, Timestamp};
use deia_trail::{Gap, Trail, TrailError, checkpoint::SignedCheckpoint};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    opening,
    state::{Sealed, TrailState},
};
use crate::{HiveError, config::Settings, file_notes::FileNotes, subsystem::Deps};

/// The follower and its cursor.
pub(super) const NAME: FollowerName = FollowerName("audit");
/// Events that are read at a time. Fixed: bounds one step, so that others get their turn;
/// the whole has no limit here.
const EVENTS_MAX: NonZero<u32> = NonZero::new(16_384).unwrap();
/// Pause of a stop while the store is busy. Fixed: a fault is not tried in a loop, and
/// its end is noticed soon.
const RETRY: Duration = Duration::from_millis(50);
/// Approximate size of their texts, in bytes. Fixed: bounds one step, so that others get
/// their turn; the whole has no limit here.
const BYTES_MAX: u64 = 8 << 20;

/// Reason why the trail does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Access(#[from] HiveError),
    #[error(transparent)]
    Trail(#[from] TrailError),
    #[error("{0}")]
    Key(String),
    #[error("the trail is not open")]
    NotOpen,
    #[error("the store does not take the cursor at {0}")]
    Cursor(Position),
    #[error("the work was interrupted: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

/// The only writer of the trail: the holder of the lock. The thread that writes holds it too, so
/// that no second one begins while the first is held up by the disk.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) ledger: Ledger,
    pub(super) settings: Settings,
    pub(super) state: Arc<TrailState>,
    pub(super) notes: FileNotes,
    open: Arc<Mutex<Option<Open>>>,
    /// True once the trail was open: what is found behind its checkpoint later may not be on
    /// disk.
    was_open: Arc<AtomicBool>,
}

/// An open trail.
pub(super) struct Open {
    pub(super) trail: Trail,
    /// Position of the cursor in the store.
    pub(super) cursor: Position,
    /// Position of the last event that was read.
    pub(super) read_upto: Position,
    /// Time of the last checkpoint of this process.
    pub(super) sealed_at: Option<Instant>,
    /// True if the store does not know the newest checkpoint yet.
    pub(super) is_news: bool,
    /// Gaps that are not recorded yet.
    pub(super) gaps: Vec<Gap>,
}

/// Guard of the trail.
pub(super) type Held = OwnedMutexGuard<Option<Open>>;

/// Result of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// True if there are more events.
    pub(super) more: bool,
    /// True if entries wait for a checkpoint.
    pub(super) unsealed: bool,
}

impl Work {
    pub(super) fn new(deps: &Deps, state: Arc<TrailState>) -> Self {
        Self {
            ledger: deps.ledger.clone(),
            settings: deps.settings.clone(),
            notes: deps.file_notes.clone(),
            state,
            open: Arc::default(),
            was_open: Arc::default(),
        }
    }

    /// Locks the trail, and opens it if it is not open.
    pub(super) async fn hold(&self) -> Result<Held, AuditError> {
        let mut held = self.open.clone().lock_owned().await;
        if held.is_none() {
            let take_over = !self.was_open.load(Ordering::Acquire);
            *held = Some(opening::open(self, take_over).await?);
            self.was_open.store(true, Ordering::Release);
        }
        Ok(held)
    }

    /// Enters the next events; signs a checkpoint if one is due, or at once if `seal`.
    pub(super) async fn round(&self, seal: bool) -> Result<Round, AuditError> {
        let began = Instant::now();
        let held = self.hold().await?;
        let open = held.as_ref().ok_or(AuditError::NotOpen)?;
        let page = self
            .ledger
            .rows_after(open.read_upto, EVENTS_MAX, BYTES_MAX)
            .await?;
        let more = page.next.seq < page.head.seq;
        let last_at = page.events.iter().next_back().map(|event| event.at);
        let is_due = seal || open.is_due(self.settings.get().audit.seal_every);
        let mut held = enter(held, page, is_due).await?;
        let open = held.as_mut().ok_or(AuditError::NotOpen)?;
        let is_sealed = open.trail.is_sealed();
        if is_sealed {
            let age = |at| Duration::from_millis(Timestamp::now().millis_since(at));
            let sealed = Sealed {
                seq: open.read_upto.seq,
                began,
                backlog: last_at.map(age).filter(|_| more),
            };
            self.note(open, sealed);
            self.advance(open).await?;
            self.record_gaps(open).await?;
        }
        Ok(Round {
            more,
            unsealed: !is_sealed,
        })
    }

    /// Enters and signs until everything that is recorded now is sealed.
    pub(super) async fn seal_all(&self) -> Result<(), AuditError> {
        let head = self.ledger.log_head().await?;
        loop {
            self.round(true).await?;
            let held = self.hold().await?;
            let open = held.as_ref().ok_or(AuditError::NotOpen)?;
            if open.read_upto >= head && open.trail.is_sealed() {
                return Ok(());
            }
        }
    }

    /// Enters the last events of a stop. Those that cannot be entered are left to the next start.
    pub(super) async fn enter_last(&self) {
        loop {
            match self.round(true).await {
                Ok(round) if !round.more && !round.unsealed => return,
                Ok(_) => {}
                Err(AuditError::Store(StoreError::Busy)) => tokio::time::sleep(RETRY).await,
                Err(error) => {
                    tracing::warn!(%error, "the last events are not in the audit trail; the next start enters them");
                    return;
                }
            }
        }
    }

    /// Notes that a checkpoint covers all entries.
    fn note(&self, open: &Open, sealed: Sealed) {
        let signed = open.trail.sealed();
        let is_news = open.is_news;
        self.state.sealed(sealed, |progress| {
            if let (Some(signed), true) = (signed, is_news) {
                progress.size = signed.checkpoint.head.size;
                progress.checkpoint = signed.note.to_text();
                progress.sealed_at = Some(Timestamp::now());
                progress.checkpoints += 1;
            }
        });
    }

    /// Moves the cursor behind the events that a checkpoint covers.
    async fn advance(&self, open: &mut Open) -> Result<(), AuditError> {
        if !open.is_news && open.cursor == open.read_upto {
            return Ok(());
        }
        deia_ledger::failpoint::hit("audit_before_advance");
        let sealed = open.trail.sealed().filter(|_| open.is_news);
        let effects = sealed.map(|signed| Effect::TrailSealed(Box::new(known(signed))));
        let advance = Advance {
            follower: NAME,
            binding: true,
            from: open.cursor,
            to: open.read_upto,
            effects: effects.into_iter().collect(),
        };
        match self.ledger.apply(advance).await {
            Ok(()) => {
                open.cursor = open.read_upto;
                open.is_news = false;
                Ok(())
            }
            Err(StoreError::Refused(Rejection::CursorMoved { at })) if at != open.cursor => {
                tracing::warn!(%at, "the cursor of the audit trail was moved by another writer; continuing from there");
                open.cursor = at;
                Ok(())
            }
            Err(StoreError::Refused(Rejection::CursorMoved { .. })) => {
                Err(AuditError::Cursor(open.read_upto))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Records that events were gone before they were entered, once the entries around them are
    /// sealed.
    async fn record_gaps(&self, open: &mut Open) -> Result<(), AuditError> {
        while let Some(gap) = open.gaps.last().copied() {
            let missing = gap.next.seq.saturating_sub(gap.after.seq + 1);
            tracing::error!(missing, after = %gap.after, "events are missing in the audit trail: they were gone before they were entered");
            super::events::record_gap(&self.ledger, missing, gap.after).await?;
            self.state.missed(missing);
            open.gaps.pop();
        }
        Ok(())
    }
}

impl Open {
    fn is_due(&self, every: Duration) -> bool {
        self.sealed_at.is_none_or(|at| at.elapsed() >= every)
    }
}

/// Enters events and signs, on a thread of its own. After an error the trail is opened again.
async fn enter(
    mut held: Held,
    page: EventsPage<EventRows>,
    seal: bool,
) -> Result<Held, AuditError> {
    let entering = move || {
        let mut open = held.take().ok_or(AuditError::NotOpen)?;
        if page.forked {
            tracing::warn!(goes_on_after = %page.next, "the audit trail continues with a new history of events");
        }
        let appended = open.trail.append_rows(&page.events)?;
        open.gaps.extend(appended.gaps);
        if seal && open.trail.seal(Timestamp::now())?.is_some() {
            open.sealed_at = Some(Instant::now());
            open.is_news = true;
        }
        open.read_upto = page.next;
        *held = Some(open);
        Ok(held)
    };
    tokio::task::spawn_blocking(entering).await?
}

/// Returns what the store keeps of a checkpoint.
pub(super) fn known(signed: &SignedCheckpoint) -> SealedTrail {
    SealedTrail {
        origin: signed.checkpoint.origin.clone(),
        size: signed.checkpoint.head.size,
        root: signed.checkpoint.head.root,
        checkpoint: signed.note.to_text(),
    }
}
