//! The mode of the hive and the state of each feature, as operators see them.

use serde::{Deserialize, Serialize};

use super::{Feature, FeatureClass, Level, Mode, SignalStatus};
use crate::Timestamp;

/// The answer of `GET /api/degradation/status`: the mode in force, and all that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DegradationStatus {
    /// Mode: `full` (level 0), `degraded` (1 to 3), or `maintenance` (level 4, or a level that an
    /// operator has set).
    pub mode: Mode,
    /// Level in force, 0 to 4. The higher one of those that the signals and the operator demand.
    pub level: Level,
    /// Effect of the level, in a few words.
    pub effect: String,
    /// Origin of the level in force.
    pub source: ModeSource,
    /// Time since which the level is in force.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Reason, in a sentence without its stop.
    pub why: String,
    /// Level that the signals demand.
    pub signals_level: Level,
    /// Level that an operator has set, if there is one.
    pub operator: Option<OperatorLevel>,
    /// True if the signals may change the level (`degradation.enabled`).
    pub enabled: bool,
    /// Features of this version that are shed at the level in force.
    pub shed: Vec<Feature>,
    /// Signals, with their last readings.
    pub signals: Vec<SignalStatus>,
}

/// The origin of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeSource {
    /// The signals demand it.
    Signals,
    /// An operator has set it.
    Operator,
}

impl ModeSource {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signals => "signals",
            Self::Operator => "operator",
        }
    }
}

/// A level that an operator has set, for a drill or for maintenance. It survives a restart, and
/// only a higher level of the signals overrides it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorLevel {
    /// Level that was set.
    pub level: Level,
    /// Reason that the operator gave.
    pub reason: String,
    /// User who set it.
    pub by: String,
    /// Time at which it was set.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Time at which it ends by itself.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

/// The body of `POST /api/degradation/mode`: a level to set for a time, or the end of such a level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeChange {
    /// Level to set, 0 to 4. If it is absent, a level that was set ends now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// True: a level that was set ends now, and the signals alone decide. Not together with
    /// `level`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto: bool,
    /// Reason for the level, 1 to 1,024 characters; required with `level`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub reason: Option<String>,
    /// Time for which the level lasts, in seconds, 1 to `degradation.max_duration`;
    /// `degradation.default_duration` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub duration_seconds: Option<u64>,
}

/// The state of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureState {
    /// It works.
    On,
    /// It is shed, suspended or down.
    Off,
    /// This version does not have it.
    Absent,
}

impl FeatureState {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Absent => "absent",
        }
    }
}

/// A feature, with its state and the reason for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeatureStatus {
    /// Name of the feature.
    pub feature: Feature,
    /// Meaning, in a sentence.
    pub description: String,
    /// Importance: optional features are shed first, critical ones never.
    pub class: FeatureClass,
    /// Level from which on it is shed; absent if it never is.
    pub shed_at: Option<Level>,
    /// State of the feature.
    pub state: FeatureState,
    /// Reason for the state, in a sentence without its stop.
    pub why: String,
    /// Time since which it is in that state; absent if this version does not have it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Events that bring it back, in a sentence without its stop; absent unless it is off.
    pub returns: Option<String>,
    /// Parts of the supervision tree that carry it.
    pub parts: Vec<String>,
}
