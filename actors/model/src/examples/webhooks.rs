//! Webhooks and their deliveries.

use serde_json::{Value, json};

pub(super) fn webhook() -> Value {
    json!({
        "id": "webhook_01h455vb4pex5vsknk084sn02q",
        "url": "https://hooks.example.com/deia",
        "description": "completed builds",
        "events": ["task.completed", "task.failed"],
        "task_types": ["development"],
        "tags": ["nightly"],
        "owners": ["ci"],
        "headers": ["x-team"],
        "signatures": ["v1", "v1a"],
        "concurrency": 4,
        "rate_per_second": 50,
        "owner": "ci",
        "status": "disabled",
        "disabled": {
            "at": "2026-11-25T08:30:00.000Z",
            "reason": "failing",
            "detail": "all deliveries failed since 2026-11-20T08:30:00.000Z",
            "by": "deia",
        },
        "failures_in_a_row": 12,
        "failing_since": "2026-11-20T08:30:00.000Z",
        "last_success_at": "2026-11-20T08:29:00.000Z",
        "last_failure_at": "2026-11-25T08:30:00.000Z",
        "last_error": "the endpoint answered 503",
        "waiting": 12,
        "lag_ms": 0,
        "missed": [{"from": "2026-11-10T08:30:00.000Z", "to": "2026-11-11T08:30:00.000Z"}],
        "public_key": "whpk_VdRyi6LsRZ/RZdTh33K8Ys2F1xaUHNVEXkIBS9TgpyE=",
        "old_secret_until": "2026-11-21T08:30:00.000Z",
        "version": 3,
        "created_at": "2026-11-01T08:30:00.000Z",
        "changed_at": "2026-11-25T08:30:00.000Z",
    })
}

pub(super) fn delivery() -> Value {
    json!({
        "id": "msg_01h455vb4pex5vsknk084sn02q",
        "type": "task.completed",
        "state": "waiting",
        "attempts": 2,
        "first_attempt_at": "2026-11-20T08:30:00.000Z",
        "last_attempt_at": "2026-11-20T08:30:05.000Z",
        "next_attempt_at": "2026-11-20T08:35:05.000Z",
    })
}
