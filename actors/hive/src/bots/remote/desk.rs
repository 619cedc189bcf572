//! The desk of a bot: the place where its attempts wait for workers, and where workers ask for
//! them. It outlives the incarnations of the bot, but not the hive.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deia_ledger::{ClaimedTask, HeldAttempt, HeldLease};
use deia_model::Timestamp;
use tokio::sync::{Notify, oneshot, watch};

use super::{
    OnDesk, STORED_LEASE_FACTOR,
    held::{Asker, HeldAttempts, HeldEnd, OnTable, Out, Place},
    pieces::Pieces,
};
use crate::bots::{
    attempt::ExecutionResult,
    bot::AttemptKey,
    executor::{Offer, Readiness},
    progress::Progress,
};

/// Reason shown for a bot that no worker asks for tasks.
const NOBODY: &str = "no worker asks for tasks";

/// The desk of a bot. Cheap to clone. Locked for moments only.
#[derive(Clone, Default)]
pub(crate) struct Desk(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Notified of attempts that wait.
    arrived: Notify,
    offer: watch::Sender<Offer>,
}

#[derive(Default)]
struct State {
    attempts: HeldAttempts,
    /// Attempts that the waiting workers would take.
    wanted: usize,
    /// Time at which a worker last asked or reported.
    heard: Option<Instant>,
    /// Interval in which workers send heartbeats.
    heartbeat: Duration,
    /// Time without a heartbeat after which an attempt is lost.
    lease: Duration,
    places: usize,
    /// True if all attempts go on without the hive.
    outlives: bool,
    /// Attempts of services that go on without the hive.
    held: HashSet<AttemptKey>,
}

impl Default for Inner {
    fn default() -> Self {
        let nobody = Offer {
            slots: 0,
            readiness: Readiness::Unreachable(NOBODY),
        };
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            offer: watch::Sender::new(nobody),
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Desk")
            .field("attempts", &state.attempts.all.len())
            .field("wanted", &state.wanted)
            .finish()
    }
}

/// The answer to a sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Time for which the lease goes on.
    pub(super) lease: Duration,
    /// Reason of a requested cancellation.
    pub(super) cancelled: Option<Arc<str>>,
}

