//! The decision at which level features are shed. Pure: the table of the settings, applied to one
//! reading after the other.
//!
//! A signal that is over its trip for its hold raises the level by one, and again after each
//! further hold. The level falls by one when every signal that has raised it is clear for its
//! hold, and again after each further one. A signal between its two values does neither, so a
//! reading that moves around one of them changes nothing. A signal that has not raised the level
//! does not keep it up, and one that can demand level 1 at most does not keep up level 2.

use std::{sync::Arc, time::Duration};

use deia_model::{Level, OperatorLevel, SignalName, SignalState, Timestamp};

use super::{
    reading,
    signals::{Measured, holds, state_of},
};
use crate::{
    config::DegradationSettings,
    mode::{InForce, LevelSource},
};

const SIGNALS: usize = SignalName::ALL.len();

/// Reason for the level while no signal demands one.
pub(super) const NOTHING_SHORT: &str = "nothing is short";

/// A point in time, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment {
    /// Time on a clock that is never set.
    pub(super) steady: Duration,
    /// Time of day.
    pub(super) wall: Timestamp,
}

/// The course of one signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Track {
    pub(super) state: SignalState,
    /// Time since which it is in that state.
    pub(super) since: Timestamp,
    /// Time since which it is over without a break.
    over_since: Option<Duration>,
    /// Time since which it is clear without a break.
    clear_since: Option<Duration>,
    /// True if it has raised the level, and the level is not normal again.
    pub(super) tripped: bool,
}

/// The course of all signals, and the level that they demand; and the level of the operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// Level that the signals demand.
    pub(super) level: Level,
    /// Time at which it changed.
    changed: Moment,
    /// Reason for it.
    why: Arc<str>,
    pub(super) tracks: [Track; SIGNALS],
    /// Time of the last reading.
    sampled: Option<Duration>,
    /// Level that an operator has set.
    pub(super) operator: Option<OperatorLevel>,
}

/// The result of a decision.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) state: State,
    /// Level in force, with its origin and reason.
    pub(super) in_force: InForce,
    /// Level of an operator whose time is over.
    pub(super) ended: Option<OperatorLevel>,
}

impl State {
    /// Returns the state before the first reading.
    pub(super) fn new(now: Moment) -> Self {
        let track = Track {
            state: SignalState::Unknown,
            since: now.wall,
            over_since: None,
            clear_since: None,
            tripped: false,
        };
        Self {
            level: Level::NORMAL,
            changed: now,
            why: NOTHING_SHORT.into(),
            tracks: [track; SIGNALS],
            sampled: None,
            operator: None,
        }
    }

    /// Returns each signal with its course.
    pub(super) fn signals(&self) -> impl Iterator<Item = (SignalName, &Track)> {
        SignalName::ALL.iter().copied().zip(&self.tracks)
    }

    /// Returns the time at which the newest trouble behind the level began: that since which the
    /// last signal to trip is over its trip.
    pub(super) fn newest_trip(&self) -> Option<Timestamp> {
        let over = self.tracks.iter().filter(|track| track.tripped);
        let over = over.filter(|track| track.state == SignalState::Over);
        over.map(|track| track.since).max()
    }

    /// Takes a level that an operator sets, or its end, and returns the level in force.
    pub(super) fn set_operator(&mut self, operator: Option<OperatorLevel>) -> InForce {
        self.operator = operator;
        self.in_force()
    }

    /// Returns the level in force: the higher one of those of the signals and of the operator.
    pub(super) fn in_force(&self) -> InForce {
        match &self.operator {
            Some(operator) if operator.level >= self.level => InForce {
                level: operator.level,
                source: LevelSource::Operator,
                since: operator.since,
                why: format!("set by {}: {}", operator.by, operator.reason).into(),
            },
            // The time is that of the demand: a drill that hid it is no new trip when it ends.
            _ => self.demand(),
        }
    }

    /// Returns the level that the signals demand, as it is in force without an operator.
    pub(super) fn demand(&self) -> InForce {
        InForce {
            level: self.level,
            source: LevelSource::Signals,
            since: self.changed.wall,
            why: self.why.clone(),
        }
    }

