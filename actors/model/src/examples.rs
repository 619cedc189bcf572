//! An example of each entity. A field that is added to an entity must be added to its
//! example here; a test names missing fields.
//!
//! Each example is read into its type and written again, so none of them shows a field
//! that the type does not have.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    Alert, Bot, BotSpec, Event, HealthMetrics, KeyInfo, NewTask, QueueStatus, Submitted,
    SystemStatus, Task, TaskExplanation, TaskResult, User, schema::Entity,
};

/// Returns the public entities of the model, each with its schema and an example.
///
/// # Errors
/// An example does not fit its type, which a test rules out.
pub fn entities() -> Result<Vec<Entity>, serde_json::Error> {
    Ok(vec![
        entity::<Task>("Task", task())?,
        entity::<NewTask>("NewTask", new_task())?,
        entity::<Submitted>("Submitted", submitted())?,
        entity::<TaskResult>("Result", result())?,
        entity::<Bot>("Bot", bot())?,
        entity::<BotSpec>("BotSpec", bot_spec())?,
        entity::<Event>("Event", event())?,
        entity::<Alert>("Alert", alert())?,
        entity::<QueueStatus>("QueueStatus", queue_status())?,
        entity::<TaskExplanation>("TaskExplanation", task_explanation())?,
        entity::<SystemStatus>("SystemStatus", system_status())?,
        entity::<HealthMetrics>("HealthMetrics", health_metrics())?,
        entity::<KeyInfo>("Key", key())?,
        entity::<User>("User", user())?,
    ])
}

fn entity<T: ToSchema + Serialize + DeserializeOwned>(
    name: &'static str,
    example: Value,
) -> Result<Entity, serde_json::Error> {
    Entity::of(name, &serde_json::from_value::<T>(example)?)
}

const TASK: &str = "task_01h455vb4pex5vsknk084sn02q";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

const OTHER: &str = "task_01h455vb4pex5vsknk084sn02p";

fn retry() -> Value {
    json!({"min_ms": 500, "max_ms": 60000, "factor": 2.0, "jitter": 0.2})
}

fn task() -> Value {
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
        "estimated_duration_seconds": 60,
        "actual_duration_seconds": 0.31,
        "progress": 0.5,
        "deployment": "blue",
        "cancel_requested_at": "2026-11-20T08:30:00.900Z",
        "last_error": "exit code 1: no space left on device",
        "traceparent": TRACE,
        "failed_attempts": [{
            "attempt": 1, "bot": "upper-1", "outcome": "failed",
            "error": "exit code 1: no space left on device", "exit_code": 1,
            "output_bytes": 4096,
            "started_at": "2026-11-20T08:30:00.020Z", "ended_at": "2026-11-20T08:30:00.110Z",
        }],
    })
}

fn new_task() -> Value {
    json!({
        "type": "general",
        "content": "hello",
        "priority": "P1",
        "tags": ["nightly"],
        "metadata": {"ticket": 42},
        "run_at": "2026-11-20T09:00:00.000Z",
        "max_attempts": 3,
        "timeout_seconds": 600,
        "estimated_duration_seconds": 60,
        "retry": retry(),
        "expires_at": "2026-11-21T09:00:00.000Z",
        "dedup_key": "nightly-42",
        "depends_on": [OTHER],
        "on_dependency_failure": "cancel",
    })
}

fn submitted() -> Value {
    json!({"id": TASK, "status": "queued", "created_at": "2026-11-20T08:30:00.000Z", "deduplicated": true})
}

fn result() -> Value {
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
    })
}

