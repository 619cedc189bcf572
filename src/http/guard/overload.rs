//! Refusal of requests while they wait too long for their turn: of callers over their share first,
//! then by tier, then by the hash of the caller.
//!
//! The signal is the wait for a turn, not the latency, which also depends on what is asked for:
//! the wait for a permit of the class, and the wait of the thread that serves the connection.

pub(crate) mod peek;
pub(crate) mod rank;
mod shares;
mod threshold;

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use deia_hive::config::OverloadSettings;
use deia_hive::metrics::{Exposition, table as rows};
use deia_model::Priority;
use tokio::task::yield_now;

use self::{
    rank::{RANKS, Rank, Tier},
    shares::Shares,
    threshold::{OverloadPolicy, Threshold, WindowSeen},
};
use crate::http::body::{catalogue::Code, problem::Problem};

const NO_LABELS: [&str; 0] = [];

/// Admission under overload, for all requests of a server.
pub(crate) struct Overload(Option<Gate>);

struct Gate {
    settings: OverloadSettings,
    policy: OverloadPolicy,
    /// Number of ranks that are admitted.
    admitted_ranks: AtomicUsize,
    counts: Counts,
    shares: Shares,
    begun: Instant,
    /// Time at which the window began, in microseconds since `begun`.
    window_began: AtomicU64,
    /// Held by whoever ends a window.
    turn: Mutex<Turn>,
    refused: AtomicU64,
}

/// The counts of the current window.
struct Counts {
    by_rank: Box<[AtomicU32]>,
    requests: AtomicU32,
    admitted: AtomicU64,
    waits: Waits,
    /// Waits of the threads, of which some are measured.
    lags: Waits,
}

#[derive(Default)]
struct Waits {
    number: AtomicU64,
    micros: AtomicU64,
}

/// Values that change with the windows.
struct Turn {
    reshuffled: Instant,
    /// Mean wait of the last window.
    mean_wait: Duration,
}

/// A caller of one request, as far as its place in the order depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Contender {
    hash: u64,
    is_over_share: bool,
    /// True if the guard knows the priority of the submission, so that its decision is final.
    is_decided: bool,
}

impl Waits {
    fn note(&self, wait: Duration) {
        self.number.fetch_add(1, Relaxed);
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
    }

    /// Returns the mean, and begins again.
    fn take_mean(&self) -> Duration {
        let (number, micros) = (self.number.swap(0, Relaxed), self.micros.swap(0, Relaxed));
        Duration::from_micros(micros.checked_div(number).unwrap_or(0))
    }
}

impl Overload {
    pub(crate) fn new(settings: &OverloadSettings) -> Self {
        let now = Instant::now();
        let gate = || Gate {
            policy: OverloadPolicy {
                max_mean_wait: settings.max_mean_wait,
                min_requests: u64::from(settings.min_requests),
                step_down: settings.step_down,
                step_up: settings.step_up,
            },
            admitted_ranks: AtomicUsize::new(RANKS),
            counts: Counts {
                by_rank: (0..RANKS).map(|_| AtomicU32::new(0)).collect(),
                requests: AtomicU32::new(0),
                admitted: AtomicU64::new(0),
                waits: Waits::default(),
                lags: Waits::default(),
            },
            shares: Shares::new(settings.share_slack),
            begun: now,
            window_began: AtomicU64::new(0),
            turn: Mutex::new(Turn {
                reshuffled: now,
                mean_wait: Duration::ZERO,
            }),
            refused: AtomicU64::new(0),
            settings: settings.clone(),
        };
        Self(settings.enabled.then(gate))
    }

    /// Notes a request of that caller.
    pub(crate) fn arrived(&self, caller: &impl Hash) -> Contender {
        match &self.0 {
            Some(gate) => gate.shares.arrived(caller),
            None => Contender {
                hash: 0,
                is_over_share: false,
                is_decided: false,
            },
        }
    }

    /// Measures the wait of the thread, at some of the requests.
    pub(crate) async fn sample(&self) {
        let Some(gate) = &self.0 else { return };
        let number = gate.counts.requests.fetch_add(1, Relaxed);
        if number % gate.settings.sample_every == 0 {
            let begun = Instant::now();
            yield_now().await;
            gate.counts.lags.note(begun.elapsed());
        }
    }

    /// Returns true if some requests are refused now.
    pub(crate) fn refuses_some(&self) -> bool {
        let gate = self.0.as_ref();
        gate.is_some_and(|gate| gate.admitted_ranks.load(Relaxed) < RANKS)
    }

    /// Admits a request, or refuses it. A submission whose priority is not known yet is refused
    /// only if none of any priority is admitted.
    ///
    /// # Errors
    /// [`Code::Overloaded`].
    pub(crate) fn admit(&self, tier: Option<Tier>, who: Contender) -> Result<(), Problem> {
        let (Some(gate), Some(tier)) = (&self.0, tier) else {
            return Ok(());
        };
        gate.end_window_if_due();
        let is_final = who.is_decided || !matches!(tier, Tier::Submit(_));
        gate.decide(Rank::new(tier, who.hash, who.is_over_share), is_final)
    }

