//! The state of degradation, apart from the actor that samples: it outlives a restart of the
//! actor, and callers read and change it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use deia_ledger::{Command, EndMode, RecordEvents};
use deia_model::{
    Action, DegradationStatus, Feature, Level, Mode, ModeSource, NewEvent, OperatorLevel,
    SignalStatus, Timestamp,
};
use serde_json::json;

use super::{
    decide::{Moment, State, decide},
    reading,
    signals::{Measured, holds},
};
use crate::{
    config::{DegradationSettings, Settings},
    mode::{CurrentLevel, InForce, LevelSource},
};

/// Records that may wait for a store that does not take them. Fixed: bounds the memory; a change
/// of the level leaves a few.
const RECORDS_MAX: usize = 256;

/// The state of degradation.
pub(super) struct Controller {
    settings: Settings,
    level: CurrentLevel,
    started: Instant,
    hive: String,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    measured: Option<Measured>,
    /// Records that the store has not taken yet, in order.
    records: VecDeque<Command>,
    /// Times at which features were resumed.
    resumed: BTreeMap<Feature, Timestamp>,
    changes: u64,
}

impl Controller {
    pub(super) fn new(settings: Settings, level: CurrentLevel, hive: String) -> Self {
        let now = Moment {
            steady: std::time::Duration::ZERO,
            wall: Timestamp::now(),
        };
        let inner = Inner {
            state: State::new(now),
            measured: None,
            records: VecDeque::new(),
            resumed: BTreeMap::new(),
            changes: 0,
        };
        Self {
            settings,
            level,
            started: Instant::now(),
            hive,
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment {
            steady: self.started.elapsed(),
            wall: Timestamp::now(),
        }
    }

    /// Returns the level in force.
    pub(super) fn in_force(&self) -> InForce {
        self.level.get()
    }

    /// Decides after a reading, and puts the result in force.
    pub(super) fn sample(&self, measured: Measured) {
        let config = self.settings.get();
        let mut inner = self.lock();
        let before = inner.state.in_force();
        let decision = decide(
            &measured,
            inner.state.clone(),
            &config.degradation,
            self.now(),
        );
        let demanded = decision.state.level;
        inner.state = decision.state;
        inner.measured = Some(measured);
        let after = decision.in_force;
        if let Some(ended) = decision.ended {
            inner.record(end_of(&ended, "its time is over", demanded).into());
        } else if (before.level, before.source) != (after.level, after.source) {
            let event = changed(&self.hive, before.level, &after);
            inner.record(RecordEvents(vec![event]).into());
        }
        self.put_in_force(&mut inner, after);
    }

    /// Takes the level that an operator has set, as the store has it, or its end.
    pub(super) fn set_operator(&self, operator: Option<OperatorLevel>) {
        let mut inner = self.lock();
        let now = Timestamp::now();
        let (current, over) = match operator {
            Some(level) if level.until <= now => (None, Some(level)),
            current => (current, None),
        };
        if let Some(over) = over {
            let demanded = inner.state.level;
            inner.record(end_of(&over, "its time was over at the start", demanded).into());
        }
        let in_force = inner.state.set_operator(current);
        self.put_in_force(&mut inner, in_force);
    }

    fn put_in_force(&self, inner: &mut Inner, in_force: InForce) {
        let demand = inner.state.demand();
        if self.level.demanded() != demand {
            if let Some(began) = inner.state.newest_trip() {
                self.level.note_trip(began);
            }
            self.level.demand(demand);
        }
        let before = self.level.get();
        if before == in_force {
            return;
        }
        inner.changes += u64::from(before.level != in_force.level);
        self.level.set(in_force);
    }

    /// Returns the level that the signals demand.
    pub(super) fn demanded(&self) -> Level {
        self.lock().state.level
    }

    /// Returns the number of changes of the level in force since the start.
    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Adds an event that is to be recorded.
    pub(super) fn record(&self, event: NewEvent) {
        self.lock().record(RecordEvents(vec![event]).into());
    }

    /// Returns the oldest record that the store has not taken.
    pub(super) fn next_record(&self) -> Option<Command> {
        self.lock().records.front().cloned()
    }

    /// Forgets the oldest record, which the store has taken or refused.
    pub(super) fn record_is_done(&self) {
        self.lock().records.pop_front();
    }

    /// Notes that a feature is on again.
    pub(super) fn note_resumed(&self, feature: Feature) {
        self.lock().resumed.insert(feature, Timestamp::now());
    }

    /// Returns the time since which a feature is on, if it was off before.
    pub(super) fn resumed_at(&self, feature: Feature) -> Option<Timestamp> {
        self.lock().resumed.get(&feature).copied()
    }

    /// Returns the name of the hive, as the target of events about all of it.
    pub(super) fn hive(&self) -> &str {
        &self.hive
    }

    /// Returns the mode in force, and all that led to it.
    pub(super) fn status(&self) -> DegradationStatus {
        let config = self.settings.get();
        let inner = self.lock();
        let in_force = inner.state.in_force();
        let is_set = in_force.source == LevelSource::Operator;
        DegradationStatus {
            mode: Mode::of(in_force.level, is_set),
            level: in_force.level,
            effect: in_force.level.effect().to_owned(),
            source: in_force.source.into(),
            since: in_force.since,
            why: in_force.why.as_ref().to_owned(),
            signals_level: inner.state.level,
            operator: inner.state.operator.clone(),
            enabled: config.degradation.enabled,
            shed: shed_at(in_force.level),
            signals: inner.signals(&config.degradation),
        }
    }
}

impl Inner {
    fn record(&mut self, command: Command) {
        if self.records.len() == RECORDS_MAX {
            tracing::warn!(
                records = RECORDS_MAX,
                "the store takes no records of degradation; the oldest one is dropped"
            );
            self.records.pop_front();
        }
        self.records.push_back(command);
    }

