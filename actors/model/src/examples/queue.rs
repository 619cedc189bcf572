//! The queue.

use serde_json::{Value, json};

pub(super) fn status_counts() -> Value {
    json!({"pending": 3, "queued": 7, "running": 1, "completed": 1204, "failed": 2, "cancelled": 1})
}

fn rates() -> Value {
    json!({
        "submitted_per_second": 12.5, "started_per_second": 12.0,
        "completed_per_second": 11.9, "failed_per_second": 0.1,
    })
}

fn waits() -> Value {
    json!({"started": 720, "p50_ms": 2, "p95_ms": 16, "p99_ms": 64})
}

fn throughput(name: &str, submitted: u64) -> Value {
    let durations = json!({"count": 1206, "mean_ms": 4, "p50_ms": 3, "p95_ms": 7, "p99_ms": 15});
    json!({
        "name": name, "submitted": submitted, "started": 1206, "completed": 1204, "failed": 2,
        "cancelled": 0, "retried": 0, "returned": 0, "waits": durations, "runs": durations,
    })
}

pub(super) fn queue_status() -> Value {
    json!({
        "totals": status_counts(),
        "paused": [{
            "type": "writing", "since": "2026-11-20T08:00:00.000Z", "by": "ops",
            "reason": "the model is being replaced",
        }],
        "oldest_queued_ms": 1250,
        "rates": rates(),
        "waits": waits(),
        "lanes": [{
            "type": "general", "priority": "P2", "pending": 3, "queued": 7, "running": 1,
            "oldest_queued_ms": 1250, "paused": false, "rates": rates(), "waits": waits(),
        }],
        "running_by_bot": {"upper-1": 1},
        "history": {
            "hours": 24,
            "by_type": [throughput("general", 1210)],
            "by_bot": [throughput("upper-1", 0)],
        },
    })
}
