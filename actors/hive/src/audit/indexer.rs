//! The actor that keeps the index of the trail up to date.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use deia_supervision::Context;
use deia_trail::{TrailReader, tile::TILE_WIDTH};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::shipped::on_erase;
use super::{
    index::{AuditIndex, Caught, IndexError, Scope},
    work::Work,
};

/// Interval of looks at the trail. Fixed: short enough that nobody waits for it, and each
/// look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause while the index is behind. Fixed: bounds one step, so that others get their
/// turn; the whole has no limit here.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause after a failure. Fixed: a fault is not tried in a loop, and its end is noticed
/// soon.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Bundles that are taken in at a time. Fixed: bounds one step, so that others get their
/// turn; the whole has no limit here.
const BUNDLES_MAX: u64 = 64;

/// Number of entries that the index has.
pub(super) type Indexed = Arc<AtomicU64>;

/// The index, which one thread at a time writes.
type Slot = Arc<Mutex<Option<Held>>>;

/// An open index.
struct Held {
    index: AuditIndex,
    /// Number of entries that retention has removed from it.
    pruned: u64,
}

/// Takes the entries of the trail into the index. Losing it delays queries: the index says how
/// far it is, and can be built again.
pub(super) struct Indexer {
    work: Work,
    indexed: Indexed,
    slot: Slot,
    /// True if its last failure was logged.
    failing: bool,
}

impl Indexer {
    pub(super) fn new(work: Work, indexed: Indexed) -> Self {
        Self {
            work,
            indexed,
            slot: Slot::default(),
            failing: false,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let progress = self.work.state.progress();
        if progress.checkpoint.is_empty() {
            ctx.run_later(LOOK_EVERY, Self::look);
            return;
        }
        let config = self.work.settings.get();
        let step = Step {
            index: config.audit_index_path(),
            trail: TrailReader::new(config.audit_dir()).noting(on_erase(&self.work)),
            origin: progress.origin,
            size: progress.size,
            scope: scope(&config.audit.not_indexed),
        };
        let slot = self.slot.clone();
        let stepping = async move {
            let held = slot.lock_owned().await;
            tokio::task::spawn_blocking(move || step.run(held)).await
        };
        ctx.spawn(stepping.into_actor(self).map(|done, this, ctx| {
            let wait = match done {
                Ok(Ok(caught)) => {
                    this.failing = false;
                    this.indexed.store(caught.upto, Ordering::Relaxed);
                    match caught.upto < caught.size {
                        true => PAUSE,
                        false => LOOK_EVERY,
                    }
                }
                Ok(Err(error)) => this.failed(&error),
                Err(error) => this.failed(&error),
            };
            ctx.run_later(wait, Self::look);
        }));
    }

    fn failed(&mut self, error: &dyn std::error::Error) -> Duration {
        if !self.failing {
            tracing::warn!(%error, "the index of the audit trail does not follow it; retrying");
        }
        self.failing = true;
        RETRY_AFTER
    }
}

/// Returns the scope that leaves these actions out.
fn scope(left_out: &[String]) -> Scope {
    let names = std::iter::once("*".to_owned());
    let names = names.chain(left_out.iter().map(|name| format!("!{name}")));
    Scope::new(&names.collect::<Vec<_>>())
}

/// One step of the index.
struct Step {
    index: PathBuf,
    trail: TrailReader,
    origin: String,
    size: u64,
    scope: Scope,
}

impl Step {
    fn run(self, mut slot: OwnedMutexGuard<Option<Held>>) -> Result<Caught, IndexError> {
        // After an error the index is opened again.
        let mut held = match slot.take() {
            Some(held) => held,
            None => Held {
                index: AuditIndex::open(&self.index, &self.origin, self.scope)?,
                pruned: 0,
            },
        };
        let caught = held.index.catch_up(&self.trail, self.size, BUNDLES_MAX)?;
        if caught.rebuilt {
            tracing::info!("the index of the audit trail is built again");
        }
        let first = self.trail.first_bundle(self.size)? * TILE_WIDTH as u64;
        if first > held.pruned {
            held.index.prune(first)?;
            held.pruned = first;
        }
        *slot = Some(held);
        Ok(caught)
    }
}

impl Actor for Indexer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}
