//! The actions of the event log.

mod recorded;

use serde::{Deserialize, Serialize};

pub use self::recorded::EventAction;
use crate::{EventLevel, TargetType};

macro_rules! actions {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal $level:ident,)*) => {
        /// An action of the event log. Written as a dotted name on the wire and in the
        /// store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum Action {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Action {
            /// Returns the meaning of the action, in a sentence.
            pub fn description(self) -> &'static str {
                match self { $(Action::$variant => concat!($($doc),*).trim_ascii(),)* }
            }

            /// Every action, in the order of declaration.
            pub const ALL: &'static [Action] = &[$(Action::$variant,)*];

            /// Returns the dotted name.
            pub fn as_str(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }

            /// Returns the level of events of this action, unless an event sets its
            /// own.
            pub fn level(self) -> EventLevel {
                match self { $(Action::$variant => EventLevel::$level,)* }
            }

            /// Returns the action with the dotted name `name`, if there is one.
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
    /// A task completed.
    TaskCompleted = "task.completed" Info,
    /// A task failed and has no attempts left.
    TaskFailed = "task.failed" Warning,
    /// An attempt failed and the task will be attempted again.
    TaskRetrying = "task.retrying" Warning,
    /// A task was cancelled.
    TaskCancelled = "task.cancelled" Info,
    /// A finished task was put back into the queue by an operator.
    TaskRequeued = "task.requeued" Info,
    /// The content of a finished task was erased, with its outcome.
    TaskErased = "task.erased" Warning,
    /// Cancellation of a running task was requested.
    TaskCancelRequested = "task.cancel_requested" Info,
    /// A task failed because it took down its bots, or the hive, too often.
    TaskDead = "task.dead" Critical,
    /// The queue, or one task type, was paused.
    QueuePaused = "queue.paused" Warning,
    /// The queue, or one task type, was resumed.
    QueueResumed = "queue.resumed" Info,
    /// The queue, or one task type, was drained: paused, until none of its tasks was running
    /// or the caller waited no longer.
    QueueDrained = "queue.drained" Warning,
    /// The waiting tasks that matched a filter were cancelled.
    QueuePurged = "queue.purged" Warning,
    /// A bot was created.
    BotCreated = "bot.created" Info,
    /// A bot's specification was replaced.
    BotChanged = "bot.changed" Info,
    /// A bot was removed.
    BotDeleted = "bot.deleted" Info,
    /// The launch of a bot was requested.
    BotLaunchRequested = "bot.launch_requested" Info,
    /// A bot was launched and is ready.
    BotStarted = "bot.started" Info,
    /// A bot takes no new tasks, and stops once it has finished the running ones.
    BotDraining = "bot.draining" Info,
    /// A bot was stopped on purpose, or finished draining.
    BotStopped = "bot.stopped" Info,
    /// Someone sent a line of text to the program of a bot.
    BotAttached = "bot.attached" Warning,
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
    /// A bot failed too often: it takes no tasks for a while, and then one at a time.
    BotCircuitOpened = "bot.circuit_opened" Warning,
    /// A bot whose circuit was open takes tasks as before.
    BotCircuitClosed = "bot.circuit_closed" Info,
    /// The tasks of a bot that takes none go to its fallback bots; `details` has the reason.
    BotFallbackStarted = "bot.fallback_started" Warning,
    /// A bot takes its tasks itself again.
    BotFallbackEnded = "bot.fallback_ended" Info,
    /// A bot was moved to another thread because its own was blocked.
    BotMoved = "bot.moved" Warning,
    /// A key was created.
    KeyCreated = "key.created" Info,
    /// A key was replaced by a new one.
    KeyRotated = "key.rotated" Warning,
    /// A key was revoked.
    KeyRevoked = "key.revoked" Warning,
    /// An admin key was created on the machine of the hive itself, without a key.
    KeyRecovered = "key.recovered" Critical,
    /// A user was created.
    UserCreated = "user.created" Info,
    /// The role of a user was changed, or the user was activated or deactivated.
    UserChanged = "user.changed" Warning,
    /// A user was deleted, with all keys.
    UserDeleted = "user.deleted" Warning,
    /// A secret was added to the secret store.
    SecretCreated = "secret.created" Info,
    /// The value of a stored secret was changed.
    SecretChanged = "secret.changed" Warning,
    /// A stored secret was deleted.
    SecretDeleted = "secret.deleted" Warning,
    /// All stored secrets were sealed with a new key.
    SecretResealed = "secret.resealed" Warning,
    /// Requests were refused: not authenticated, or not permitted.
    ApiDenied = "api.denied" Warning,
    /// A request was answered. Recorded only as far as `audit.api_calls` says.
    ApiCall = "api.call" Info,
    /// A web session was opened.
    AuthLogin = "auth.login" Info,
    /// A web session ended.
    AuthLogout = "auth.logout" Info,
    /// The previous run did not end with an orderly stop.
    ShutdownUnclean = "shutdown.unclean" Critical,
    /// An orderly stop began.
    ShutdownInitiated = "shutdown.initiated" Info,
    /// A restart of the server was requested.
    RestartRequested = "restart.requested" Warning,
    /// The new start of a restart failed, and the server went on with the previous binary.
    RestartFailed = "restart.failed" Critical,
    /// Somebody requested a restart, suspension or resumption of a part of the
    /// supervision tree. Recorded before the action is carried out.
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
    /// An endpoint was registered.
    WebhookRegistered = "webhook.registered" Info,
    /// The settings or the secret of an endpoint were changed.
    WebhookChanged = "webhook.changed" Info,
    /// An endpoint was deleted.
    WebhookDeleted = "webhook.deleted" Info,
    /// An endpoint was enabled.
    WebhookEnabled = "webhook.enabled" Info,
    /// An endpoint was disabled, by a caller or because its deliveries failed.
    WebhookDisabled = "webhook.disabled" Warning,
    /// Events were delivered to an endpoint again, on request: one, or those of a range of
    /// time.
    WebhookReplayed = "webhook.replayed" Info,
    /// A replay was stopped before its end.
    WebhookReplayStopped = "webhook.replay_stopped" Info,
    /// A session was started.
    SessionStarted = "session.started" Info,
    /// A session was given its bot, with its first task or after it had lost the one before.
    SessionBound = "session.bound" Info,
    /// A session lost its bot: the next of its tasks gets another.
    SessionReleased = "session.released" Warning,
    /// A session ended.
    SessionEnded = "session.ended" Info,
    /// A message for a bot was accepted.
    MessageSent = "message.sent" Info,
    /// A bot was given a message.
    MessageDelivered = "message.delivered" Info,
    /// A bot has read a message.
    MessageRead = "message.read" Info,
    /// A message was given to its receiver too often without being read, or its receiver was
    /// removed.
    MessageFailed = "message.failed" Warning,
    /// A message was not read in time.
    MessageExpired = "message.expired" Warning,
    /// Settings changed while the hive ran.
    ConfigChanged = "config.changed" Warning,
    /// Settings were taken back: on request, because nobody confirmed them, or because the hive
    /// was in trouble after the change.
    ConfigReverted = "config.reverted" Critical,
    /// Changed settings were confirmed before their time was over.
    ConfigConfirmed = "config.confirmed" Info,
    /// The level at which features are shed has changed: by the signals, or by a caller.
    ModeChanged = "mode.changed" Warning,
    /// A feature was shed.
    FeatureSuspended = "feature.suspended" Warning,
    /// A feature that was shed is on again.
    FeatureResumed = "feature.resumed" Info,
    /// Entries of the audit trail that are past retention were deleted.
    AuditPruned = "audit.pruned" Info,
    /// A new log of the audit trail began, because the one before was lost or rolled back.
    AuditBegan = "audit.began" Critical,
    /// Events were gone before they were entered in the audit trail.
    AuditGap = "audit.gap" Critical,
    /// Details of entries of the audit trail were erased.
    AuditErased = "audit.erased" Warning,
    /// The key that signs the audit trail was replaced by a new one.
    AuditKeyRotated = "audit.key_rotated" Warning,
    /// A verification of the audit trail ended. Critical if the trail was found damaged.
    AuditVerified = "audit.verified" Info,
    /// Entries of the audit trail were exported.
    AuditExported = "audit.exported" Info,
    /// A restore point was made.
    BackupCreated = "backup.created" Info,
    /// A verification of the archive, or a restore of a point for practice, ended. Critical if
    /// an object was found damaged.
    BackupVerified = "backup.verified" Info,
    /// The archive cannot be written, or had to begin again with a snapshot.
    BackupFailed = "backup.failed" Critical,
    /// Restore points past their retention were removed, with the objects that only they
    /// needed.
    BackupPruned = "backup.pruned" Info,
    /// A restore was requested.
    RestoreStarted = "restore.started" Critical,
    /// The store was restored from the archive: it lacks the events after that point.
    RestoreCompleted = "restore.completed" Critical,
    /// A restore failed; nothing was replaced.
    RestoreFailed = "restore.failed" Critical,
    /// Work that a restore had paused was resumed.
    RestoreResumed = "restore.resumed" Warning,
    /// An orderly stop by others was announced: the next start does not report a crash.
    ShutdownMarked = "shutdown.marked" Warning,
    /// An internal error occurred that no caller was informed of.
    SystemError = "system.error" Critical,
}

