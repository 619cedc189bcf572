//! The level at which the hive sheds features now, for every subsystem that sheds with it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use deia_model::{Feature, Level, Timestamp};
use tokio::sync::watch;

/// Origin of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LevelSource {
    /// The signals demand it. Only this can take settings back.
    Signals,
    /// An operator has set it, for a drill or for maintenance.
    Operator,
}

/// A level in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) level: Level,
    pub(crate) source: LevelSource,
    /// Time at which the level came into force.
    pub(crate) since: Timestamp,
    /// Reason, in a sentence without its stop.
    pub(crate) why: Arc<str>,
}

/// The level in force. The degradation controller sets it; others read it at each use or wait
/// for [changes](Self::changes).
#[derive(Clone, Debug)]
pub(crate) struct CurrentLevel {
    in_force: Arc<watch::Sender<InForce>>,
    /// The level that the signals demand, which that of an operator may hide.
    demanded: Arc<watch::Sender<InForce>>,
    trip_began: Arc<AtomicI64>,
}

impl Default for CurrentLevel {
    fn default() -> Self {
        let normal = InForce {
            level: Level::NORMAL,
            source: LevelSource::Signals,
            since: Timestamp::now(),
            why: "nothing is short".into(),
        };
        Self {
            in_force: Arc::new(watch::Sender::new(normal.clone())),
            demanded: Arc::new(watch::Sender::new(normal)),
            trip_began: Arc::default(),
        }
    }
}

impl CurrentLevel {
    /// Returns the level and its reason.
    pub(crate) fn get(&self) -> InForce {
        self.in_force.borrow().clone()
    }

    /// Returns the level.
    pub(crate) fn level(&self) -> Level {
        self.in_force.borrow().level
    }

    /// Returns true if the level in force sheds a feature.
    pub(crate) fn sheds(&self, feature: Feature) -> bool {
        feature.is_shed_at(self.level())
    }

    /// Returns a receiver that is notified whenever the level, its origin or its reason changes.
    pub(crate) fn changes(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// Notes the time at which the signals of the next level began to be over their trips. Must be
    /// called before that level is [put in force](Self::set) or [noted](Self::demand).
    pub(crate) fn note_trip(&self, began: Timestamp) {
        self.trip_began.store(began.as_millis(), Ordering::Release);
    }

    /// Returns the time at which the trouble behind a level began: that of the trip, if it was
    /// noted, else the time at which the level came into force.
    pub(crate) fn trip_began(&self, in_force: &InForce) -> Timestamp {
        match self.trip_began.load(Ordering::Acquire) {
            0 => in_force.since,
            began => Timestamp::from_millis(began).min(in_force.since),
        }
    }

    /// Returns a receiver that is notified whenever the level that the signals demand changes, also
    /// while an operator has set one that is not lower.
    pub(crate) fn demands(&self) -> watch::Receiver<InForce> {
        self.demanded.subscribe()
    }

    /// Returns the level that the signals demand.
    pub(crate) fn demanded(&self) -> InForce {
        self.demanded.borrow().clone()
    }

    /// Notes the level that the signals demand.
    pub(crate) fn demand(&self, demanded: InForce) {
        self.demanded.send_replace(demanded);
    }

    /// Puts a level in force.
    pub(crate) fn set(&self, in_force: InForce) {
        if in_force.source == LevelSource::Signals {
            self.demand(in_force.clone());
        }
        self.in_force.send_replace(in_force);
    }
}
