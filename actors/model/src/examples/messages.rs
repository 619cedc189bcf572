//! Messages between bots.

use serde_json::{Value, json};

use super::sessions::SESSION;

pub(super) fn message() -> Value {
    json!({
        "id": "message_01h455vb4pex5vsknk084sn02q",
        "sender_bot": "planner-1",
        "sent_by": "planner-1",
        "receiver_bot": "upper-1",
        "content": "the build is green",
        "priority": "P1",
        "delivery_status": "failed",
        "timestamp": "2026-11-20T08:30:00.000Z",
        "delivered_at": "2026-11-20T08:30:00.210Z",
        "read_at": "2026-11-20T08:30:01.000Z",
        "expires_at": "2026-11-21T08:30:00.000Z",
        "retry_count": 0,
        "session_id": SESSION,
        "failure": "the receiver was removed",
    })
}

pub(super) fn new_message() -> Value {
    json!({
        "receiver_bot": "upper-1",
        "content": "the build is green",
        "sender_bot": "planner-1",
        "priority": "P1",
        "ttl_seconds": 3_600,
        "session_id": SESSION,
    })
}
