//! Admission by one signal of overload: a window of requests, and the threshold that follows
//! from it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use deia_hive::config::OverloadSettings;

use super::{
    rank::{RANKS, Rank},
    threshold::{OverloadPolicy, Threshold, WindowSeen},
};

/// A signal of overload: the wait of some requests for something that they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// The wait for the thread that serves the connection.
    Threads,
    /// The wait for the writer of the store, beyond the commit under way.
    Store,
    /// The wait for a permit of the class of that name.
    Permits(&'static str),
}

/// The requests of a window that share something, and the ranks of them that are admitted.
pub(super) struct Gate {
    signal: Signal,
    /// Number of ranks that are admitted.
    admitted_ranks: AtomicUsize,
    by_rank: Box<[AtomicU32]>,
    requests: AtomicU32,
    admitted: AtomicU64,
    waits: Waits,
    /// Time at which the window began, in microseconds since the server began.
    window_began: AtomicU64,
    /// Mean wait of the last window; held by whoever ends a window.
    mean_wait: Mutex<Duration>,
}

#[derive(Default)]
struct Waits {
    number: AtomicU64,
    micros: AtomicU64,
}

impl Signal {
    /// Returns the name in metrics and logs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Store => "store",
            Self::Permits(class) => class,
        }
    }
}

impl Waits {
    fn note(&self, wait: Duration) {
        self.number.fetch_add(1, Relaxed);
        self.micros.fetch_add(micros(wait), Relaxed);
    }

    /// Returns the mean, and begins again.
    fn take_mean(&self) -> Duration {
        let (number, micros) = (self.number.swap(0, Relaxed), self.micros.swap(0, Relaxed));
        Duration::from_micros(micros.checked_div(number).unwrap_or(0))
    }
}

impl Gate {
    /// Creates a gate that admits everything.
    pub(super) fn new(signal: Signal) -> Self {
        Self {
            signal,
            admitted_ranks: AtomicUsize::new(RANKS),
            by_rank: (0..RANKS).map(|_| AtomicU32::new(0)).collect(),
            requests: AtomicU32::new(0),
            admitted: AtomicU64::new(0),
            waits: Waits::default(),
            window_began: AtomicU64::new(0),
            mean_wait: Mutex::new(Duration::ZERO),
        }
    }

    /// Goes on with the threshold of another gate.
    pub(super) fn go_on_from(&self, other: &Self) {
        self.admitted_ranks
            .store(other.admitted_ranks.load(Relaxed), Relaxed);
    }

    /// Notes the wait of a request.
    pub(super) fn note(&self, wait: Duration) {
        self.waits.note(wait);
    }

    /// Counts a request of the window.
    pub(super) fn arrived(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Returns true if requests of that rank are admitted.
    pub(super) fn admits(&self, rank: Rank) -> bool {
        Threshold::of_ranks(self.admitted_ranks.load(Relaxed)).admits(rank)
    }

    /// Counts the decision about a request.
    pub(super) fn decided(&self, rank: Rank, is_admitted: bool) {
        if let Some(count) = self.by_rank.get(rank.0) {
            count.fetch_add(1, Relaxed);
        }
        self.admitted.fetch_add(u64::from(is_admitted), Relaxed);
    }

    /// Returns true if some requests are refused now.
    pub(super) fn refuses_some(&self) -> bool {
        self.admitted_ranks.load(Relaxed) < RANKS
    }

    /// Returns the share of the ranks that are admitted.
    #[allow(clippy::cast_precision_loss, reason = "a count of at most thousands")]
    pub(super) fn admitted_share(&self) -> f64 {
        self.admitted_ranks.load(Relaxed) as f64 / RANKS as f64
    }

    /// Returns the mean wait in the last window.
    pub(super) fn mean_wait(&self) -> Duration {
        *self
            .mean_wait
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn signal(&self) -> Signal {
        self.signal
    }

    /// Ends the window if it has lasted long enough, or had enough requests, and returns true
    /// then. One with few requests goes on while all are admitted: its mean says too little.
    ///
    /// `now` is the time since the server began, `least_wait` a wait below which the mean cannot
    /// be.
    pub(super) fn end_window_if_due(
        &self,
        now: Duration,
        settings: &OverloadSettings,
        least_wait: impl FnOnce() -> Duration,
    ) -> bool {
        let now = micros(now);
        let lasted = now.saturating_sub(self.window_began.load(Relaxed));
        let requests = self.requests.load(Relaxed);
        let is_over = u128::from(lasted) >= settings.window.as_micros();
        let is_judged = requests >= settings.min_requests || self.refuses_some();
        if requests < settings.window_requests && !(is_over && is_judged) {
            return false;
        }
        // Another request ends it if this is held.
        let Ok(mut mean_wait) = self.mean_wait.try_lock() else {
            return false;
        };
        self.window_began.store(now, Relaxed);
        let least_wait = least_wait();
        let seen = self.take();
        let seen = WindowSeen {
            mean_wait: seen.mean_wait.max(least_wait),
            windows: Duration::from_micros(lasted)
                .div_duration_f64(settings.window)
                .max(1.0),
            ..seen
        };
        *mean_wait = seen.mean_wait;
        let before = Threshold::of_ranks(self.admitted_ranks.load(Relaxed));
        let after = before.next(&seen, &policy(settings));
        self.admitted_ranks.store(after.ranks(), Relaxed);
        self.tell(before, after, seen.mean_wait);
        true
    }

    /// Returns the counts of the window, and begins again.
    fn take(&self) -> WindowSeen {
        self.requests.store(0, Relaxed);
        WindowSeen {
            by_rank: self.by_rank.iter().map(|n| n.swap(0, Relaxed)).collect(),
            admitted: self.admitted.swap(0, Relaxed),
            mean_wait: self.waits.take_mean(),
            windows: 1.0,
        }
    }

    fn tell(&self, before: Threshold, after: Threshold, mean_wait: Duration) {
        let waits_for = self.signal.as_str();
        if before == Threshold::ALL && after != before {
            tracing::warn!(
                waits_for,
                mean_wait_ms = u64::try_from(mean_wait.as_millis()).unwrap_or(u64::MAX),
                "requests wait too long for their turn; some are refused, callers over their share and lower classes first"
            );
        } else if after == Threshold::ALL && after != before {
            tracing::info!(waits_for, "requests do not wait any more; all are admitted");
        }
    }
}

fn policy(settings: &OverloadSettings) -> OverloadPolicy {
    OverloadPolicy {
        max_mean_wait: settings.max_mean_wait,
        min_requests: u64::from(settings.min_requests),
        step_down: settings.step_down,
        step_up: settings.step_up,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
