//! Settings and their versions.

use serde_json::{Value, json};

fn source() -> Value {
    json!({
        "layer": "api", "place": "config.changed of version 7", "by": "ada",
        "at": "2026-11-20T08:30:00.000Z",
    })
}

fn change() -> Value {
    json!({"key": "tasks.max_batch", "from": 1000, "to": 500})
}

pub(super) fn current() -> Value {
    json!({
        "version": 7,
        "items": [
            {"key": "tasks.max_batch", "value": 500, "source": source()},
            {
                "key": "telemetry.otlp_endpoint", "is_set": true,
                "source": {"layer": "file", "place": "/etc/deia.yaml:12"},
            },
        ],
    })
}

pub(super) fn value() -> Value {
    json!({
        "key": "tasks.max_batch", "value": 500, "is_set": true, "source": source(),
        "without_api": 1000, "default": 1000, "kind": "integer", "allowed": "1 to 10000",
        "takes_effect": "live",
        "on_change": "it takes effect at once, and is on probation for 60 s",
        "description": "Tasks in one batch, 1 to 10000.", "version": 7,
    })
}

pub(super) fn version() -> Value {
    json!({
        "version": 7, "at": "2026-11-20T08:30:00.000Z", "actor": "ada", "origin": "api",
        "restores": 5, "changes": [change()], "outcome": "probation",
        "reason": "a drill", "probation_until": "2026-11-20T08:31:00.000Z",
        "confirm_by": "2026-11-20T08:40:00.000Z", "confirmed_by": "ada",
    })
}

pub(super) fn status() -> Value {
    json!({
        "in_force": version(), "confirmed": 6, "overrides": ["tasks.max_batch"],
        "at_restart": ["server.workers"],
        "file": {
            "path": "/etc/deia.yaml", "watched": "events", "in_force": false,
            "rejected": true, "problem": "its content was taken back",
        },
        "taken_back": "the level was raised to 1: memory is short",
    })
}

pub(super) fn reload() -> Value {
    json!({
        "version": 7, "applied": true, "changes": [change()],
        "at_restart": ["server.workers"], "probation_until": "2026-11-20T08:31:00.000Z",
        "confirm_by": "2026-11-20T08:40:00.000Z", "record_pending": true,
    })
}

pub(super) fn check() -> Value {
    json!({
        "differs": true, "rejected": false, "changes": [change()],
        "at_restart": ["server.workers"],
        "problems": ["server.workers takes effect at the next start"],
    })
}