    fn signals(&self, policy: &DegradationSettings) -> Vec<SignalStatus> {
        let signals = self.state.signals().map(|(signal, track)| {
            let holds = holds(signal, policy);
            let measured = self.measured.as_ref();
            SignalStatus {
                signal,
                state: track.state,
                since: track.since,
                tripped: track.tripped,
                max_level: signal.max_level(),
                reading: measured.map_or_else(
                    || "not known: nothing was measured yet".to_owned(),
                    |measured| reading::in_words(signal, measured, policy),
                ),
                value: measured.and_then(|measured| reading::value_of(signal, measured)),
                hold_ms: millis(holds.trip),
                clear_hold_ms: millis(holds.clear),
            }
        });
        signals.collect()
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<LevelSource> for ModeSource {
    fn from(source: LevelSource) -> Self {
        match source {
            LevelSource::Signals => Self::Signals,
            LevelSource::Operator => Self::Operator,
        }
    }
}

/// Returns the features that are shed at a level, the most important ones first.
fn shed_at(level: Level) -> Vec<Feature> {
    let all = Feature::ALL.iter().copied();
    all.filter(|feature| feature.is_shed_at(level)).collect()
}

/// Returns the event of a change of the level in force that no request has made.
fn changed(hive: &str, from: Level, to: &InForce) -> NewEvent {
    let source = ModeSource::from(to.source).as_str();
    let details = json!({
        "level": to.level, "from": from, "source": source, "why": &*to.why,
    });
    NewEvent::new(Action::ModeChanged, "deia", hive).details(details)
}

fn end_of(level: &OperatorLevel, why: &str, then: Level) -> EndMode {
    EndMode {
        only_set_at: Some(level.since),
        actor: "deia".into(),
        why: format!(
            "the level {} that {} had set has ended: {why}",
            level.level, level.by
        ),
        then,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, degradation::fixtures::calm};

    #[test]
    fn demand_of_the_signals_is_known_while_an_operator_hides_it() {
        let level = CurrentLevel::default();
        let settings = Settings::new(Config::defaults().unwrap());
        let controller = Controller::new(settings, level.clone(), "hive".to_owned());
        controller.set_operator(Some(OperatorLevel {
            level: Level::new(4).unwrap(),
            reason: "drill".to_owned(),
            by: "ada".to_owned(),
            since: Timestamp::now(),
            until: Timestamp::now().plus_millis(60_000),
        }));
        assert_eq!(level.demanded().level, Level::NORMAL);
        // A full disk raises the level at once.
        controller.sample(Measured {
            is_disk_full: Ok(true),
            ..calm()
        });
        assert_eq!(level.get().source, LevelSource::Operator);
        let demanded = level.demanded();
        assert!(demanded.level > Level::NORMAL, "{demanded:?}");
        assert_eq!(demanded.source, LevelSource::Signals);
    }
}
