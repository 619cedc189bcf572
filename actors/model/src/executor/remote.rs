//! Remote workers.

use serde::{Deserialize, Serialize};

use crate::Violation;

/// Range of the interval of heartbeats, in seconds. Fact: the API, whose schema states
/// it.
const HEARTBEAT_SECONDS: std::ops::RangeInclusive<u64> = 1..=3_600;

/// Workers that lease tasks over HTTP (`POST /api/v1/bots/{id}/lease`), from anywhere, and
/// report their ends. Any number of workers may share one bot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteExecutor {
    /// Interval in which a worker sends heartbeats for each task, in seconds, 1 to 3,600;
    /// `bots.remote.heartbeat` when absent. A worker that misses three loses its tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3_600)]
    pub heartbeat_seconds: Option<u64>,
}

impl RemoteExecutor {
    pub(super) fn violations(&self, at: &str) -> Vec<Violation> {
        let out_of_range = |seconds: &u64| !HEARTBEAT_SECONDS.contains(seconds);
        let wrong = self.heartbeat_seconds.filter(out_of_range);
        let found = wrong.map(|seconds| Violation {
            pointer: format!("{at}/heartbeat_seconds"),
            detail: format!("is {seconds}; allowed are 1 to 3600"),
        });
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_have_a_range() {
        for (seconds, valid) in [
            (None, true),
            (Some(1), true),
            (Some(3_600), true),
            (Some(0), false),
            (Some(3_601), false),
        ] {
            let executor = RemoteExecutor {
                heartbeat_seconds: seconds,
            };
            assert_eq!(
                executor.violations("/executor").is_empty(),
                valid,
                "{seconds:?}"
            );
        }
    }
}
