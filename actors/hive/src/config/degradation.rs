//! The settings of degradation: for each signal the values at which it trips and clears, and the
//! times for which it must do so.

use std::{ops::RangeInclusive, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, HOUR, MINUTE, SECOND},
};

/// Degradation: the level at which features are shed, and the signals that it follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct DegradationSettings {
    pub enabled: bool,
    #[serde(with = "deia_model::duration")]
    pub sample_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub count_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub stale_after: Duration,
    #[serde(with = "deia_model::duration")]
    pub default_duration: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_duration: Duration,
    pub memory: PercentSignal,
    pub cpu_and_commits: CommitSignal,
    pub memory_stall: PercentSignal,
    pub io_stall: PercentSignal,
    pub disk_free: DiskSignal,
    pub descriptors: PercentSignal,
    pub healthy_bots: BotSignal,
    pub audit_lag: LagSignal,
}

/// A signal that is a share, in percent, and trips above.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct PercentSignal {
    pub trip_percent: f64,
    pub clear_percent: f64,
    #[serde(with = "deia_model::duration")]
    pub hold: Duration,
    #[serde(with = "deia_model::duration")]
    pub clear_hold: Duration,
}

/// A signal of two measurements, both of which must be over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct CommitSignal {
    pub trip_percent: f64,
    pub clear_percent: f64,
    #[serde(with = "deia_model::duration")]
    pub trip_latency: Duration,
    #[serde(with = "deia_model::duration")]
    pub clear_latency: Duration,
    pub min_commits: u32,
    #[serde(with = "deia_model::duration")]
    pub window: Duration,
    #[serde(with = "deia_model::duration")]
    pub hold: Duration,
    #[serde(with = "deia_model::duration")]
    pub clear_hold: Duration,
}

/// The free space of a disk, which trips below a share and below a size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct DiskSignal {
    pub trip_percent: f64,
    pub clear_percent: f64,
    pub trip_bytes: ByteSize,
    pub clear_bytes: ByteSize,
    pub small_disk_percent: f64,
    #[serde(with = "deia_model::duration")]
    pub hold: Duration,
    #[serde(with = "deia_model::duration")]
    pub clear_hold: Duration,
}

/// The share of healthy bots, which trips below.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct BotSignal {
    pub min_bots: u32,
    pub trip_percent: f64,
    pub clear_percent: f64,
    #[serde(with = "deia_model::duration")]
    pub hold: Duration,
    #[serde(with = "deia_model::duration")]
    pub clear_hold: Duration,
}

/// A lag, which trips above.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct LagSignal {
    #[serde(with = "deia_model::duration")]
    pub trip: Duration,
    #[serde(with = "deia_model::duration")]
    pub clear: Duration,
    #[serde(with = "deia_model::duration")]
    pub hold: Duration,
    #[serde(with = "deia_model::duration")]
    pub clear_hold: Duration,
}

/// Holds that a signal may have.
const HOLDS: RangeInclusive<Duration> = Duration::ZERO..=HOUR;

impl DegradationSettings {
    /// Returns the longest time for which a signal must last before it raises the level.
    pub(crate) fn longest_hold(&self) -> Duration {
        [
            self.memory.hold,
            self.cpu_and_commits.hold,
            self.memory_stall.hold,
            self.io_stall.hold,
            self.disk_free.hold,
            self.descriptors.hold,
            self.healthy_bots.hold,
            self.audit_lag.hold,
        ]
        .into_iter()
        .max()
        .unwrap_or_default()
    }

