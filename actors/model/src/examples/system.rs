//! The hive as a whole.

use serde_json::{Value, json};

use super::queue::status_counts;

pub(super) fn system_status() -> Value {
    json!({
        "version": "0.1.0",
        "hive_id": "hive_01h455vb4pex5vsknk084sn02q",
        "state": "ready",
        "mode": "full",
        "level": 0,
        "pid": 4242,
        "started_at": "2026-11-20T08:00:00.000Z",
        "uptime_seconds": 1800,
        "previous_shutdown_clean": true,
        "last_restart": {
            "at": "2026-11-20T08:00:00.000Z",
            "succeeded": false,
            "reason": "logging.filter: invalid filter directive",
        },
        "bots_healthy": 3,
        "bots_launched": 3,
        "tasks": status_counts(),
        "last_event_seq": 1041,
        "followers": [{"name": "statistics", "seq": 4711, "lag_events": 0, "lag_ms": 0}],
        "outputs": {"bytes": 8_388_608, "limit_bytes": 10_737_418_240_u64, "removed": 0},
    })
}

pub(super) fn health_metrics() -> Value {
    json!({
        "healthy": true,
        "mode": "full",
        "level": 0,
        "problems": [],
        "cpu_percent": 12.5,
        "memory_bytes": 41943040,
        "memory_percent": 31.0,
        "disk_free_bytes": 53687091200_u64,
        "disk_percent": 48.0,
        "bots_healthy": 3,
        "bots_launched": 3,
        "queue_depth": 7,
        "oldest_queued_ms": 1250,
        "success_rate": 0.998,
        "failures_24h": 2,
    })
}
