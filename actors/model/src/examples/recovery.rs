//! Examples of the archive and its restore points.

use serde_json::{Value, json};

const POINT: &str = "point_01h455vb4pex5vsknk084sn02q";
const GENERATION: &str = "gen-0193a1c27c6e7a0fb3f0a1b2c3d4e5f6";

pub(super) fn point() -> Value {
    json!({
        "id": POINT, "kind": "backup", "label": "before upgrade",
        "created_at": "2026-11-20T08:30:00.110Z", "at": "2026-11-20T08:29:59.870Z",
        "position": "1.4711", "generation": GENERATION, "database_bytes": 4_194_304,
        "verified_at": "2026-11-20T09:00:03.300Z",
    })
}

pub(super) fn status() -> Value {
    json!({
        "url": "file:///mnt/nas/backups", "same_disk": false, "mode": "async",
        "state": "failing",
        "failing": {
            "since": "2026-11-20T08:40:00.000Z",
            "reason": "/mnt/nas/backups: No space left on device (os error 28)",
        },
        "exposure_seconds": 12.5, "archived_at": "2026-11-20T08:39:47.500Z",
        "generation": GENERATION, "generation_reason": "the archive is new",
        "archive_was_ahead": true, "archive_ahead_point": POINT,
        "points": 144, "newest_point": point(),
        "archive_bytes": 73_400_320, "verified_at": "2026-11-20T09:00:03.300Z",
        "damaged": [fault()], "damaged_total": 1, "drill_every_seconds": 86_400,
        "drill_failed": { "since": "2026-11-20T09:00:03.300Z", "reason": fault()["reason"] },
        "restore_seconds": 3.2, "restore_estimate_seconds": 3.5, "not_included": ["admin.key"], "encrypted": false,
        "key_files": "encrypted", "files_waiting": 0,
        "previous_shutdown": {
            "clean": false, "last_event_at": "2026-11-20T06:12:00.000Z", "down_seconds": 42,
            "crash_report": "/var/lib/deia/crash-report.previous.txt",
        },
        "restored": {
            "restored_at": "2026-11-20T06:12:40.000Z", "to": "2026-11-20T06:00:00.000Z",
            "position": "1.4500", "lost_up_to": "1.4620", "paused": true,
            "notes": ["tasks that ended after the restored moment run again"],
            "report": report(),
        },
        "replaced": [{
            "path": "/var/lib/deia/replaced-1763625600000",
            "replaced_at": "2026-11-20T08:00:00.000Z", "bytes": 4_194_304,
        }],
        "job": job(),
    })
}

pub(super) fn job() -> Value {
    json!({
        "kind": "verify", "state": "failed", "started_by": "ada",
        "started_at": "2026-11-20T09:00:00.000Z", "ended_at": "2026-11-20T09:00:03.300Z",
        "point": POINT, "detail": "1 object of 1204 is not sound",
        "faults": [fault()], "report": report(),
    })
}

fn fault() -> Value {
    json!({
        "place": "/mnt/nas/backups/hive-1/points/point_01h455vb4pex5vsknk084sn02q.json",
        "reason": "its content does not match its checksum",
    })
}

fn report() -> Value {
    json!({
        "compared_with": "store",
        "lost": {
            "events": 120, "up_to": "1.4620", "until": "2026-11-20T06:11:59.000Z",
            "seconds": 719, "tasks_submitted": 31, "tasks_ended": 28, "keys": 1,
            "is_complete": true,
        },
        "repeats": {
            "tasks": ["task_01h455vb4pex5vsknk084sn02q"], "tasks_total": 1, "deliveries": 2,
        },
        "valid_again": [{
            "kind": "key", "id": "key_01h455vb4pex5vsknk084sn02q", "user": "ada",
            "change": "was revoked",
        }],
        "valid_again_total": 1,
    })
}
