//! Sessions: tasks of a user that go to one bot, for as long as that bot lives.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{BotName, SessionId, Timestamp, Violation};

/// Consequence for a session of the death of its bot: it was stopped, removed, or is failing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBotDeath {
    /// The session goes on: the bot that gets its next task becomes its bot.
    #[default]
    Rebind,
    /// The session ends, and its waiting tasks fail.
    Fail,
}

impl OnBotDeath {
    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rebind => "rebind",
            Self::Fail => "fail",
        }
    }
}

impl FromStr for OnBotDeath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Rebind, Self::Fail]
            .into_iter()
            .find(|it| it.as_str() == text)
            .ok_or("expected rebind or fail")
    }
}

/// Reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// A caller ended it.
    Ended,
    /// Nothing happened in it for its idle time.
    Idle,
    /// The bot died, and the session was started with `on_bot_death: fail`.
    BotDied,
    /// The user was deleted or deactivated.
    UserGone,
}

impl SessionEnd {
    const ALL: [Self; 4] = [Self::Ended, Self::Idle, Self::BotDied, Self::UserGone];

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Idle => "idle",
            Self::BotDied => "bot_died",
            Self::UserGone => "user_gone",
        }
    }
}

impl FromStr for SessionEnd {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|it| it.as_str() == text)
            .ok_or("expected ended, idle, bot_died or user_gone")
    }
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session of a user with a bot. The tasks of the session go to its bot, while that bot is
/// launched and not failing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Session {
    /// The id of the session. Ids of later sessions are greater.
    #[schema(value_type = SessionId)]
    pub id: SessionId,
    /// The user who started the session, and alone submits tasks in it.
    #[schema(example = "ada")]
    pub user: String,
    /// The bot of the session; absent until a task of it has started, and after the bot died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotName>,
    /// Consequence of the death of the bot.
    pub on_bot_death: OnBotDeath,
    /// Time at which the session was started.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time at which the session ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Reason why the session ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<SessionEnd>,
    /// Time at which a task was last submitted, or a message sent, in the session.
    #[schema(value_type = String, format = DateTime)]
    pub last_activity: Timestamp,
    /// Time without activity, and without an unfinished task, after which the session ends,
    /// in seconds.
    pub idle_ttl_seconds: u64,
    /// True until the session ends.
    pub is_active: bool,
    /// Number of tasks submitted in the session.
    pub tasks_submitted: u64,
    /// Number of messages between bots that belong to the session.
    pub messages_exchanged: u64,
    /// The address from which the session was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "192.0.2.7")]
    pub ip_address: Option<String>,
    /// The program that started the session, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "deia/0.1.0")]
    pub user_agent: Option<String>,
}

/// A session to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The bot of the session, which must be launched; when absent, the bot that gets the
    /// first task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotName>,
    /// Consequence of the death of the bot.
    #[serde(default)]
    pub on_bot_death: OnBotDeath,
    /// Time without activity, and without an unfinished task, after which the session ends,
    /// in seconds; `messaging.sessions.idle_ttl` when absent, at most
    /// `messaging.sessions.max_idle_ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub idle_ttl_seconds: Option<u64>,
}

impl NewSession {
    /// Returns the violations of the limit on idle time, in seconds.
    pub fn violations(&self, max_idle_seconds: u64) -> Vec<Violation> {
        let allowed = 1..=max_idle_seconds;
        let wrong = self.idle_ttl_seconds.filter(|ttl| !allowed.contains(ttl));
        let told = wrong.map(|ttl| Violation {
            pointer: "/idle_ttl_seconds".to_owned(),
            detail: format!(
                "is {ttl}; allowed are 1 to {max_idle_seconds} (messaging.sessions.max_idle_ttl)"
            ),
        });
        told.into_iter().collect()
    }
}

/// A filter of sessions; an absent field does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Active sessions, or those that ended.
    pub active: Option<bool>,
    /// Sessions of this user.
    pub user: Option<String>,
    /// Sessions of this bot.
    pub bot: Option<BotName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for end in SessionEnd::ALL {
            assert_eq!(end.as_str().parse(), Ok(end));
            assert_eq!(serde_json::to_value(end).unwrap(), end.as_str());
        }
        for death in [OnBotDeath::Rebind, OnBotDeath::Fail] {
            assert_eq!(death.as_str().parse(), Ok(death));
            assert_eq!(serde_json::to_value(death).unwrap(), death.as_str());
        }
        assert!("forget".parse::<OnBotDeath>().is_err());
    }

    #[test]
    fn idle_time_has_a_limit() {
        for (ttl, fits) in [
            (None, true),
            (Some(0), false),
            (Some(60), true),
            (Some(61), false),
        ] {
            let session = NewSession {
                idle_ttl_seconds: ttl,
                ..NewSession::default()
            };
            assert_eq!(session.violations(60).is_empty(), fits, "{ttl:?}");
        }
    }
}