impl Action {
    /// Returns the kind: the part of the name before the first dot.
    pub fn kind(self) -> &'static str {
        let name = self.as_str();
        name.split_once('.').map_or(name, |(kind, _)| kind)
    }

    /// Returns the type of the target, unless an event sets its own.
    pub fn target_type(self) -> TargetType {
        match self.kind() {
            "task" => TargetType::Task,
            "queue" => TargetType::Queue,
            "bot" => TargetType::Bot,
            "key" => TargetType::Key,
            "user" => TargetType::User,
            "secret" => TargetType::Secret,
            "auth" => TargetType::WebSession,
            "part" => TargetType::Supervisor,
            "api" => TargetType::Route,
            "alert" => TargetType::Alert,
            "webhook" => TargetType::Webhook,
            "message" => TargetType::Message,
            "session" => TargetType::Session,
            "backup" => TargetType::Backup,
            "audit" => match self {
                Self::AuditPruned | Self::AuditErased => TargetType::AuditEntries,
                _ => TargetType::Audit,
            },
            _ => TargetType::Hive,
        }
    }

    /// Returns the level in the server's own log. `None` for actions that occur for
    /// every task, request or session, and for those that the supervision tree logs
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
            | A::AuthLogin
            | A::AuthLogout
            | A::ApiCall
            | A::SessionStarted
            | A::SessionBound
            | A::SessionEnded
            | A::MessageSent
            | A::MessageDelivered
            | A::MessageRead
            | A::MessageFailed
            | A::MessageExpired
            | A::BotStarted
            | A::BotCrashed
            | A::BotRestarted
            | A::BotQuarantined
            | A::BotStuck
            | A::BotStalled
            | A::BotRecovered
            | A::BotCircuitOpened
            | A::BotCircuitClosed
            | A::BotFallbackStarted
            | A::BotFallbackEnded
            | A::BotMoved
            | A::ShutdownInitiated => None,
            _ => Some(EventLevel::Info),
        }
    }
}

#[cfg(test)]
mod tests;
