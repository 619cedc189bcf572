//! The circuit of a bot where everyone sees it. Outlives the incarnations of the bot.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deia_model::{BotCircuit, CircuitState, Timestamp};

use super::{
    bot::AttemptKey,
    circuit::{Change, Circuit, CircuitPolicy, Evidence},
};

/// The circuit of a bot, and the times of its changes.
#[derive(Default)]
pub(super) struct CircuitGauge(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    circuit: Circuit,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl CircuitGauge {
    /// Applies the end of an attempt. Returns the change of the circuit, if there is one.
    pub(super) fn ended(
        &self,
        attempt: AttemptKey,
        evidence: Evidence,
        policy: &CircuitPolicy,
    ) -> Option<Change> {
        let mut watched = self.lock();
        let now = Timestamp::now();
        let change = watched
            .circuit
            .ended(attempt, evidence, policy, Instant::now())?;
        let after = |hold: Duration| {
            let ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
            now.plus_millis(ms)
        };
        watched.since = Some(now);
        watched.until = match change {
            Change::Opened { hold } => Some(after(hold)),
            Change::Closed => None,
        };
        Some(change)
    }

    /// Notes that an attempt begins.
    pub(super) fn began(&self, attempt: AttemptKey) {
        self.lock().circuit.began(attempt);
    }

    /// Lets one task try when the time of an open circuit is over.
    pub(super) fn beat(&self) {
        self.lock().circuit.beat(Instant::now());
    }

    /// Returns how many of `allowed` tasks the bot may run, with `in_hand` of them running.
    pub(super) fn limit(&self, allowed: u32, in_hand: u32) -> Option<u32> {
        self.lock().circuit.limit(allowed, in_hand)
    }

    /// Notes that a new incarnation of the bot begins.
    pub(super) fn restarted(&self) {
        self.lock().circuit.restarted();
    }

    /// Closes the circuit, as the bot is launched anew.
    pub(super) fn reset(&self) {
        *self.lock() = Watched::default();
    }

    /// Returns the circuit for people; `None` while there is nothing to tell.
    pub(super) fn seen(&self) -> Option<BotCircuit> {
        let watched = self.lock();
        let state = watched.circuit.state();
        let failures = watched.circuit.strikes();
        let quiet = state == CircuitState::Closed && failures == 0;
        (!quiet).then(|| BotCircuit {
            state,
            since: watched.since,
            until: watched.until.filter(|_| state == CircuitState::Open),
            failures,
            rate: watched.circuit.rate(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