    /// Admits a submission whose least urgent task has that priority, or refuses it.
    ///
    /// # Errors
    /// [`Code::Overloaded`].
    pub(crate) fn admit_submission(&self, least: Priority, who: Contender) -> Result<(), Problem> {
        let Some(gate) = self.0.as_ref().filter(|_| !who.is_decided) else {
            return Ok(());
        };
        let rank = Rank::new(Tier::Submit(least), who.hash, who.is_over_share);
        gate.decide(rank, true)
    }

    /// Notes the time for which a request waited for a permit of its class.
    pub(crate) fn waited(&self, wait: Duration) {
        if let Some(gate) = &self.0 {
            gate.counts.waits.note(wait);
        }
    }

    pub(crate) fn write(&self, out: &mut Exposition) {
        let Some(gate) = &self.0 else { return };
        let turn = gate.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let ranks = gate.admitted_ranks.load(Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "a count of at most thousands")]
        out.number(
            &rows::HTTP_ADMITTED_SHARE,
            NO_LABELS,
            ranks as f64 / RANKS as f64,
        );
        out.number(
            &rows::HTTP_MEAN_WAIT,
            NO_LABELS,
            turn.mean_wait.as_secs_f64(),
        );
        out.gauge(&rows::HTTP_SHED, gate.refused.load(Relaxed));
    }
}

impl Contender {
    /// Returns the same, whose submission has a priority that the guard knows.
    pub(crate) fn decided(self) -> Self {
        Self {
            is_decided: true,
            ..self
        }
    }
}

impl Gate {
    /// Admits a request of that rank, or refuses it. An admission that is not final is not counted.
    fn decide(&self, rank: Rank, is_final: bool) -> Result<(), Problem> {
        let threshold = Threshold::of_ranks(self.admitted_ranks.load(Relaxed));
        let admits = threshold.admits(rank);
        if is_final || !admits {
            if let Some(count) = self.counts.by_rank.get(rank.0) {
                count.fetch_add(1, Relaxed);
            }
            self.counts.admitted.fetch_add(u64::from(admits), Relaxed);
        }
        match admits {
            true => Ok(()),
            false => {
                self.refused.fetch_add(1, Relaxed);
                Err(refused())
            }
        }
    }

    /// Ends the window if it has lasted long enough, or had enough requests. One with few requests
    /// goes on while all are admitted: its mean says too little.
    fn end_window_if_due(&self) {
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let lasted = now.saturating_sub(self.window_began.load(Relaxed));
        let requests = self.counts.requests.load(Relaxed);
        let is_over = u128::from(lasted) >= self.settings.window.as_micros();
        let refuses_some = self.admitted_ranks.load(Relaxed) < RANKS;
        let is_judged = requests >= self.settings.min_requests || refuses_some;
        if requests < self.settings.window_requests && !(is_over && is_judged) {
            return;
        }
        // Another request ends it if this is held.
        let Ok(mut turn) = self.turn.try_lock() else {
            return;
        };
        self.window_began.store(now, Relaxed);
        let seen = self.counts.take();
        turn.mean_wait = seen.mean_wait;
        let before = Threshold::of_ranks(self.admitted_ranks.load(Relaxed));
        let after = before.next(&seen, &self.policy);
        self.admitted_ranks.store(after.ranks(), Relaxed);
        if before == Threshold::ALL && after != before {
            tracing::warn!(
                mean_wait_ms = u64::try_from(seen.mean_wait.as_millis()).unwrap_or(u64::MAX),
                "requests wait too long for their turn; some are refused, callers over their share and lower classes first"
            );
        } else if after == Threshold::ALL && after != before {
            tracing::info!("requests do not wait any more; all are admitted");
        }
        self.shares.end_window();
        if turn.reshuffled.elapsed() >= self.settings.reshuffle_every {
            turn.reshuffled = Instant::now();
            self.shares.reshuffle();
        }
    }
}

impl Counts {
    /// Returns the counts, and begins again.
    fn take(&self) -> WindowSeen {
        self.requests.store(0, Relaxed);
        WindowSeen {
            by_rank: self.by_rank.iter().map(|n| n.swap(0, Relaxed)).collect(),
            admitted: self.admitted.swap(0, Relaxed),
            mean_wait: self.waits.take_mean() + self.lags.take_mean(),
        }
    }
}

#[cold]
fn refused() -> Problem {
    Problem::new(
        Code::Overloaded,
        "requests wait too long for their turn, so some are refused, callers over their share and lower classes first (server.admission.overload)",
    )
}

/// Returns the hash of a caller under a seed.
fn hash_of(hasher: &RandomState, seed: u64, caller: &impl Hash) -> u64 {
    hasher.hash_one((seed, caller))
}

#[cfg(test)]
mod tests;
