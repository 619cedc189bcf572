//! Events and alerts.

use serde_json::{Value, json};

use super::TASK;

pub(super) fn event() -> Value {
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

pub(super) fn alert() -> Value {
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
