//! The actions of the event log, and the types of their targets.

use serde::{Deserialize, Serialize, Serializer};

use crate::EventLevel;

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

            /// Returns the action of that dotted name.
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
    /// A condition that needs a person was found.
    AlertRaised = "alert.raised" Critical,
    /// A user takes care of an alert.
    AlertAcknowledged = "alert.acknowledged" Info,
    /// The condition of an alert is gone.
    AlertResolved = "alert.resolved" Info,
    /// Something inside failed that no caller was told of.
    SystemError = "system.error" Critical,
}

impl Action {
    /// Returns its kind: the part of its name before the first dot.
    pub fn kind(self) -> &'static str {
        let name = self.as_str();
        name.split_once('.').map_or(name, |(kind, _)| kind)
    }

    /// Returns the type of its targets, unless an event says otherwise.
    pub fn target_type(self) -> TargetType {
        match self.kind() {
            "task" => TargetType::Task,
            "queue" => TargetType::Queue,
            "bot" => TargetType::Bot,
            "key" => TargetType::Key,
            "user" => TargetType::User,
            "secret" => TargetType::Secret,
            "login" => TargetType::WebSession,
            "part" => TargetType::Supervisor,
            "api" => TargetType::Route,
            "alert" => TargetType::Alert,
            _ => TargetType::Hive,
        }
    }

    /// Returns its level in the server's own log. `None` for what belongs
    /// to every task, request or session, and for what the supervision tree logs
    /// with more detail.
    pub fn log_level(self) -> Option<EventLevel> {
        use Action as A;
        match self {
            A::TaskDead | A::SystemError => Some(EventLevel::Critical),
            A::ApiDenied | A::KeyRecovered | A::ShutdownUnclean | A::AlertRaised => {
                Some(EventLevel::Warning)
            }
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

/// The type of an event's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetType {
    /// A task.
    Task,
    /// The queue, or one type of task in it.
    Queue,
    /// A bot.
    Bot,
    /// A key.
    Key,
    /// A user.
    User,
    /// A stored secret.
    Secret,
    /// A session in a browser.
    WebSession,
    /// A part of the supervision tree, by its path.
    Supervisor,
    /// A route of the API.
    Route,
    /// An alert.
    Alert,
    /// The hive as a whole.
    Hive,
    /// A row of the store.
    Row,
}

impl TargetType {
    /// Returns its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Queue => "queue",
            Self::Bot => "bot",
            Self::Key => "key",
            Self::User => "user",
            Self::Secret => "secret",
            Self::WebSession => "web_session",
            Self::Supervisor => "supervisor",
            Self::Route => "route",
            Self::Alert => "alert",
            Self::Hive => "hive",
            Self::Row => "row",
        }
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
