//! The event log's entries: who did what to what, and with which result.

use serde::{Deserialize, Serialize, Serializer};

use super::Timestamp;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $level:ident,)*) => {
        /// What happened. Dotted names on the wire and in the store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum Action {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Action {
            /// Every action there is.
            pub const ALL: &'static [Action] = &[$(Action::$variant,)*];

            /// Its dotted name.
            pub fn as_str(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }

            /// How loud it is unless the event says otherwise.
            pub fn level(self) -> EventLevel {
                match self { $(Action::$variant => EventLevel::$level,)* }
            }

            /// The action of that dotted name.
            pub fn parse(name: &str) -> Option<Action> {
                match name { $($name => Some(Action::$variant),)* _ => None }
            }
        }
    };
}

actions! {
    /// A task was accepted.
    TaskSubmitted = "task.submitted" Info,
    /// An attempt began.
    TaskStarted = "task.started" Info,
    /// A task ended well.
    TaskCompleted = "task.completed" Info,
    /// A task ended badly with no attempt left.
    TaskFailed = "task.failed" Warning,
    /// An attempt ended badly and another will follow.
    TaskRetrying = "task.retrying" Warning,
    /// A task was called off, or that was asked for while it ran.
    TaskCancelled = "task.cancelled" Info,
    /// A task that had ended was put back into the queue by hand.
    TaskRequeued = "task.requeued" Info,
    /// The content of a task that had ended was erased, and all that came of it.
    TaskErased = "task.erased" Warning,
    /// Somebody asked for a running task to be cancelled.
    TaskCancelRequested = "task.cancel_requested" Info,
    /// A task was given up because it took its bots down with it.
    TaskDead = "task.dead" Critical,
    /// The queue, or one type of task in it, was paused.
    QueuePaused = "queue.paused" Warning,
    /// The queue, or one type of task in it, was resumed.
    QueueResumed = "queue.resumed" Info,
    /// A bot was put in place.
    BotCreated = "bot.created" Info,
    /// A bot's specification was replaced.
    BotChanged = "bot.changed" Info,
    /// A bot was removed.
    BotDeleted = "bot.deleted" Info,
    /// A bot was launched and is ready.
    BotStarted = "bot.started" Info,
    /// A bot takes nothing new from now on, and is stopped once it has nothing in hand.
    BotDraining = "bot.draining" Info,
    /// A bot was stopped on purpose, or has drained.
    BotStopped = "bot.stopped" Info,
    /// A bot went down.
    BotCrashed = "bot.crashed" Warning,
    /// A bot came back after a crash.
    BotRestarted = "bot.restarted" Info,
    /// A bot crashed too often and stays down until it is launched again.
    BotQuarantined = "bot.quarantined" Critical,
    /// A bot blocks the thread that it runs on. It is started again on another one.
    BotStuck = "bot.stuck" Critical,
    /// A bot has messages waiting and handles none of them.
    BotStalled = "bot.stalled" Critical,
    /// A bot that was stuck or stalled handles messages again.
    BotRecovered = "bot.recovered" Info,
    /// A bot goes on on another thread: its own was blocked.
    BotMoved = "bot.moved" Warning,
    /// A key was made.
    KeyCreated = "key.created" Info,
    /// A key was put in the place of another.
    KeyRotated = "key.rotated" Warning,
    /// A key was revoked.
    KeyRevoked = "key.revoked" Warning,
    /// An admin key was made on the machine of the hive itself, without a key.
    KeyRecovered = "key.recovered" Critical,
    /// A user was made.
    UserCreated = "user.created" Info,
    /// A user's role was changed, or whether they may act.
    UserChanged = "user.changed" Warning,
    /// A user was removed, with all keys.
    UserDeleted = "user.deleted" Warning,
    /// A secret was put into the secret store.
    SecretCreated = "secret.created" Info,
    /// A stored secret has another value.
    SecretChanged = "secret.changed" Warning,
    /// A stored secret was removed.
    SecretDeleted = "secret.deleted" Warning,
    /// All stored secrets were sealed with a new key.
    SecretResealed = "secret.resealed" Warning,
    /// Requests were refused: without a valid key, or beyond what it may do.
    ApiDenied = "api.denied" Warning,
    /// A session in a browser was opened.
    LoginOpened = "login.opened" Info,
    /// A session in a browser ended.
    LoginEnded = "login.ended" Info,
    /// The run before this one did not end in an orderly way.
    ShutdownUnclean = "shutdown.unclean" Critical,
    /// An orderly stop began.
    ShutdownInitiated = "shutdown.initiated" Info,
    /// A restart of the server was asked for.
    RestartRequested = "restart.requested" Warning,
    /// The new start of a restart failed, and the server went on with the previous binary.
    RestartFailed = "restart.failed" Critical,
    /// Somebody asked for a part of the supervision tree to be restarted, suspended
    /// or resumed. Recorded before it is done.
    PartRequested = "part.requested" Warning,
    /// A part of the supervision tree was restarted by hand.
    PartRestarted = "part.restarted" Warning,
    /// A part of the supervision tree was suspended by hand.
    PartSuspended = "part.suspended" Warning,
    /// A suspended part of the supervision tree was resumed by hand.
    PartResumed = "part.resumed" Info,
    /// Something inside failed that no caller was told of.
    SystemError = "system.error" Critical,
}

