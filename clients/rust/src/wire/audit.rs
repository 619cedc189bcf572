//! Shapes of requests about the audit trail.

use deia_model::{EventLevel, EventResult, ExternalAction};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// An event of another system, to be recorded in the audit trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAuditEvent {
    /// The action.
    pub action: ExternalAction,
    /// The target, in the words of the other system.
    #[schema(value_type = deia_model::text::ExternalTarget)]
    pub target: String,
    /// Further details: at most 32 KiB of JSON, nested at most 32 deep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"pipeline": 4711}))]
    pub details: Option<Map<String, Value>>,
    /// The level; `info` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<EventLevel>,
    /// The result of the action; `success` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<EventResult>,
}

impl NewAuditEvent {
    /// Creates a successful event of level `info`, without details.
    pub fn new(action: ExternalAction, target: impl Into<String>) -> Self {
        Self {
            action,
            target: target.into(),
            details: None,
            level: None,
            result: None,
        }
    }
}

/// The answer to an event that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedAuditEvent {
    /// Sequence number of the event in the event log. The entry of the audit trail has it
    /// as well.
    #[schema(example = 4711)]
    pub seq: u64,
}

/// The verifier key of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditKey {
    /// The key, as C2SP signed-note defines verifier keys.
    #[schema(example = "example.com/deia+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")]
    pub key: String,
}