    fn observe(&mut self, measured: &Measured, policy: &DegradationSettings, now: Moment) {
        let gap = self.sampled.map(|at| now.steady.saturating_sub(at));
        let is_late = gap.is_some_and(|gap| gap > policy.stale_after);
        self.sampled = Some(now.steady);
        for (signal, track) in SignalName::ALL.iter().zip(&mut self.tracks) {
            let state = state_of(*signal, measured, policy);
            if state != track.state {
                track.state = state;
                track.since = now.wall;
            }
            if is_late {
                // Nobody has seen the signal meanwhile.
                track.over_since = None;
                track.clear_since = None;
            }
            let is_over = state == SignalState::Over;
            let is_clear = matches!(state, SignalState::Clear | SignalState::Unknown);
            track.over_since = is_over.then(|| track.over_since.unwrap_or(now.steady));
            track.clear_since = is_clear.then(|| track.clear_since.unwrap_or(now.steady));
        }
    }

    /// Returns the signals that raise the level now.
    fn rising(&self, policy: &DegradationSettings, now: Moment) -> Vec<SignalName> {
        let changed = self.changed.steady;
        let rises = |(signal, track): &(SignalName, &Track)| {
            let hold = holds(*signal, policy).trip;
            let is_over = track
                .over_since
                .is_some_and(|since| now.steady.saturating_sub(since.max(changed)) >= hold);
            is_over && signal.max_level() > self.level
        };
        self.signals().filter(rises).map(|(name, _)| name).collect()
    }

    /// Returns the signals that keep the level from falling.
    fn keeping(&self, policy: &DegradationSettings, now: Moment) -> Vec<SignalName> {
        let changed = self.changed.steady;
        let keeps = |(signal, track): &(SignalName, &Track)| {
            let hold = holds(*signal, policy).clear;
            let is_clear = track
                .clear_since
                .is_some_and(|since| now.steady.saturating_sub(since.max(changed)) >= hold);
            let is_over = track.state == SignalState::Over;
            signal.max_level() >= self.level && (is_over || (track.tripped && !is_clear))
        };
        self.signals().filter(keeps).map(|(name, _)| name).collect()
    }

    fn change(&mut self, to: Level, why: String, now: Moment) {
        self.level = to;
        self.why = why.into();
        self.changed = now;
        if to == Level::NORMAL {
            self.tracks
                .iter_mut()
                .for_each(|track| track.tripped = false);
        }
    }

    fn step(&mut self, measured: &Measured, policy: &DegradationSettings, now: Moment) {
        let words = |signals: &[SignalName]| {
            let words = signals.iter().map(|signal| {
                let reading = reading::in_words(*signal, measured, policy);
                format!("{}: {reading}", signal.as_str())
            });
            words.collect::<Vec<_>>().join("; ")
        };
        let rising = self.rising(policy, now);
        if !rising.is_empty() {
            let to = match rising.contains(&SignalName::DiskFull) {
                true => Level::READ_ONLY,
                false => self.level.up().unwrap_or(Level::READ_ONLY),
            };
            self.change(to, words(&rising), now);
            for (signal, track) in SignalName::ALL.iter().zip(&mut self.tracks) {
                track.tripped |= rising.contains(signal);
            }
            return;
        }
        let Some(lower) = self.level.down() else {
            return;
        };
        if self.keeping(policy, now).is_empty() {
            let tripped = self.signals().filter(|(_, track)| track.tripped);
            let tripped: Vec<_> = tripped.map(|(name, _)| name).collect();
            let why = match lower {
                Level::NORMAL => NOTHING_SHORT.to_owned(),
                _ => format!("recovering; {}", words(&tripped)),
            };
            self.change(lower, why, now);
        }
    }
}

/// Decides after a reading: the state from now on, and the level in force.
pub(super) fn decide(
    measured: &Measured,
    mut state: State,
    policy: &DegradationSettings,
    now: Moment,
) -> Decision {
    let ended = state.operator.take_if(|level| level.until <= now.wall);
    state.observe(measured, policy, now);
    if policy.enabled {
        state.step(measured, policy, now);
    } else if state.level > Level::NORMAL {
        state.change(Level::NORMAL, NOTHING_SHORT.to_owned(), now);
    }
    Decision {
        in_force: state.in_force(),
        state,
        ended,
    }
}

#[cfg(test)]
mod tests;