impl Action {
    /// Returns its level in the server's own log. `None` for what belongs
    /// to every task, request or session, and for what the supervision tree logs
    /// with more detail.
    pub fn log_level(self) -> Option<EventLevel> {
        use Action as A;
        match self {
            A::TaskDead | A::SystemError => Some(EventLevel::Critical),
            A::ApiDenied | A::KeyRecovered | A::ShutdownUnclean => Some(EventLevel::Warning),
            A::TaskSubmitted
            | A::TaskStarted
            | A::TaskCompleted
            | A::TaskFailed
            | A::TaskRetrying
            | A::TaskCancelled
            | A::TaskRequeued
            | A::TaskErased
            | A::TaskCancelRequested
            | A::LoginOpened
            | A::LoginEnded
            | A::BotStarted
            | A::BotCrashed
            | A::BotRestarted
            | A::BotQuarantined
            | A::BotStuck
            | A::BotStalled
            | A::BotRecovered
            | A::BotMoved
            | A::ShutdownInitiated => None,
            _ => Some(EventLevel::Info),
        }
    }
}

/// The action of a recorded event: one that this version knows, or the name of one
/// that it does not. A newer version may have written the log, or serve it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
pub enum EventAction {
    /// One that this version knows.
    Known(Action),
    /// The dotted name of another.
    Other(String),
}

impl EventAction {
    /// Returns the action, if this version knows it.
    pub fn known(&self) -> Option<Action> {
        match self {
            Self::Known(action) => Some(*action),
            Self::Other(_) => None,
        }
    }

    /// Returns its dotted name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(action) => action.as_str(),
            Self::Other(name) => name,
        }
    }
}

impl From<String> for EventAction {
    fn from(name: String) -> Self {
        Action::parse(&name).map_or(Self::Other(name), Self::Known)
    }
}

impl From<Action> for EventAction {
    fn from(action: Action) -> Self {
        Self::Known(action)
    }
}

impl PartialEq<Action> for EventAction {
    fn eq(&self, action: &Action) -> bool {
        matches!(self, Self::Known(known) if known == action)
    }
}

impl Serialize for EventAction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How loud an event is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EventLevel {
    /// The ordinary course of things.
    Info,
    /// Worth a look.
    Warning,
    /// Worth waking somebody.
    Critical,
}

/// How what the event tells of went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventResult {
    /// Done.
    Success,
    /// Not done.
    Failure,
    /// Done in part.
    Partial,
}

/// An event before it has its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened.
    pub action: Action,
    /// Who did it: a user, a bot, or `deia`.
    pub actor: String,
    /// What it was done to.
    pub target: String,
    /// How it went.
    pub result: EventResult,
    /// More about it; `Null` when there is nothing to add.
    pub details: serde_json::Value,
    /// The W3C trace that it belongs to.
    pub trace_id: Option<String>,
}

