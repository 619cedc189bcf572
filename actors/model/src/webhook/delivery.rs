//! Deliveries of events to endpoints, their attempts, and replays.

use serde::{Deserialize, Serialize};

use crate::{MessageId, ReplayId, Timestamp};

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// The last attempt failed, and another follows.
    Waiting,
    /// The endpoint accepted it.
    Delivered,
    /// All attempts failed.
    Failed,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Failed];

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for DeliveryState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|it| it.as_str() == text);
        known.ok_or("expected waiting, delivered or failed")
    }
}

/// A delivery of one event to one endpoint. All deliveries that wait for a retry are listed,
/// of the others the last `webhooks.history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Delivery {
    /// The `webhook-id`, the same on every attempt.
    pub id: MessageId,
    /// Action of the event.
    #[serde(rename = "type")]
    #[schema(example = "task.completed")]
    pub action: String,
    /// State of the delivery.
    pub state: DeliveryState,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Time of the first attempt.
    #[schema(value_type = String, format = DateTime)]
    pub first_attempt_at: Timestamp,
    /// Time of the last attempt.
    #[schema(value_type = String, format = DateTime)]
    pub last_attempt_at: Timestamp,
    /// Time of the next attempt, while the delivery waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
}

/// A delivery with its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// The attempts, oldest first; of many, the last ones.
    pub tries: Vec<DeliveryAttempt>,
}

/// One attempt at a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeliveryAttempt {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Time at which it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Duration of the whole exchange, in milliseconds.
    pub duration_ms: u64,
    /// Status of the response; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 503)]
    pub status: Option<u16>,
    /// The reason of the failure; absent when it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "the endpoint answered 503")]
    pub error: Option<String>,
    /// Beginning of the response body, at most `webhooks.response_max_bytes`; bytes that
    /// are no UTF-8 are replaced.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub response: String,
    /// True if the response body was longer.
    #[serde(default)]
    pub response_truncated: bool,
}

/// The outcome of a test delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TestDelivery {
    /// The `webhook-id` of the test.
    pub id: MessageId,
    /// True if the endpoint answered with a 2xx status.
    pub delivered: bool,
    /// The attempt.
    pub attempt: DeliveryAttempt,
}

/// The state of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// Events are being delivered again.
    Running,
    /// All events of the range were delivered, or wait for a retry.
    Completed,
    /// A caller stopped it, or the endpoint was disabled.
    Stopped,
}

impl ReplayState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Running, Self::Completed, Self::Stopped];

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
        }
    }
}

/// A replay: the events of a range of time, delivered again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Replay {
    /// Id of the replay.
    pub id: ReplayId,
    /// Time of the oldest event.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Time before which the newest event was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// State of the replay.
    pub state: ReplayState,
    /// Share of the range that is done, in percent.
    pub progress_percent: f64,
    /// Number of events that the endpoint accepted.
    pub delivered: u64,
    /// Number of events whose delivery failed and waits for a retry.
    pub failed: u64,
    /// The user who started it.
    pub actor: String,
    /// Time at which it was started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Time at which it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// A type of event that endpoints can ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventType {
    /// The action.
    #[serde(rename = "type")]
    #[schema(example = "task.completed")]
    pub action: String,
    /// Meaning of the action.
    pub description: String,
    /// An example of the payload.
    #[schema(value_type = Object)]
    pub example: serde_json::Value,
}
