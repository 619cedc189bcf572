//! Degradation: the levels at which the hive sheds features, and the features.

mod signal;
mod status;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    signal::{SignalName, SignalState, SignalStatus},
    status::{
        DegradationStatus, FeatureState, FeatureStatus, ModeChange, ModeSource, OperatorLevel,
    },
};

/// The level at which the hive sheds features, 0 to 4. A higher level sheds all that a lower one
/// sheds.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(try_from = "u8", into = "u8")]
#[schema(value_type = u8, minimum = 0, maximum = 4)]
pub struct Level(u8);

impl Level {
    /// Everything is on.
    pub const NORMAL: Self = Self(0);
    /// Optional features are shed.
    pub const OPTIONAL_SHED: Self = Self(1);
    /// Important features are shed, too.
    pub const IMPORTANT_SHED: Self = Self(2);
    /// Only critical features are on, and submissions of priority P2 and P3 are refused.
    pub const CRITICAL_ONLY: Self = Self(3);
    /// Reads, health, completions of running work and administration are served; all else that
    /// writes is refused.
    pub const READ_ONLY: Self = Self(4);

    /// Returns the level of that number, if there is one.
    pub fn new(number: u8) -> Option<Self> {
        (number <= Self::READ_ONLY.0).then_some(Self(number))
    }

    /// Returns the number, 0 to 4.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Returns the next higher level, if there is one.
    pub fn up(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    /// Returns the next lower level, if there is one.
    pub fn down(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Returns the effect of the level, in a few words.
    pub fn effect(self) -> &'static str {
        match self.0 {
            0 => "everything is on",
            1 => "optional features are shed",
            2 => "important and optional features are shed",
            3 => "only critical features are on; submissions of P2 and P3 are refused",
            _ => "read-only: submissions and other changes are refused",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        level.0
    }
}

impl TryFrom<u8> for Level {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        Self::new(number).ok_or_else(|| format!("{number} is no level; expected 0 to 4"))
    }
}

/// The mode of the hive, in the words of its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything is on (level 0).
    Full,
    /// Features are shed because resources are short (levels 1 to 3).
    Degraded,
    /// The hive is read-only (level 4), or an operator has set the level.
    Maintenance,
}

impl Mode {
    /// Returns the mode at a level that an operator has set, or has not.
    pub fn of(level: Level, is_set_by_operator: bool) -> Self {
        match level {
            Level::READ_ONLY => Self::Maintenance,
            _ if is_set_by_operator => Self::Maintenance,
            Level::NORMAL => Self::Full,
            _ => Self::Degraded,
        }
    }

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Degraded => "degraded",
            Self::Maintenance => "maintenance",
        }
    }
}

/// Importance of a feature: the order in which features are shed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FeatureClass {
    /// Shed first.
    Optional,
    /// Shed when that is not enough.
    Important,
    /// Never shed.
    Critical,
}

impl FeatureClass {
    /// Returns the level from which on features of this class are shed; `None` if they never are.
    pub fn shed_at(self) -> Option<Level> {
        match self {
            Self::Optional => Some(Level::OPTIONAL_SHED),
            Self::Important => Some(Level::IMPORTANT_SHED),
            Self::Critical => None,
        }
    }
}

macro_rules! features {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal $class:ident,)*) => {
        /// A feature that the hive can have, and may shed.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            utoipa::ToSchema,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Feature {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Feature {
            /// Every feature, the most important ones first.
            pub const ALL: &'static [Feature] = &[$(Feature::$variant,)*];

            /// Returns the name: on the wire, and as a tag in the supervision tree.
            pub fn as_str(self) -> &'static str {
                match self { $(Feature::$variant => $name,)* }
            }

            /// Returns the importance.
            pub fn class(self) -> FeatureClass {
                match self { $(Feature::$variant => FeatureClass::$class,)* }
            }

            /// Returns the meaning, in a sentence.
            pub fn description(self) -> &'static str {
                match self { $(Feature::$variant => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

features! {
    /// Tasks are accepted, given to bots and ended.
    TaskOrchestration = "task_orchestration" Critical,
    /// Messages between bots are accepted and delivered.
    MessageDelivery = "message_delivery" Critical,
    /// Health, metrics, probes and the supervision tree are served.
    HealthMonitoring = "health_monitoring" Critical,
    /// The scheduler learns which bot is best for a type of task.
    AdaptiveScheduling = "adaptive_scheduling" Important,
    /// The number of bots follows the load.
    AutoScaling = "auto_scaling" Important,
    /// Events are delivered to endpoints: late while it is shed, but none is lost.
    WebhookDelivery = "webhook_delivery" Important,
    /// Counts and latencies by hour, task type and bot are kept.
    Analytics = "analytics" Optional,
    /// The number of bots follows a forecast of the load.
    PredictiveScaling = "predictive_scaling" Optional,
    /// Events and outputs are streamed to clients as they come.
    LiveStream = "live_stream" Optional,
}

impl Feature {
    /// Returns true if the feature is shed at a level.
    pub fn is_shed_at(self, level: Level) -> bool {
        self.class().shed_at().is_some_and(|from| level >= from)
    }

    /// Returns the feature of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_levels_shed_more() {
        let shed = |number| {
            let level = Level::new(number).unwrap();
            Feature::ALL
                .iter()
                .filter(|it| it.is_shed_at(level))
                .count()
        };
        assert_eq!([0, 1, 2, 3, 4].map(shed), [0, 3, 6, 6, 6]);
        for feature in Feature::ALL {
            assert_eq!(Feature::parse(feature.as_str()), Some(*feature));
            let on_the_wire = serde_json::to_value(feature).unwrap();
            assert_eq!(on_the_wire, feature.as_str());
        }
    }

    #[test]
    fn levels_are_numbers_from_0_to_4() {
        let level: Level = serde_json::from_str("4").unwrap();
        assert_eq!((level, level.up()), (Level::READ_ONLY, None));
        assert_eq!(serde_json::to_string(&level).unwrap(), "4");
        assert_eq!(Level::NORMAL.down(), None);
        let error = serde_json::from_str::<Level>("5").unwrap_err();
        assert!(error.to_string().contains("expected 0 to 4"), "{error}");
    }

    #[test]
    fn mode_follows_from_level_and_operator() {
        for (level, by_operator, mode) in [
            (0, false, "full"),
            (1, false, "degraded"),
            (3, false, "degraded"),
            (4, false, "maintenance"),
            (0, true, "maintenance"),
            (2, true, "maintenance"),
        ] {
            let level = Level::new(level).unwrap();
            assert_eq!(Mode::of(level, by_operator).as_str(), mode);
        }
    }
}