    pub(super) fn check(&self, check: &mut Checker) {
        let intervals = Duration::from_millis(50)..=MINUTE;
        check.duration(
            "degradation.sample_every",
            self.sample_every,
            intervals.clone(),
        );
        check.duration("degradation.count_every", self.count_every, intervals);
        let stale = self.count_every.max(self.sample_every)..=10 * MINUTE;
        check.duration("degradation.stale_after", self.stale_after, stale);
        let durations = SECOND..=self.max_duration.max(SECOND);
        check.duration(
            "degradation.default_duration",
            self.default_duration,
            durations,
        );
        check.duration(
            "degradation.max_duration",
            self.max_duration,
            SECOND..=365 * DAY,
        );
        for (name, signal) in [
            ("memory", self.memory),
            ("memory_stall", self.memory_stall),
            ("io_stall", self.io_stall),
            ("descriptors", self.descriptors),
        ] {
            above(check, name, signal.trip_percent, signal.clear_percent);
            holds(check, name, signal.hold, signal.clear_hold);
        }
        self.cpu_and_commits.check(check);
        self.disk_free.check(check);
        self.healthy_bots.check(check);
        self.audit_lag.check(check);
    }
}

impl CommitSignal {
    fn check(&self, check: &mut Checker) {
        let name = "cpu_and_commits";
        above(check, name, self.trip_percent, self.clear_percent);
        let key = |field| format!("degradation.{name}.{field}");
        let longest = Duration::from_millis(1)..=MINUTE;
        check.duration(&key("trip_latency"), self.trip_latency, longest);
        let shorter = Duration::ZERO..=self.trip_latency;
        check.duration(&key("clear_latency"), self.clear_latency, shorter);
        check.number(&key("min_commits"), self.min_commits, 1..=1_000_000);
        check.duration(&key("window"), self.window, SECOND..=10 * MINUTE);
        holds(check, name, self.hold, self.clear_hold);
    }
}

impl DiskSignal {
    fn check(&self, check: &mut Checker) {
        let name = "disk_free";
        below(check, name, self.trip_percent, self.clear_percent);
        let key = |field| format!("degradation.{name}.{field}");
        check.size(&key("trip_bytes"), self.trip_bytes, 0..=1 << 50);
        let larger = self.trip_bytes.as_u64()..=(1 << 50).max(self.trip_bytes.as_u64());
        check.size(&key("clear_bytes"), self.clear_bytes, larger);
        check.fraction(
            &key("small_disk_percent"),
            self.small_disk_percent,
            0.0..=50.0,
        );
        holds(check, name, self.hold, self.clear_hold);
    }
}

impl BotSignal {
    fn check(&self, check: &mut Checker) {
        let name = "healthy_bots";
        check.number(
            "degradation.healthy_bots.min_bots",
            self.min_bots,
            1..=100_000,
        );
        below(check, name, self.trip_percent, self.clear_percent);
        holds(check, name, self.hold, self.clear_hold);
    }
}

impl LagSignal {
    fn check(&self, check: &mut Checker) {
        let name = "audit_lag";
        check.duration("degradation.audit_lag.trip", self.trip, SECOND..=DAY);
        check.duration(
            "degradation.audit_lag.clear",
            self.clear,
            Duration::ZERO..=self.trip,
        );
        holds(check, name, self.hold, self.clear_hold);
    }
}

/// Checks the shares of a signal that trips above.
fn above(check: &mut Checker, name: &str, trip: f64, clear: f64) {
    let key = |field| format!("degradation.{name}.{field}");
    check.fraction(&key("trip_percent"), trip, 0.0..=100.0);
    check.fraction(&key("clear_percent"), clear, 0.0..=trip.clamp(0.0, 100.0));
}

/// Checks the shares of a signal that trips below.
fn below(check: &mut Checker, name: &str, trip: f64, clear: f64) {
    let key = |field| format!("degradation.{name}.{field}");
    check.fraction(&key("trip_percent"), trip, 0.0..=100.0);
    check.fraction(&key("clear_percent"), clear, trip.clamp(0.0, 100.0)..=100.0);
}

fn holds(check: &mut Checker, name: &str, hold: Duration, clear_hold: Duration) {
    for (field, hold) in [("hold", hold), ("clear_hold", clear_hold)] {
        check.duration(&format!("degradation.{name}.{field}"), hold, HOLDS);
    }
}
