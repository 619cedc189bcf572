//! Bots.

use serde_json::{Value, json};

pub(super) fn bot() -> Value {
    json!({
        "id": "upper-1",
        "executor": {"kind": "command", "command": ["tr", "a-z", "A-Z"]},
        "status": "healthy",
        "desired": "launched",
        "version": 1,
        "port": 8001,
        "pids": [4711],
        "limits": {"memory_bytes": 1_073_741_824, "cpu_seconds": 600, "descriptors": 256, "processes": 64},
        "idle_timeout_seconds": 300,
        "probe": {"http_path": "/healthz", "every_seconds": 10, "timeout_seconds": 2, "failures": 3},
        "group": "agents",
        "labels": {"team": "core"},
        "template": "coder",
        "fallback": ["upper-2"],
        "fallback_in_use": {"reason": "circuit_open", "since": "2026-11-20T08:29:00.000Z"},
        "stands_in_for": ["upper-3"],
        "cpu_percent": 12.5,
        "memory_bytes": 52_428_800,
        "descriptors": 12,
        "processes": 3,
        "pause": {
            "reason": "429 Too Many Requests",
            "class": "rate_limited",
            "since": "2026-11-20T08:29:00.000Z",
            "until": "2026-11-20T08:30:00.000Z",
        },
        "circuit": {
            "state": "open",
            "since": "2026-11-20T08:29:00.000Z",
            "until": "2026-11-20T08:29:10.000Z",
            "failures": 10,
            "rate": 0.8,
        },
        "liveness": {"process": true, "channel": true, "progress_at": "2026-11-20T08:29:59.000Z"},
        "unreachable": "the probe GET /healthz at port 8001 was answered with 503",
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

pub(super) fn bot_spec() -> Value {
    json!({
        "executor": {"kind": "command", "command": ["tr", "a-z", "A-Z"]},
        "limits": {"memory_bytes": 1_073_741_824, "cpu_seconds": 600, "descriptors": 256, "processes": 64},
        "idle_timeout_seconds": 300,
        "probe": {"http_path": "/healthz", "every_seconds": 10, "timeout_seconds": 2, "failures": 3},
        "group": "agents",
        "labels": {"team": "core"},
        "template": "coder",
        "fallback": ["upper-2"],
        "secrets": {"API_KEY": {"file": "/etc/deia/secrets/api"}},
        "capabilities": {"bot_type": "general", "specializations": ["general"], "max_concurrent_tasks": 4},
    })
}
