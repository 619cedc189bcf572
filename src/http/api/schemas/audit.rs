//! Entities of the audit trail, with examples.

use deia_client::NewAuditEvent;
use deia_model::{
    AuditCheckpoint, AuditConsistency, AuditProof, AuditRecord, AuditStatistics, AuditVerification,
    schema::Entity,
};
use serde_json::{Value, json};

const PSEUDONYM: &str = "user_mfrggzdfmztwq2lkmfrggzdfmy";
const KEY: &str = "hive.example/deia+c3f1a9d2+AVsyVtxTHBEZOZdWTtwkZPqT0JzRZVSyIxOVlfJZZlyf";
const CHECKPOINT: &str = "hive.example/deia\n4712\nwuLRykYbSJoWAi1v+AoY6aLm8B4f+tcbM5rhNmGbyHo=\n\n\
    \u{2014} hive.example/deia w/Gp0hHNqjWM6cZ2Xk0NAsYpoqwHVTmb3wSmRmf5cEy1hV0Vd2Jr3QYlVbPEnNnQJ2ZqS0j8k1m2hX3bN4tW5cQ6rS7A=\n";

pub(super) fn entities() -> Result<Vec<Entity>, serde_json::Error> {
    Ok(vec![
        Entity::of_input::<NewAuditEvent>("NewAuditEvent", &new_event())?,
        Entity::of_input::<AuditRecord>("AuditRecord", &record())?,
        Entity::of_input::<AuditProof>("AuditProof", &proof())?,
        Entity::of_input::<AuditConsistency>("AuditConsistency", &consistency())?,
        Entity::of_input::<AuditCheckpoint>("AuditCheckpoint", &checkpoint())?,
        Entity::of_input::<AuditStatistics>("AuditStatistics", &statistics())?,
        Entity::of_input::<AuditVerification>("AuditVerification", &verification())?,
    ])
}

fn new_event() -> Value {
    json!({
        "action": "ext.deploy.approved", "target": "release 7",
        "details": {"pipeline": 4711}, "level": "warning", "result": "success",
    })
}

fn record() -> Value {
    json!({
        "index": 4711, "seq": 4713, "timeline": 1, "at": "2026-11-20T08:30:00.110Z",
        "action": "key.revoked", "level": "warning", "result": "success",
        "actor": "ada", "actor_id": PSEUDONYM,
        "target": {"type": "key", "id": "key_01h455vb4pex5vsknk084sn02q"}, "v": 1,
        "details": {"user": "ci"},
        "details_sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    })
}

fn proof() -> Value {
    json!({
        "index": 4711,
        "entry": format!(
            "{{\"action\":\"key.revoked\",\"actor\":\"{PSEUDONYM}\",\"at\":\"2026-11-20T08:30:00.110Z\",\
             \"details_sha256\":\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\",\
             \"level\":\"warning\",\"result\":\"success\",\"seq\":4713,\
             \"target\":{{\"id\":\"key_01h455vb4pex5vsknk084sn02q\",\"type\":\"key\"}},\"timeline\":1,\"v\":1}}"
        ),
        "details": "{\"user\":\"ci\"}", "salt": "b5bb9d8014a0f9b1d61e21e796d78dcc",
        "proof": format!(
            "c2sp.org/tlog-proof@v1\nindex 4711\nL+y0Iu7x1ZLtwxtsCSzLxGuRBqFeCvlcVKtUjJd8Fvc=\n\n{CHECKPOINT}"
        ),
        "checkpoint": CHECKPOINT, "keys": [KEY],
        "names": [{"id": PSEUDONYM, "name": "ada"}],
    })
}

fn consistency() -> Value {
    json!({
        "from": 4096, "to": 4712,
        "hashes": ["L+y0Iu7x1ZLtwxtsCSzLxGuRBqFeCvlcVKtUjJd8Fvc="],
    })
}

fn checkpoint() -> Value {
    json!({
        "origin": "hive.example/deia", "size": 4712,
        "root": "wuLRykYbSJoWAi1v+AoY6aLm8B4f+tcbM5rhNmGbyHo=",
        "sealed_at": "2026-11-20T08:30:00.200Z", "checkpoint": CHECKPOINT, "keys": [KEY],
        "lag_events": 0, "lag_ms": 0,
    })
}

fn statistics() -> Value {
    json!({
        "after": "2026-11-20T08:00:00Z", "before": "2026-11-20T09:00:00Z", "entries": 7,
        "by_action": {"top": [{"name": "task.completed", "entries": 6}, {"name": "key.revoked", "entries": 1}], "others": 0},
        "by_actor": {"top": [{"name": "upper-1", "entries": 6}, {"name": "ada", "id": PSEUDONYM, "entries": 1}], "others": 0},
        "by_level": [{"name": "info", "entries": 6}, {"name": "warning", "entries": 1}, {"name": "critical", "entries": 0}],
        "by_result": [{"name": "success", "entries": 7}, {"name": "failure", "entries": 0}, {"name": "partial", "entries": 0}],
        "span_seconds": 3600,
        "by_time": [{"at": "2026-11-20T08:00:00Z", "entries": 7, "warning": 1, "critical": 0}],
        "indexed_upto": 4712, "size": 4712,
    })
}

fn verification() -> Value {
    json!({
        "started_at": "2026-11-20T08:30:00Z", "started_by": "ada",
        "ended_at": "2026-11-20T08:30:04.200Z", "done": 20, "total": 20,
        "report": {
            "complete": true, "sound": false, "origin": "hive.example/deia", "size": 4712,
            "root": "wuLRykYbSJoWAi1v+AoY6aLm8B4f+tcbM5rhNmGbyHo=", "from": 0, "to": 4712,
            "entries": 4712, "tiles": 39, "checkpoints": 7, "details": 4100,
            "details_checked": true, "erased": 3, "pruned": 0,
            "faults": [{
                "place": "entry 300", "file": "tile/entries/001", "entry": 300, "seq": 302,
                "reason": "it is not what was hashed",
            }],
            "more_faults": 0,
        },
    })
}
