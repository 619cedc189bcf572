//! Refusal of requests while they wait too long for their turn: of callers over their share first,
//! then by tier, then by the hash of the caller.
//!
//! The signals are waits for a turn, not latencies, which also depend on what is asked for: the
//! wait of the thread that serves the connection, for all requests; the wait for the writer of the
//! store, for changes and submissions; and the wait for a permit, for the requests of its class.
//! Each has a threshold of its own, so that reads that wait for reads cost no submission.

mod gate;
pub(crate) mod peek;
pub(crate) mod rank;
mod shares;
mod threshold;

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use deia_hive::{
    TurnWaits,
    config::OverloadSettings,
    metrics::{Exposition, table as rows},
};
use deia_model::Priority;
use tokio::task::yield_now;

use self::{
    gate::{Gate, Signal},
    rank::{Rank, Tier},
    shares::Shares,
};
use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::class::{PerClass, RouteClass},
};

/// Classes whose waits for permits are a sign of overload: streams hold theirs for long at any load,
/// and administration is never refused.
const MEASURED: [RouteClass; 3] = [RouteClass::Submit, RouteClass::Read, RouteClass::Write];

/// Returns the waits for the writer of the store since the start.
pub(crate) type StoreWaits = Arc<dyn Fn() -> TurnWaits + Send + Sync>;

/// Admission under overload, for all requests of a server.
pub(crate) struct Overload {
    /// Absent while nothing is refused for overload.
    gates: Option<Gates>,
    store_waits: StoreWaits,
    /// Requests that were refused, since the server started.
    refused: Arc<AtomicU64>,
}

struct Gates {
    settings: OverloadSettings,
    threads: Gate,
    store: Gate,
    permits: PerClass<Gate>,
    shares: Shares,
    /// Requests among which some have the wait of the thread measured.
    sampled: AtomicU32,
    begun: Instant,
    /// The waits for the store at the end of the last window.
    store_waited: Mutex<TurnWaits>,
    reshuffled: Mutex<Instant>,
}

/// A caller of one request, as far as its place in the order depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Contender {
    hash: u64,
    is_over_share: bool,
    /// True if the guard knows the priority of the submission, so that its decision is final.
    is_decided: bool,
}

/// A request for which something is decided.
#[derive(Clone, Copy)]
struct Contest {
    class: RouteClass,
    rank: Rank,
    /// True if nothing else is decided about the request later.
    is_final: bool,
}

impl Overload {
    pub(crate) fn new(settings: &OverloadSettings, store_waits: StoreWaits) -> Self {
        Self {
            gates: settings
                .enabled
                .then(|| Gates::new(settings, store_waits())),
            store_waits,
            refused: Arc::default(),
        }
    }

    /// Returns the same with other settings. It admits and has counted as much as this.
    pub(crate) fn with(&self, settings: &OverloadSettings) -> Self {
        let after = Self::new(settings, Arc::clone(&self.store_waits));
        if let (Some(before), Some(after)) = (&self.gates, &after.gates) {
            after.go_on_from(before);
        }
        Self {
            refused: Arc::clone(&self.refused),
            ..after
        }
    }

    /// Notes a request of that caller.
    pub(crate) fn arrived(&self, caller: &impl Hash) -> Contender {
        match &self.gates {
            Some(gates) => gates.shares.arrived(caller),
            None => Contender {
                hash: 0,
                is_over_share: false,
                is_decided: false,
            },
        }
    }

    /// Measures the wait of the thread, at some of the requests.
    pub(crate) async fn sample(&self) {
        let Some(gates) = &self.gates else { return };
        let number = gates.sampled.fetch_add(1, Relaxed);
        if number % gates.settings.sample_every == 0 {
            let begun = Instant::now();
            yield_now().await;
            gates.threads.note(begun.elapsed());
        }
    }

    /// Returns true if some submissions are refused now.
    pub(crate) fn refuses_submissions(&self) -> bool {
        let gates = self.gates.as_ref();
        gates.is_some_and(|gates| gates.of(RouteClass::Submit).any(Gate::refuses_some))
    }

    /// Admits a request, or refuses it. A submission whose priority is not known yet is refused
    /// only if none of any priority is admitted.
    ///
    /// # Errors
    /// [`Code::Overloaded`].
    pub(crate) fn admit(
        &self,
        class: RouteClass,
        tier: Option<Tier>,
        who: Contender,
    ) -> Result<(), Problem> {
        let (Some(gates), Some(tier)) = (&self.gates, tier) else {
            return Ok(());
        };
        gates.arrived(class, &self.store_waits);
        self.decide(Contest {
            class,
            rank: Rank::new(tier, who.hash, who.is_over_share),
            is_final: who.is_decided || !matches!(tier, Tier::Submit(_)),
        })
    }