impl NewEvent {
    /// A successful one without details.
    pub fn new(action: Action, actor: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            action,
            actor: actor.into(),
            target: target.into(),
            result: EventResult::Success,
            details: serde_json::Value::Null,
            trace_id: None,
        }
    }

    /// With details.
    #[must_use]
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.details = details;
        self
    }

    /// That tells of a failure.
    #[must_use]
    pub fn failure(mut self) -> Self {
        self.result = EventResult::Failure;
        self
    }
}

/// An entry of the event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Place of the event in the log: strictly rising, never reused. For callers who
    /// see only tasks of their own: place in the answer, from 1.
    pub seq: u64,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What happened.
    #[schema(value_type = String, example = "task.completed")]
    pub action: EventAction,
    /// How loud it is.
    pub level: EventLevel,
    /// Who did it.
    pub actor: String,
    /// What it was done to.
    pub target: String,
    /// How it went.
    pub result: EventResult,
    /// More about it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
    /// The W3C trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// A filter of events. An event must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// An action such as `bot.crashed`, or a kind of them such as `bot`.
    pub action: Option<String>,
    /// The event's target.
    pub target: Option<String>,
    /// The event's actor.
    pub actor: Option<String>,
    /// Recorded then or later.
    pub after: Option<Timestamp>,
    /// Recorded before.
    pub before: Option<Timestamp>,
}

impl EventFilter {
    /// Returns whether an event is wanted.
    pub fn matches(&self, event: &Event) -> bool {
        let fits =
            |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let action = event.action.as_str();
        let kind = action.split('.').next().unwrap_or(action);
        self.action
            .as_ref()
            .is_none_or(|wanted| wanted == action || wanted == kind)
            && fits(&self.target, &event.target)
            && fits(&self.actor, &event.actor)
            && self.after.is_none_or(|at| event.at >= at)
            && self.before.is_none_or(|at| event.at < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dotted_unique_and_parse_back() {
        for action in Action::ALL {
            assert!(action.as_str().contains('.'), "{action:?}");
            assert_eq!(Action::parse(action.as_str()), Some(*action));
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        assert_eq!(Action::parse("task.unheard_of"), None);
    }

    #[test]
    fn all_of_a_filter_must_fit() {
        let event = Event {
            seq: 1,
            at: Timestamp::from_millis(1_000),
            action: Action::BotCrashed.into(),
            level: EventLevel::Warning,
            actor: "deia".into(),
            target: "b-1".into(),
            result: EventResult::Success,
            details: serde_json::Value::Null,
            trace_id: None,
        };
        let all = EventFilter::default();
        let action = |name: &str| EventFilter {
            action: Some(name.into()),
            ..all.clone()
        };
        let at = |ms: i64| Some(Timestamp::from_millis(ms));
        for (filter, expected) in [
            (all.clone(), true),
            (action("bot"), true),
            (action("bot.crashed"), true),
            (action("bot."), false),
            (action("bo"), false),
            (action("task"), false),
            (
                EventFilter {
                    target: Some("b-2".into()),
                    ..action("bot")
                },
                false,
            ),
            (
                EventFilter {
                    actor: Some("ada".into()),
                    ..all.clone()
                },
                false,
            ),
            (
                EventFilter {
                    after: at(1_000),
                    before: at(1_001),
                    ..all.clone()
                },
                true,
            ),
            (
                EventFilter {
                    before: at(1_000),
                    ..all
                },
                false,
            ),
        ] {
            assert_eq!(filter.matches(&event), expected, "{filter:?}");
        }
    }

    #[test]
    fn an_action_that_is_not_known_keeps_its_name() {
        for (name, known) in [("task.dead", true), ("task.unheard_of", false)] {
            let action = EventAction::from(name.to_owned());
            assert_eq!(matches!(action, EventAction::Known(_)), known, "{name}");
            let text = serde_json::to_value(&action).unwrap();
            assert_eq!(text, name);
            assert_eq!(serde_json::from_value::<EventAction>(text).unwrap(), action);
        }
    }
}
