//! The signals of pressure, as operators see them.

use serde::{Deserialize, Serialize};

use super::Level;
use crate::Timestamp;

macro_rules! signals {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal up to $max:ident,)*) => {
        /// A signal of pressure.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            utoipa::ToSchema,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum SignalName {
            $($(#[doc = $doc])* $variant,)*
        }

        impl SignalName {
            /// Every signal, in the order in which they are shown.
            pub const ALL: &'static [SignalName] = &[$(SignalName::$variant,)*];

            /// Returns the name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(SignalName::$variant => $name,)* }
            }

            /// Returns the highest level that the signal alone can demand.
            pub fn max_level(self) -> Level {
                match self { $(SignalName::$variant => Level::$max,)* }
            }
        }
    };
}

signals! {
    /// The working set, against the limit of the control group or the memory of the machine.
    Memory = "memory" up to CRITICAL_ONLY,
    /// Work waits for processors, and commits of the ledger are slow at the same time.
    CpuAndCommits = "cpu_and_commits" up to CRITICAL_ONLY,
    /// All work stands still for lack of memory.
    MemoryStall = "memory_stall" up to CRITICAL_ONLY,
    /// All work stands still while disks read and write.
    IoStall = "io_stall" up to CRITICAL_ONLY,
    /// Free space on the disk of the data directory.
    DiskFree = "disk_free" up to READ_ONLY,
    /// The disk is full: the reserve of the store was released, or a write found no space.
    DiskFull = "disk_full" up to READ_ONLY,
    /// Open files of the process, against their limit.
    Descriptors = "descriptors" up to CRITICAL_ONLY,
    /// Healthy bots, among those that should run.
    HealthyBots = "healthy_bots" up to OPTIONAL_SHED,
    /// Age of the oldest event that waits for its entry in the audit trail.
    AuditLag = "audit_lag" up to CRITICAL_ONLY,
}

/// The state of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignalState {
    /// Beyond the value at which it trips.
    Over,
    /// Between the values at which it trips and clears: it neither raises nor lowers the level.
    Between,
    /// Beyond the value at which it clears.
    Clear,
    /// The sensor is missing or gives no answer. It raises nothing and keeps nothing up.
    Unknown,
}

impl SignalState {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Between => "between",
            Self::Clear => "clear",
            Self::Unknown => "unknown",
        }
    }
}

/// A signal of pressure: its last reading and its effect on the level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SignalStatus {
    /// Name of the signal.
    pub signal: SignalName,
    /// State of the last reading.
    pub state: SignalState,
    /// Time since which it is in that state.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// True if it has raised the level, and the level is not normal again.
    pub tripped: bool,
    /// Highest level that it can demand.
    pub max_level: Level,
    /// Reading, in a sentence without its stop: the value, and the values at which it trips and
    /// clears, with units.
    pub reading: String,
    /// Value of the reading, in the unit of its first setting; absent if it is unknown.
    pub value: Option<f64>,
    /// Time for which it must be over before the level rises by one, in milliseconds.
    pub hold_ms: u64,
    /// Time for which it must be clear before the level falls by one, in milliseconds.
    pub clear_hold_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_those_of_the_settings() {
        for signal in SignalName::ALL {
            assert_eq!(serde_json::to_value(signal).unwrap(), signal.as_str());
        }
        let state = serde_json::to_value(SignalState::Between).unwrap();
        assert_eq!(state, SignalState::Between.as_str());
    }

    #[test]
    fn only_the_disk_makes_the_hive_read_only() {
        let reads_only = |signal: &&SignalName| signal.max_level() == Level::READ_ONLY;
        let found: Vec<_> = SignalName::ALL.iter().filter(reads_only).collect();
        assert_eq!(found, [&SignalName::DiskFree, &SignalName::DiskFull]);
        assert_eq!(SignalName::HealthyBots.max_level(), Level::OPTIONAL_SHED);
    }
}
