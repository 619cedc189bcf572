//! Messages from bot to bot: durable, in order of priority, delivered at least once.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{BotMessageId, BotName, Priority, SessionId, Timestamp, Violation};

/// The state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Waits in the inbox of its receiver.
    Queued,
    /// The receiver was given it, and has not read it yet.
    Delivered,
    /// The receiver has read it.
    Read,
    /// Never read: the receiver was given it too often, or was removed.
    Failed,
    /// Never read: its time was over.
    Expired,
}

impl DeliveryStatus {
    /// Every state, in the order of the store's codes.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Expired,
    ];

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// Returns whether nothing happens to the message any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Read | Self::Failed | Self::Expired)
    }
}

impl FromStr for DeliveryStatus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|status| status.as_str() == text)
            .ok_or("expected queued, delivered, read, failed or expired")
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message to a bot, from a bot or an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Message {
    /// The id of the message. Ids of later messages are greater.
    #[schema(value_type = BotMessageId)]
    pub id: BotMessageId,
    /// The bot that sent the message; absent when an operator did so in person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_bot: Option<BotName>,
    /// The user whose key sent the message.
    #[schema(example = "ada")]
    pub sent_by: String,
    /// The bot that the message is for.
    pub receiver_bot: BotName,
    /// The text; absent in lists, and in the answer to its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "the build is green")]
    pub content: Option<String>,
    /// The priority: an inbox gives the most urgent messages first.
    pub priority: Priority,
    /// The state.
    pub delivery_status: DeliveryStatus,
    /// Time at which the message was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// Time at which the receiver was given the message last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
    /// Time at which the receiver said that it has read the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub read_at: Option<Timestamp>,
    /// Time at which the message expires unless it was read.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Number of deliveries after the first: the receiver had not read the message within
    /// `messaging.redeliver_after`.
    pub retry_count: u32,
    /// The session that the message belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Reason why the message failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "the receiver was removed")]
    pub failure: Option<String>,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// The bot that the message is for.
    pub receiver_bot: BotName,
    /// The text. Limit: `messaging.max_content_bytes`.
    #[schema(example = "the build is green")]
    pub content: String,
    /// The bot that sends it. A key of a bot sends as that bot, and as no other; an
    /// operator may name any bot, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_bot: Option<BotName>,
    /// The priority.
    #[serde(default)]
    pub priority: Priority,
    /// Time after which the message expires unless it was read, in seconds;
    /// `messaging.default_ttl` when absent, at most `messaging.max_ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub ttl_seconds: Option<u64>,
    /// The session that the message belongs to, which must be active; a bot may name only
    /// sessions that are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
}

/// Limits of a message, from the settings of the hive.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// Maximum size of the text, in bytes (`messaging.max_content_bytes`).
    pub max_content_bytes: u64,
    /// Maximum time until a message expires, in seconds (`messaging.max_ttl`).
    pub max_ttl_seconds: u64,
}

impl NewMessage {
    /// Returns the violations of these limits.
    pub fn violations(&self, limits: &MessageLimits) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut refuse = |pointer: &str, detail: String| {
            found.push(Violation {
                pointer: pointer.to_owned(),
                detail,
            });
        };
        let (bytes, most) = (self.content.len() as u64, limits.max_content_bytes);
        if bytes > most {
            let detail =
                format!("has {bytes} bytes; allowed are {most} (messaging.max_content_bytes)");
            refuse("/content", detail);
        }
        let most = limits.max_ttl_seconds;
        if let Some(ttl) = self.ttl_seconds.filter(|ttl| !(1..=most).contains(ttl)) {
            let detail = format!("is {ttl}; allowed are 1 to {most} (messaging.max_ttl)");
            refuse("/ttl_seconds", detail);
        }
        found
    }
}

/// A filter of messages; an absent field does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Messages in this state.
    pub status: Option<DeliveryStatus>,
    /// Messages that this bot sent.
    pub sender: Option<BotName>,
    /// Messages for this bot.
    pub receiver: Option<BotName>,
    /// Messages of this session.
    pub session: Option<SessionId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_no_others_do() {
        for status in DeliveryStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert!("lost".parse::<DeliveryStatus>().is_err());
    }

    #[test]
    fn each_limit_names_its_place() {
        let limits = MessageLimits {
            max_content_bytes: 3,
            max_ttl_seconds: 60,
        };
        for (content, ttl, expected) in [
            ("", None, &[][..]),
            ("abc", Some(60), &[]),
            ("abcd", Some(1), &["/content"]),
            ("ää", None, &["/content"]),
            ("a", Some(0), &["/ttl_seconds"]),
            ("abcd", Some(61), &["/content", "/ttl_seconds"]),
        ] {
            let message = NewMessage {
                receiver_bot: "b".parse().unwrap(),
                content: content.into(),
                sender_bot: None,
                priority: Priority::default(),
                ttl_seconds: ttl,
                session_id: None,
            };
            let found = message.violations(&limits);
            let pointers: Vec<_> = found.iter().map(|it| it.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{content:?} {ttl:?}");
        }
    }
}
