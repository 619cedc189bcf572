//! Tasks, and what comes of them.

use serde_json::{Value, json};

use super::TASK;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "task_01h455vb4pex5vsknk084sn02p";

fn retry() -> Value {
    json!({"min_ms": 500, "max_ms": 60000, "factor": 2.0, "jitter": 0.2})
}

pub(super) fn task() -> Value {
    json!({
        "id": TASK,
        "type": "general",
        "priority": "P1",
        "status": "cancelled",
        "end_reason": "cancelled",
        "submitter": "ci",
        "content": "hello",
        "tags": ["nightly"],
        "metadata": {"ticket": 42},
        "assigned_bot": "upper-1",
        "created_at": "2026-11-20T08:30:00.000Z",
        "run_at": "2026-11-20T08:30:00.000Z",
        "expires_at": "2026-11-21T08:30:00.000Z",
        "dedup_key": "nightly-42",
        "session_id": super::sessions::SESSION,
        "idempotency_key": "a5f0-42",
        "erased_at": "2026-11-27T08:30:00.000Z",
        "depends_on": [OTHER],
        "on_dependency_failure": "fail",
        "waiting_for": 0,
        "retry": retry(),
        "started_at": "2026-11-20T08:30:00.620Z",
        "completed_at": "2026-11-20T08:30:00.930Z",
        "attempt": 2,
        "failures": 1,
        "max_attempts": 3,
        "bot_deaths": 0,
        "suspicions": 0,
        "hive_deaths": 0,
        "timeout_seconds": 3600,
        "idle_timeout_seconds": 300,
        "estimated_duration_seconds": 60,
        "actual_duration_seconds": 0.31,
        "progress": 0.5,
        "deployment": "blue",
        "cancel_requested_at": "2026-11-20T08:30:00.900Z",
        "last_error": "exit code 1: no space left on device",
        "traceparent": TRACE,
        "failed_attempts": [{
            "attempt": 1, "bot": "upper-1", "outcome": "failed", "failure_class": "internal",
            "error": "exit code 1: no space left on device", "exit_code": 1,
            "output_bytes": 4096,
            "started_at": "2026-11-20T08:30:00.020Z", "ended_at": "2026-11-20T08:30:00.110Z",
        }],
    })
}

pub(super) fn new_task() -> Value {
    json!({
        "type": "general",
        "content": "hello",
        "priority": "P1",
        "tags": ["nightly"],
        "metadata": {"ticket": 42},
        "run_at": "2026-11-20T09:00:00.000Z",
        "max_attempts": 3,
        "timeout_seconds": 600,
        "idle_timeout_seconds": 120,
        "estimated_duration_seconds": 60,
        "retry": retry(),
        "expires_at": "2026-11-21T09:00:00.000Z",
        "dedup_key": "nightly-42",
        "session_id": super::sessions::SESSION,
        "depends_on": [OTHER],
        "on_dependency_failure": "cancel",
    })
}

pub(super) fn submitted() -> Value {
    json!({"id": TASK, "status": "queued", "created_at": "2026-11-20T08:30:00.000Z", "deduplicated": true})
}

pub(super) fn result() -> Value {
    json!({
        "task_id": TASK,
        "bot_id": "upper-1",
        "success": true,
        "output": "HELLO",
        "output_bytes": 5,
        "output_truncated": false,
        "output_url": "/api/v1/tasks/task_01h455vb4pex5vsknk084sn02q/output",
        "error": null,
        "execution_time_ms": 4,
        "started_at": "2026-11-20T08:30:00.120Z",
        "completed_at": "2026-11-20T08:30:00.124Z",
        "attempt": 1,
        "tokens_used": 1200,
        "cost_cents": 3,
        "erased_at": "2026-11-27T08:30:00.000Z",
        "exit_code": 0,
        "failure_class": "internal",
    })
}

pub(super) fn task_explanation() -> Value {
    json!({
        "task_id": TASK,
        "status": "pending",
        "hold": "waits_for_tasks",
        "detail": "the task waits for 1 of the tasks that it depends on",
        "ahead": 0,
        "waits_for": [{"id": OTHER, "status": "running"}],
        "bots": [{"id": "upper-1", "status": "healthy", "in_hand": 1, "places": 4}],
        "until": "2026-11-20T09:00:00.000Z",
    })
}