fn bot() -> Value {
    json!({
        "id": "upper-1",
        "executor": {"kind": "command", "command": ["tr", "a-z", "A-Z"]},
        "status": "healthy",
        "desired": "launched",
        "version": 1,
        "port": 8001,
        "pids": [4711],
        "secrets": {"API_KEY": {"file": "/etc/deia/secrets/api"}},
        "capabilities": {"bot_type": "general", "specializations": [], "max_concurrent_tasks": 4},
        "success_rate": 0.99,
        "current_load": 0.25,
        "running_tasks": 1,
        "last_heartbeat": "2026-11-20T08:30:00.000Z",
        "launched_at": "2026-11-20T08:00:00.000Z",
        "tasks_completed": 99,
        "tasks_failed": 1,
        "restarts": 0,
        "last_exit": null,
        "fault": {
            "reason": "the program \"agent\" was not found in PATH",
            "in_a_row": 1,
            "since": "2026-11-20T08:29:00.000Z",
            "next_try_at": "2026-11-20T08:29:02.000Z",
        },
        "warnings": ["the program \"agent\" was not found in PATH"],
        "containment": {
            "means": "subreaper",
            "escape": "processes that another service starts for a program (systemd-run, at, docker)",
        },
    })
}

fn bot_spec() -> Value {
    json!({
        "executor": {"kind": "command", "command": ["tr", "a-z", "A-Z"]},
        "secrets": {"API_KEY": {"file": "/etc/deia/secrets/api"}},
        "capabilities": {"bot_type": "general", "specializations": ["general"], "max_concurrent_tasks": 4},
    })
}

fn event() -> Value {
    json!({
        "seq": 1041,
        "at": "2026-11-20T08:30:00.124Z",
        "action": "task.completed",
        "level": "info",
        "actor": "upper-1",
        "timeline": 1,
        "target": {"type": "task", "id": TASK},
        "owner": "ada",
        "result": "success",
        "task_type": "general",
        "bot_id": "upper-1",
        "tags": ["nightly"],
        "attempt": 1,
        "status": "completed",
        "session_id": "session_01h455vb4pex5vsknk084sn02q",
        "v": 1,
        "details": {"wait_ms": 1, "run_ms": 4},
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    })
}

fn status_counts() -> Value {
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

fn queue_status() -> Value {
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

fn task_explanation() -> Value {
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

fn system_status() -> Value {
    json!({
        "version": "0.1.0",
        "hive_id": "hive_01h455vb4pex5vsknk084sn02q",
        "state": "ready",
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
    })
}

fn alert() -> Value {
    json!({
        "id": "alert_01h455vb4pex5vsknk084sn02q",
        "name": "disk_filling",
        "target": {"type": "hive", "id": "hive_01h455vb4pex5vsknk084sn02q"},
        "level": "critical",
        "since": "2026-11-20T08:30:00.000Z",
        "last_seen": "2026-11-20T08:35:00.000Z",
        "what": "the disk is 96 % full",
        "what_to_do": "free space on the disk of data_dir, or lower tasks.retention or events.max_bytes",
        "acknowledged_by": "ada",
        "acknowledged_at": "2026-11-20T08:32:00.000Z",
        "resolved_at": "2026-11-20T08:36:00.000Z",
    })
}

fn health_metrics() -> Value {
    json!({
        "healthy": true,
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

fn key() -> Value {
    json!({
        "id": "key_01h455vb4pex5vsknk084sn02q",
        "name": "nightly builds",
        "user": "ci",
        "role": "external",
        "scopes": ["task:submit", "task:read"],
        "allow_ips": ["192.0.2.7", "2001:db8::/32"],
        "bot": null,
        "family": "key_01h455vb4pex5vsknk084sn02q",
        "created_at": "2026-11-20T08:00:00.000Z",
        "expires_at": "2027-11-20T08:00:00.000Z",
        "revoked_at": null,
        "last_used_at": "2026-11-20T08:30:00.000Z",
    })
}

fn user() -> Value {
    json!({
        "id": "ci",
        "role": "external",
        "active": true,
        "version": 1,
        "created_at": "2026-11-20T08:00:00.000Z",
        "changed_at": "2026-11-20T08:00:00.000Z",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_show_every_field() {
        // Alternatives to run_at and expires_at, which the example has.
        const INSTEAD: [&str; 2] = ["delay_ms", "expires_in_ms"];
        for entity in entities().unwrap() {
            let example: Value = serde_json::from_str(&entity.example).unwrap();
            let fields = entity.fields.iter();
            for field in fields.filter(|field| !INSTEAD.contains(&field.as_str())) {
                assert!(
                    example.get(field).is_some(),
                    "the example of {} lacks {field}: add it in model/examples.rs",
                    entity.name
                );
            }
        }
    }
}
