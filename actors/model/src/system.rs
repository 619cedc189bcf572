//! The state of the whole hive.

use serde::{Deserialize, Serialize};

use super::{Level, Mode, StatusCounts, Timestamp};

/// The answer of `GET /api/v1/system/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SystemStatus {
    /// Version of the binary.
    pub version: String,
    /// Id of the data directory; kept through restarts.
    pub hive_id: String,
    /// `starting`, `ready`, `restarting` (requests are accepted, but no attempt begins)
    /// or `stopping` (submissions are refused).
    pub state: String,
    /// Mode: `full`, `degraded` (features are shed because resources are short) or `maintenance`.
    pub mode: Mode,
    /// Level at which features are shed, 0 to 4.
    pub level: Level,
    /// Process id of the server.
    pub pid: u32,
    /// Time at which this process started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// True if the previous run ended with an orderly stop.
    pub previous_shutdown_clean: bool,
    /// The outcome of the restart in place that led to this start, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_restart: Option<LastRestart>,
    /// Number of bots that are healthy now.
    pub bots_healthy: u32,
    /// Number of bots that should run.
    pub bots_launched: u32,
    /// Tasks by status.
    pub tasks: StatusCounts,
    /// Sequence number of the newest event.
    pub last_event_seq: u64,
    /// The followers of the event log and their lag.
    #[serde(default)]
    #[schema(required = true)]
    pub followers: Vec<FollowerLag>,
    /// The outputs of tasks in the data directory.
    #[serde(default)]
    #[schema(required = true)]
    pub outputs: StoredOutputs,
}

/// The outputs of tasks in the data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StoredOutputs {
    /// Size of all of them. Those that were there at the start are counted soon after it.
    pub bytes: u64,
    /// Size that they may have together (`tasks.max_outputs_bytes`); absent when there is no
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Number of outputs that were removed for the limit since the start.
    pub removed: u64,
}

/// The position and lag of a follower of the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FollowerLag {
    /// Name of the follower.
    #[schema(example = "statistics")]
    pub name: String,
    /// Sequence number of the last event that it has processed.
    pub seq: u64,
    /// Number of events that it has not processed.
    pub lag_events: u64,
    /// Age of the oldest of these, in milliseconds.
    pub lag_ms: u64,
}

/// Result of a restart in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LastRestart {
    /// Time at which the start after it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// True if the new start came up. Otherwise the server runs again with the previous
    /// binary and settings.
    pub succeeded: bool,
    /// Reason why the new start failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of `GET /api/v1/system/health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HealthMetrics {
    /// True if all essential parts work.
    pub healthy: bool,
    /// The problems, one sentence each; empty when healthy.
    pub problems: Vec<String>,
    /// Mode: `full`, `degraded` (features are shed because resources are short) or `maintenance`.
    pub mode: Mode,
    /// Level at which features are shed, 0 to 4.
    pub level: Level,
    /// Share of the machine's CPUs in use over the last seconds, 0 to 100.
    pub cpu_percent: f64,
    /// Resident memory of the server, in bytes.
    pub memory_bytes: u64,
    /// Share of the memory in use, 0 to 100: of the machine's, or of the cgroup's if that is fuller.
    pub memory_percent: f64,
    /// Free space on the data directory's file system, in bytes.
    pub disk_free_bytes: u64,
    /// Share of that file system in use, 0 to 100.
    pub disk_percent: f64,
    /// Number of bots that are healthy now.
    pub bots_healthy: u32,
    /// Number of bots that should run.
    pub bots_launched: u32,
    /// Number of tasks that are ready and wait for a bot.
    pub queue_depth: u64,
    /// Longest time for which one of them has been ready, in milliseconds.
    pub oldest_queued_ms: Option<u64>,
    /// Share of all finished tasks that completed, 0 to 1; absent before the first.
    pub success_rate: Option<f64>,
    /// Tasks that failed in the last 24 hours.
    pub failures_24h: u64,
}
