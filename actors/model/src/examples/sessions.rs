//! Sessions.

use serde_json::{Value, json};

pub(super) const SESSION: &str = "session_01h455vb4pex5vsknk084sn02q";

pub(super) fn session() -> Value {
    json!({
        "id": SESSION,
        "user": "ada",
        "bot": "upper-1",
        "on_bot_death": "rebind",
        "created_at": "2026-11-20T08:30:00.000Z",
        "ended_at": "2026-11-20T09:30:00.000Z",
        "end_reason": "ended",
        "last_activity": "2026-11-20T09:12:00.000Z",
        "idle_ttl_seconds": 3_600,
        "is_active": false,
        "tasks_submitted": 12,
        "messages_exchanged": 3,
        "ip_address": "192.0.2.7",
        "user_agent": "deia/0.1.0",
    })
}

pub(super) fn new_session() -> Value {
    json!({"bot": "upper-1", "on_bot_death": "fail", "idle_ttl_seconds": 3_600})
}
