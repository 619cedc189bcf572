//! Shapes of requests about webhooks.

use deia_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The reason why an endpoint is disabled. An empty body names none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisableWebhookRequest {
    /// The reason, shown with the endpoint: at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// The options of a rotation of the secret. An empty body takes the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateWebhookSecretRequest {
    /// Time for which deliveries are signed with the previous secret as well, in
    /// seconds; `webhooks.secret_overlap` when absent. 0: only the new one signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 604800, example = 86400)]
    pub overlap_seconds: Option<u64>,
}

/// A range of time whose events are delivered again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Time of the oldest event.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Time before which the newest event was recorded; that of the request when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
}