/// The demand of a worker that waits. Dropping it withdraws the demand.
pub(super) struct Wanted<'a> {
    desk: &'a Desk,
    max: usize,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.desk.change(|state| state.wanted -= self.max);
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and offers accordingly.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        let now = state.offer(Instant::now());
        // Sent while the state is locked: offers keep the order of the changes.
        self.0
            .offer
            .send_if_modified(|offer| std::mem::replace(offer, now) != now);
        changed
    }

    /// Begins a new incarnation of the bot. Attempts of the earlier one stay until they are
    /// adopted.
    pub(in crate::bots) fn begin(&self, heartbeat: Duration, missed: u32, places: u32) {
        self.change(|state| {
            state.heartbeat = heartbeat;
            state.lease = heartbeat * missed;
            state.places = places as usize;
            state.held.clear();
        });
    }

    /// Notes whether the attempts go on without the hive.
    pub(in crate::bots) fn set_outlives(&self, outlives: bool) {
        self.lock().outlives = outlives;
    }

    /// Returns whether the attempts go on without the hive.
    pub(in crate::bots) fn outlives_the_hive(&self) -> bool {
        self.lock().outlives
    }

    /// Returns the number of attempts of a service that go on without the hive.
    pub(in crate::bots) fn held(&self) -> usize {
        self.lock().held.len()
    }

    /// Notes that an attempt of a service goes on without the hive, or has ended.
    pub(in crate::bots) fn set_held(&self, key: AttemptKey, is_held: bool) {
        let held = &mut self.lock().held;
        match is_held {
            true => held.insert(key),
            false => held.remove(&key),
        };
    }

    /// Returns whether an attempt of a service goes on without the hive.
    pub(in crate::bots) fn is_held(&self, key: AttemptKey) -> bool {
        self.lock().held.contains(&key)
    }

    /// Returns the time for which the store keeps a lease beyond its use.
    pub(super) fn stored_lease(&self) -> Duration {
        self.lock().lease * STORED_LEASE_FACTOR
    }

    /// Returns the interval in which workers send heartbeats.
    pub(super) fn heartbeat(&self) -> Duration {
        self.lock().heartbeat
    }

    pub(super) fn offer(&self) -> watch::Receiver<Offer> {
        self.0.offer.subscribe()
    }

    /// Puts an attempt on the desk.
    pub(super) fn put(&self, claimed: ClaimedTask) -> OnDesk {
        let key = AttemptKey::of(&claimed);
        let (end, on_desk) = on_desk();
        let now = Instant::now();
        self.change(|state| {
            let held = OnTable {
                lease: claimed.lease,
                task: Some(Arc::new(claimed)),
                end,
                progress: on_desk.progress.clone(),
                pieces: None,
                place: Place::Waiting(now),
                renewed: now,
                cancelled: None,
                began: now,
            };
            state.attempts.add_waiting(key, held);
        });
        self.0.arrived.notify_one();
        on_desk
    }

    /// Takes over an attempt that an earlier incarnation of the bot, or start of the hive, had.
    pub(super) fn adopt(&self, attempt: &HeldAttempt) -> OnDesk {
        let key = AttemptKey::of_lease(&attempt.lease);
        let (end, mut on_desk) = on_desk();
        let now = Instant::now();
        self.change(|state| {
            if let Some(held) = state.attempts.all.get_mut(&key) {
                held.end = end;
                on_desk.progress = held.progress.clone();
                return;
            }
            let held = OnTable {
                lease: attempt.lease.lease,
                task: None,
                end,
                progress: on_desk.progress.clone(),
                pieces: None,
                place: Place::Out(Out {
                    worker: None,
                    request: None,
                    heard: now,
                    is_known: false,
                }),
                renewed: now,
                cancelled: attempt.cancelled.as_deref().map(Arc::from),
                began: ago(Timestamp::now().millis_since(attempt.started_at)),
            };
            state.attempts.all.insert(key, held);
        });
        on_desk
    }

    /// Registers the demand of a worker that waits.
    pub(super) fn want(&self, max: usize) -> Wanted<'_> {
        self.change(|state| {
            state.wanted += max;
            state.heard = Some(Instant::now());
        });
        Wanted { desk: self, max }
    }

    /// Waits for an attempt to arrive.
    pub(super) async fn arrival(&self) {
        self.0.arrived.notified().await;
    }

    /// Gives attempts to a worker.
    pub(super) fn give(&self, asker: &Asker, max: usize) -> Vec<Arc<ClaimedTask>> {
        self.change(|state| {
            let now = Instant::now();
            state.heard = Some(now);
            let mut given = state.attempts.given_before(asker);
            if given.is_empty() {
                given = state.attempts.give(asker, max, now);
            }
            if !state.attempts.waiting.is_empty() {
                // One notice may stand for several attempts.
                self.0.arrived.notify_one();
            }
            given
        })
    }

    /// Notes a sign of life of the worker that holds an attempt. `None` if the lease is not known
    /// here.
    pub(super) fn hear(&self, lease: &HeldLease, progress: Option<f64>) -> Option<Heard> {
        let now = Instant::now();
        let mut state = self.lock();
        state.heard = Some(now);
        let kept = state.lease;
        let held = state.attempts.all.get_mut(&AttemptKey::of_lease(lease))?;
        if held.lease != lease.lease {
            return None;
        }
        if let Place::Out(out) = &mut held.place {
            out.heard = now;
            out.is_known = true;
        }
        if let Some(progress) = progress {
            held.progress.tell(progress);
        }
        Some(Heard {
            lease: kept,
            cancelled: held.cancelled.clone(),
        })
    }

    /// Returns the time since an attempt began, as far as it is known here.
    pub(super) fn running_for(&self, lease: &HeldLease) -> Option<Duration> {
        let state = self.lock();
        let held = state.attempts.all.get(&AttemptKey::of_lease(lease))?;
        Some(held.began.elapsed())
    }

    /// Returns the output of an attempt so far, or begins it; `None` if the lease is not known here.
    pub(super) fn pieces(
        &self,
        lease: &HeldLease,
        begin: impl FnOnce() -> Pieces,
    ) -> Option<Pieces> {
        let mut state = self.lock();
        let held = state.attempts.all.get_mut(&AttemptKey::of_lease(lease))?;
        let is_it = held.lease == lease.lease;
        is_it.then(|| held.pieces.get_or_insert_with(begin).clone())
    }

    /// Returns whether an earlier start of the hive gave the attempt out, and may have pieces of
    /// its output.
    pub(super) fn is_adopted(&self, lease: &HeldLease) -> bool {
        let state = self.lock();
        let held = state.attempts.all.get(&AttemptKey::of_lease(lease));
        held.is_some_and(|held| held.task.is_none())
    }

    /// Returns whether pieces of the output of an attempt came already.
    pub(super) fn has_pieces(&self, lease: &HeldLease) -> bool {
        let state = self.lock();
        let held = state.attempts.all.get(&AttemptKey::of_lease(lease));
        held.is_some_and(|held| held.lease == lease.lease && held.pieces.is_some())
    }

    /// Ends an attempt whose end was recorded.
    pub(super) fn reported(&self, key: AttemptKey, result: ExecutionResult) {
        let held = self.change(|state| state.attempts.remove(key));
        // Nobody waits for it while the bot's actor is being restarted.
        drop(held.map(|held| held.end.send(HeldEnd::Reported(Box::new(result)))));
    }

    /// Tells the worker of an attempt to end it, with its next sign of life. Returns `false` if no
    /// worker has it.
    pub(super) fn ask_to_end(&self, key: AttemptKey, words: &Arc<str>) -> bool {
        let mut state = self.lock();
        let Some(held) = state.attempts.all.get_mut(&key) else {
            return false;
        };
        held.cancelled = Some(words.clone());
        matches!(held.place, Place::Out(_))
    }

    /// Removes an attempt that the bot has ended.
    pub(super) fn remove(&self, key: AttemptKey) {
        drop(self.change(|state| state.attempts.remove(key)));
    }

    /// Ends attempts whose worker was lost, and returns the leases to renew in the store. Called
    /// with each heartbeat of the bot.
    pub(super) fn look(&self, now: Instant) -> Vec<HeldLease> {
        let (lost, due) = self.change(|state| {
            let lost = state.attempts.take_lost(state.lease, now);
            (lost, state.attempts.take_due(state.lease / 3, now))
        });
        for (held, end) in lost {
            drop(held.end.send(end));
        }
        due
    }

    /// Ends attempts whose lease the store no longer has.
    pub(super) fn lease_lost(&self, lease: &HeldLease) {
        let key = AttemptKey::of_lease(lease);
        let held = self.change(|state| state.attempts.remove(key));
        drop(held.map(|held| held.end.send(HeldEnd::LeaseLost)));
    }
}

/// Returns the moment that lies so many milliseconds back.
fn ago(millis: u64) -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_millis(millis))
        .unwrap_or(now)
}

fn on_desk() -> (oneshot::Sender<HeldEnd>, OnDesk) {
    let (end, ended) = oneshot::channel();
    let on_desk = OnDesk {
        end: ended,
        progress: Progress::told(),
    };
    (end, on_desk)
}

impl State {
    fn offer(&self, now: Instant) -> Offer {
        let attempts = &self.attempts;
        let asked_for = self.wanted.saturating_sub(attempts.waiting.len());
        let slots = (attempts.all.len() + asked_for).min(self.places);
        let is_absent = self.wanted == 0
            && self
                .heard
                .is_none_or(|heard| now.saturating_duration_since(heard) >= self.lease);
        Offer {
            slots: u32::try_from(slots).unwrap_or(u32::MAX),
            readiness: match is_absent {
                true => Readiness::Unreachable(NOBODY),
                false => Readiness::Ready,
            },
        }
    }
}
