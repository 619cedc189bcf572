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
pub(crate) struct CurrentLevel(Arc<watch::Sender<InForce>>, Arc<AtomicI64>);

impl Default for CurrentLevel {
    fn default() -> Self {
        Self(
            Arc::new(watch::Sender::new(InForce {
                level: Level::NORMAL,
                source: LevelSource::Signals,
                since: Timestamp::now(),
                why: "nothing is short".into(),
            })),
            Arc::default(),
        )
    }
}

impl CurrentLevel {
    /// Returns the level and its reason.
    pub(crate) fn get(&self) -> InForce {
        self.0.borrow().clone()
    }

    /// Returns the level.
    pub(crate) fn level(&self) -> Level {
        self.0.borrow().level
    }

    /// Returns true if the level in force sheds a feature.
    pub(crate) fn sheds(&self, feature: Feature) -> bool {
        feature.is_shed_at(self.level())
    }

    /// Returns a receiver that is notified whenever the level, its origin or its reason changes.
    pub(crate) fn changes(&self) -> watch::Receiver<InForce> {
        self.0.subscribe()
    }

    /// Notes the time at which the signals of the next level began to be over their trips. Must be
    /// called before that level is [put in force](Self::set).
    pub(crate) fn note_trip(&self, began: Timestamp) {
        self.1.store(began.as_millis(), Ordering::Release);
    }

    /// Returns the time at which the trouble behind a level began: that of the trip, if it was
    /// noted, else the time at which the level came into force.
    pub(crate) fn trip_began(&self, in_force: &InForce) -> Timestamp {
        match self.1.load(Ordering::Acquire) {
            0 => in_force.since,
            began => Timestamp::from_millis(began).min(in_force.since),
        }
    }

    /// Puts a level in force.
    pub(crate) fn set(&self, in_force: InForce) {
        self.0.send_replace(in_force);
    }
}
