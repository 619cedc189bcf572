//! Entities of degradation, with examples.

use deia_model::{DegradationStatus, FeatureStatus, ModeChange, schema::Entity};
use serde_json::{Value, json};

pub(super) fn entities() -> Result<Vec<Entity>, serde_json::Error> {
    Ok(vec![
        Entity::of_input::<ModeChange>("ModeChange", &change())?,
        Entity::of_input::<DegradationStatus>("DegradationStatus", &status())?,
        Entity::of_input::<FeatureStatus>("FeatureStatus", &feature())?,
    ])
}

fn change() -> Value {
    json!({"level": 2, "auto": false, "reason": "drill", "duration_seconds": 600})
}

fn status() -> Value {
    json!({
        "mode": "maintenance", "level": 2, "effect": "important and optional features are shed",
        "source": "operator", "since": "2026-11-20T08:30:00.110Z", "why": "set by ada: drill",
        "signals_level": 0,
        "operator": {
            "level": 2, "reason": "drill", "by": "ada",
            "since": "2026-11-20T08:30:00.110Z", "until": "2026-11-20T08:40:00.110Z",
        },
        "enabled": true,
        "shed": ["webhook_delivery", "analytics", "live_stream"],
        "signals": [{
            "signal": "memory", "state": "clear", "since": "2026-11-20T07:00:00.000Z",
            "tripped": false, "max_level": 3,
            "reading": "31.0 % of the memory is in use (trips at 85 %, clears at 70 %)",
            "value": 31.0, "hold_ms": 5_000, "clear_hold_ms": 30_000,
        }],
    })
}

fn feature() -> Value {
    json!({
        "feature": "webhook_delivery",
        "description": "Events are delivered to endpoints: late while it is shed, but none is lost.",
        "class": "important", "shed_at": 2, "state": "off",
        "why": "it is shed at level 2: set by ada: drill",
        "since": "2026-11-20T08:30:00.200Z",
        "returns": "the end of the level that ada has set, at 2026-11-20T08:40:00.110Z, or deia degrade auto",
        "parts": ["hive/services/webhooks"],
    })
}
