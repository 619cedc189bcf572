//! The circuit of a bot: closed while its attempts succeed, open after failures in a row or a high
//! rate of failures. Pure.
//!
//! Faults (see [`intake`](super::intake)) cost a task nothing, so the queue survives them. Failures
//! count: a bot that fails whatever it is given would use up the attempts of every task. While its
//! circuit is open, the bot takes no tasks. Then it is given one task at a time (half-open) until
//! an attempt shows whether it works.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use deia_model::{AttemptEnd, BotCost, CircuitState, FailureClass};

use super::bot::AttemptKey;
use crate::config::BotCircuitSettings;

/// Limits of the circuit (`bots.circuit`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CircuitPolicy {
    /// Failures in a row that open the circuit; 0: none do.
    pub(super) failures: u32,
    /// Share of failures among the latest ends that opens the circuit.
    pub(super) rate: f64,
    /// Number of latest ends that the share is taken of; 0: the share opens nothing.
    pub(super) window: u32,
    /// Time for which the circuit is open after the first opening in a row.
    pub(super) open_for: Duration,
    /// Longest time for which it is open.
    pub(super) max_open: Duration,
}

impl CircuitPolicy {
    /// Returns the limits of the settings.
    pub(super) fn of(settings: &BotCircuitSettings) -> Self {
        Self {
            failures: settings.failures,
            rate: settings.rate,
            window: settings.window,
            open_for: settings.open_for,
            max_open: settings.max_open,
        }
    }
}

/// Evidence that the end of an attempt gives about its bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The bot carried the task out, or found that it cannot be carried out at all.
    Works,
    /// The bot failed, or died.
    Strike,
    /// Nothing: the attempt was given back, cancelled or refused, could not begin, or is one of
    /// several that may have caused a death.
    Nothing,
}

impl Evidence {
    /// Returns the evidence of an attempt that ended in that way, with that class of failure.
    pub(super) fn of(end: AttemptEnd, class: Option<FailureClass>) -> Self {
        match end {
            AttemptEnd::Succeeded | AttemptEnd::FailedForGood => Self::Works,
            AttemptEnd::BotDied => Self::Strike,
            AttemptEnd::Failed => match class.map(|class| class.cost().bot) {
                None | Some(BotCost::Strike) => Self::Strike,
                Some(_) => Self::Nothing,
            },
            _ => Self::Nothing,
        }
    }
}

/// A change of the circuit that is worth an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The circuit is open for this time.
    Opened { hold: Duration },
    /// The bot takes tasks as before.
    Closed,
}

/// The circuit of one bot.
#[derive(Clone, Debug, Default)]
pub(super) struct Circuit {
    state: State,
    /// Latest ends, oldest first; true for a failure.
    ends: VecDeque<bool>,
    /// Failures in a row, of which consecutive ones of the same task count once: a task that can
    /// never succeed says nothing about its bot.
    strikes: u32,
    /// Task of the latest end, if that was a failure.
    struck: Option<AttemptKey>,
    /// Successes in a row.
    successes: u32,
    /// Openings without enough successes in a row between them.
    openings: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// One task tries; `None` as long as there is none.
    HalfOpen {
        trial: Option<AttemptKey>,
    },
}

impl Circuit {
    /// Applies the end of an attempt. Returns the change of the circuit, if there is one.
    pub(super) fn ended(
        &mut self,
        attempt: AttemptKey,
        evidence: Evidence,
        policy: &CircuitPolicy,
        now: Instant,
    ) -> Option<Change> {
        self.note(attempt, evidence, policy);
        match self.state {
            State::Closed => self.should_open(policy).then(|| self.open(policy, now)),
            State::HalfOpen { trial } if trial == Some(attempt) => match evidence {
                Evidence::Works => Some(self.close()),
                Evidence::Strike => Some(self.open(policy, now)),
                Evidence::Nothing => {
                    self.state = State::HalfOpen { trial: None };
                    None
                }
            },
            // Attempts that began before the circuit opened decide nothing.
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Notes that an attempt begins. In a half-open circuit it is the trial.
    pub(super) fn began(&mut self, attempt: AttemptKey) {
        if let State::HalfOpen { trial } = &mut self.state {
            trial.get_or_insert(attempt);
        }
    }

    /// Lets one task try when the time of an open circuit is over. Called periodically.
    pub(super) fn beat(&mut self, now: Instant) {
        if let State::Open { until } = self.state
            && until <= now
        {
            self.state = State::HalfOpen { trial: None };
        }
    }

    /// Returns how many of `allowed` tasks the bot may run, with `in_hand` of them running; `None`
    /// if it takes none.
    pub(super) fn limit(&self, allowed: u32, in_hand: u32) -> Option<u32> {
        match self.state {
            State::Closed => Some(allowed),
            State::Open { .. } => None,
            State::HalfOpen { trial: None } => Some(allowed.min(in_hand.saturating_add(1))),
            State::HalfOpen { trial: Some(_) } => Some(allowed.min(in_hand)),
        }
    }

    /// Forgets what the attempts of an incarnation that ended were about.
    pub(super) fn restarted(&mut self) {
        if let State::HalfOpen { trial } = &mut self.state {
            *trial = None;
        }
    }

    /// Returns the state for people.
    pub(super) fn state(&self) -> CircuitState {
        match self.state {
            State::Closed => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Returns the number of failures in a row.
    pub(super) fn strikes(&self) -> u32 {
        self.strikes
    }

    /// Returns the share of failures among the latest ends; `None` before the first.
    #[allow(clippy::cast_precision_loss, reason = "counts to a share")]
    pub(super) fn rate(&self) -> Option<f64> {
        let failed = self.ends.iter().filter(|failed| **failed).count();
        (!self.ends.is_empty()).then(|| failed as f64 / self.ends.len() as f64)
    }

    fn note(&mut self, attempt: AttemptKey, evidence: Evidence, policy: &CircuitPolicy) {
        match evidence {
            Evidence::Nothing => return,
            Evidence::Works => {
                (self.strikes, self.struck) = (0, None);
                self.successes = self.successes.saturating_add(1);
                if self.successes >= policy.failures.max(1) {
                    self.openings = 0;
                }
            }
            Evidence::Strike => {
                self.successes = 0;
                let again = self.struck.is_some_and(|it| it.task == attempt.task);
                self.struck = Some(attempt);
                if again {
                    return;
                }
                self.strikes = self.strikes.saturating_add(1);
            }
        }
        self.ends.push_back(evidence == Evidence::Strike);
        while self.ends.len() > policy.window.max(1) as usize {
            self.ends.pop_front();
        }
    }

    fn should_open(&self, policy: &CircuitPolicy) -> bool {
        let in_a_row = policy.failures > 0 && self.strikes >= policy.failures;
        let full = policy.window > 0 && self.ends.len() >= policy.window as usize;
        in_a_row || (full && self.rate().is_some_and(|rate| rate >= policy.rate))
    }

    fn open(&mut self, policy: &CircuitPolicy, now: Instant) -> Change {
        let doublings = self.openings.min(30);
        self.openings = self.openings.saturating_add(1);
        let hold = policy.open_for.saturating_mul(1 << doublings);
        let hold = hold.min(policy.max_open);
        self.state = State::Open { until: now + hold };
        Change::Opened { hold }
    }

    fn close(&mut self) -> Change {
        self.state = State::Closed;
        self.ends.clear();
        Change::Closed
    }
}

#[cfg(test)]
mod tests;
