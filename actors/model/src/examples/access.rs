//! Users and keys.

use serde_json::{Value, json};

pub(super) fn key() -> Value {
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

pub(super) fn user() -> Value {
    json!({
        "id": "ci",
        "role": "external",
        "active": true,
        "version": 1,
        "created_at": "2026-11-20T08:00:00.000Z",
        "changed_at": "2026-11-20T08:00:00.000Z",
    })
}
