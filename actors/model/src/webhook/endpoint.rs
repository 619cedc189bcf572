//! An endpoint with its state, as it is shown.

use serde::{Deserialize, Serialize};

use super::WebhookSpec;
use crate::{Timestamp, WebhookId};

/// The state of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookStatus {
    /// Events are delivered.
    Enabled,
    /// Events are delivered, and the last deliveries failed.
    Failing,
    /// No events are delivered.
    Disabled,
}

/// The reason why an endpoint is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisableReason {
    /// A caller disabled it.
    Requested,
    /// It answered 410 Gone.
    Gone,
    /// All deliveries failed for `webhooks.disable_after`.
    Failing,
    /// More deliveries waited for a retry than `webhooks.max_waiting`.
    TooManyWaiting,
    /// It was further behind the event log than `webhooks.max_lag`.
    TooFarBehind,
    /// The owner lost the right to have endpoints.
    OwnerLostRights,
}

impl DisableReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Requested,
        Self::Gone,
        Self::Failing,
        Self::TooManyWaiting,
        Self::TooFarBehind,
        Self::OwnerLostRights,
    ];

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::TooManyWaiting => "too_many_waiting",
            Self::TooFarBehind => "too_far_behind",
            Self::OwnerLostRights => "owner_lost_rights",
        }
    }

    /// Returns whether the hive disabled the endpoint by itself, which needs a person.
    pub fn needs_a_person(self) -> bool {
        !matches!(self, Self::Requested | Self::OwnerLostRights)
    }
}

impl std::str::FromStr for DisableReason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|it| it.as_str() == text);
        known.ok_or("expected a reason such as requested or gone")
    }
}

/// Circumstances in which an endpoint was disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Disabled {
    /// Time at which it was disabled.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The reason.
    pub reason: DisableReason,
    /// The reason in a sentence.
    pub detail: String,
    /// The user who disabled it, or `deia`.
    pub by: String,
}

/// A time of which an endpoint got no events, because it was disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MissedRange {
    /// Time of the first event that may be missing.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Time from which events were delivered again.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
}

/// An endpoint outside of the hive that gets its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Webhook {
    /// Id of the endpoint.
    pub id: WebhookId,
    /// The settings.
    #[serde(flatten)]
    pub spec: WebhookSpec,
    /// The user whose visibility and rights decide which events are delivered.
    #[schema(example = "ci")]
    pub owner: String,
    /// The state.
    pub status: WebhookStatus,
    /// Circumstances in which it was disabled; absent when it is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// Number of deliveries that failed since the last that succeeded.
    pub failures_in_a_row: u32,
    /// Time of the first of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
    /// Time of the last delivery that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Timestamp>,
    /// Time of the last delivery that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_failure_at: Option<Timestamp>,
    /// The error of that delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Number of deliveries that wait for a retry.
    pub waiting: u64,
    /// Age of the oldest event that matched and was not tried yet, in milliseconds; 0
    /// when there is none.
    pub lag_ms: u64,
    /// Times of which it got no events, the newest first, at most ten.
    #[serde(default)]
    pub missed: Vec<MissedRange>,
    /// The key that verifies `v1a` signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "whpk_VdRyi6LsRZ/RZdTh33K8Ys2F1xaUHNVEXkIBS9TgpyE=")]
    pub public_key: Option<String>,
    /// Time until which deliveries are signed with the previous secret as well, while
    /// the secret is being rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub old_secret_until: Option<Timestamp>,
    /// Counts the changes, from 1; the `ETag`.
    pub version: u64,
    /// Time of registration.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
}

/// An endpoint with its secret, in the answers to a registration and a rotation alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WebhookWithSecret {
    /// The endpoint.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// The secret that verifies `v1` signatures. It is not shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: Option<String>,
}

secretive_debug!(WebhookWithSecret);