    /// Admits a submission whose least urgent task has that priority, or refuses it.
    ///
    /// # Errors
    /// [`Code::Overloaded`].
    pub(crate) fn admit_submission(&self, least: Priority, who: Contender) -> Result<(), Problem> {
        match who.is_decided {
            true => Ok(()),
            false => self.decide(Contest {
                class: RouteClass::Submit,
                rank: Rank::new(Tier::Submit(least), who.hash, who.is_over_share),
                is_final: true,
            }),
        }
    }

    /// Holds a refusal back. Refusals are nearly as expensive as answers: without a pause, callers
    /// who ask again at once take the time of those who are admitted.
    pub(crate) async fn hold_back(&self) {
        if let Some(gates) = &self.gates {
            tokio::time::sleep(gates.settings.refusal_delay).await;
        }
    }

    /// Notes the time for which a request waited for a permit of its class.
    pub(crate) fn waited(&self, class: RouteClass, wait: Duration) {
        if let Some(gates) = self.gates.as_ref().filter(|_| MEASURED.contains(&class)) {
            gates.permits.get(class).note(wait);
        }
    }

    /// Admits a request, or refuses it. An admission that is not final is not counted.
    fn decide(&self, contest: Contest) -> Result<(), Problem> {
        let Some(gates) = &self.gates else {
            return Ok(());
        };
        let rank = contest.rank;
        let admits = gates.of(contest.class).all(|gate| gate.admits(rank));
        if contest.is_final || !admits {
            gates
                .of(contest.class)
                .for_each(|gate| gate.decided(rank, admits));
        }
        match admits {
            true => Ok(()),
            false => {
                self.refused.fetch_add(1, Relaxed);
                Err(refused())
            }
        }
    }

    pub(crate) fn write(&self, out: &mut Exposition) {
        let Some(gates) = &self.gates else { return };
        for gate in gates.all() {
            let signal = gate.signal().as_str();
            out.number(&rows::HTTP_ADMITTED_SHARE, [signal], gate.admitted_share());
            let wait = gate.mean_wait().as_secs_f64();
            out.number(&rows::HTTP_MEAN_WAIT, [signal], wait);
        }
        out.gauge(&rows::HTTP_SHED, self.refused.load(Relaxed));
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

impl Gates {
    fn new(settings: &OverloadSettings, store_waited: TurnWaits) -> Self {
        let now = Instant::now();
        Self {
            threads: Gate::new(Signal::Threads),
            store: Gate::new(Signal::Store),
            permits: PerClass::new(|class| Gate::new(Signal::Permits(class.as_str()))),
            shares: Shares::new(settings.share_slack),
            sampled: AtomicU32::new(0),
            begun: now,
            store_waited: Mutex::new(store_waited),
            reshuffled: Mutex::new(now),
            settings: settings.clone(),
        }
    }

    fn go_on_from(&self, before: &Self) {
        let pairs = self.all().zip(before.all());
        pairs.for_each(|(gate, before)| gate.go_on_from(before));
    }

    /// Returns the gates that requests of a class pass.
    fn of(&self, class: RouteClass) -> impl Iterator<Item = &Gate> {
        let changes = matches!(class, RouteClass::Submit | RouteClass::Write);
        let store = changes.then_some(&self.store);
        [&self.threads, self.permits.get(class)]
            .into_iter()
            .chain(store)
    }

    fn all(&self) -> impl Iterator<Item = &Gate> {
        let permits = MEASURED.iter().map(|class| self.permits.get(*class));
        [&self.threads, &self.store].into_iter().chain(permits)
    }

    /// Counts a request, and ends the windows that are due.
    fn arrived(&self, class: RouteClass, store_waits: &StoreWaits) {
        let now = self.begun.elapsed();
        self.of(class).for_each(Gate::arrived);
        // A gate of another class opens again too, although none of its requests comes.
        for gate in self.all() {
            let least_wait = || match gate.signal() {
                Signal::Store => self.wait_for_store(store_waits()),
                Signal::Threads | Signal::Permits(_) => Duration::ZERO,
            };
            let has_ended = gate.end_window_if_due(now, &self.settings, least_wait);
            if has_ended && gate.signal() == Signal::Threads {
                self.end_shares();
            }
        }
    }

    /// Returns the mean wait for the store since the last time.
    fn wait_for_store(&self, now: TurnWaits) -> Duration {
        // Held by whoever ends a window of the store.
        match self.store_waited.try_lock() {
            Ok(mut before) => std::mem::replace(&mut *before, now).mean_until(&now),
            Err(_) => Duration::ZERO,
        }
    }

    fn end_shares(&self) {
        self.shares.end_window();
        if let Ok(mut reshuffled) = self.reshuffled.try_lock()
            && reshuffled.elapsed() >= self.settings.reshuffle_every
        {
            *reshuffled = Instant::now();
            self.shares.reshuffle();
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
