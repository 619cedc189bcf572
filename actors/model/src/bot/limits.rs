//! Limits of the resources of a bot's programs.

use serde::{Deserialize, Serialize};

use crate::Violation;

/// Smallest limit of memory, in bytes: less than any program needs. Fact: the API, whose
/// schema states it.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
/// Smallest limit of descriptors: the standard streams, progress, and the files that a
/// program is loaded from. Fact: the API, whose schema states it.
const MIN_DESCRIPTORS: u64 = 16;

/// Limits of the resources of each attempt: of its program and all that this has started.
/// Memory, processor time and processes are measured from time to time
/// (`bots.measure_every`), so a peak that is shorter can be missed. The attempt that is
/// found over a limit is ended. The program of a `worker` serves all attempts, so the limits
/// are those of the program: it is ended and started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BotLimits {
    /// Memory that the processes may have resident, in bytes, at least 1 MiB. What they
    /// share is counted for each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1_048_576)]
    pub memory_bytes: Option<u64>,
    /// Processor time that they may use, in seconds; for a `worker`, since the oldest of its
    /// running attempts began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub cpu_seconds: Option<u64>,
    /// Number of descriptors that each process may have open, at least 16. The kernel
    /// keeps this limit: opening more fails in the program, which cannot raise it except
    /// in the first moment of its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 16)]
    pub descriptors: Option<u64>,
    /// Number of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub processes: Option<u64>,
    /// Fate of the task whose attempt was over a limit.
    #[serde(default, skip_serializing_if = "OnExcess::is_default")]
    pub on_excess: OnExcess,
}

/// Fate of a task whose attempt was over a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExcess {
    /// The attempt has failed (class `internal`), and the task is attempted again as its
    /// policy says.
    #[default]
    Retry,
    /// The task has failed (class `budget`) and is not attempted again.
    Fail,
}

impl OnExcess {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl BotLimits {
    /// Returns whether there is no limit.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn violations(&self, has_programs: bool) -> Vec<Violation> {
        if !has_programs && !self.is_empty() {
            return vec![Violation {
                pointer: "/limits".into(),
                detail: "the executor starts no program that could be limited".into(),
            }];
        }
        let least = [
            ("memory_bytes", self.memory_bytes, MIN_MEMORY_BYTES),
            ("cpu_seconds", self.cpu_seconds, 1),
            ("descriptors", self.descriptors, MIN_DESCRIPTORS),
            ("processes", self.processes, 1),
        ];
        let too_small = |(name, value, least): (&str, Option<u64>, u64)| {
            let value = value.filter(|value| *value < least)?;
            Some(Violation {
                pointer: format!("/limits/{name}"),
                detail: format!("is {value}; allowed are {least} and more"),
            })
        };
        least.into_iter().filter_map(too_small).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_no_program_can_keep_are_refused() {
        let all = |n| BotLimits {
            memory_bytes: Some(n),
            cpu_seconds: Some(n),
            descriptors: Some(n),
            processes: Some(n),
            on_excess: OnExcess::Fail,
        };
        let at = |limits: BotLimits, has_programs| {
            let found = limits.violations(has_programs);
            found.into_iter().map(|it| it.pointer).collect::<Vec<_>>()
        };
        assert_eq!(at(BotLimits::default(), false), [""; 0]);
        assert_eq!(at(all(2 << 20), true), [""; 0]);
        assert_eq!(at(all(2 << 20), false), ["/limits"]);
        assert_eq!(
            at(all(0), true),
            [
                "/limits/memory_bytes",
                "/limits/cpu_seconds",
                "/limits/descriptors",
                "/limits/processes"
            ]
        );
    }
}
