//! Commands, and their replies. Each command is a type that names the type of its
//! reply; the enums behind them are for stores only.

mod access;
mod alerts;
mod attempts;
mod bots;
mod events;
mod messages;
mod mode;
mod queue;
mod secrets;
mod sessions;
mod settings;
mod system;
mod tasks;
mod web_sessions;
mod webhooks;

use std::fmt;

use deia_model::{Alert, KeyInfo, Message, OperatorLevel, Principal, Replay, Session, Task, User};

pub use self::{
    access::{
        AccessCommand, AccessLimits, AddKey, AddUser, AddedKey, ChangeUser, DeleteUser, NewUser,
        NoteKeyUses, RecoverAdmin, RevokeKey, RotateKey,
    },
    alerts::{AcknowledgeAlert, AlertCommand, SeenAlert, SettleAlerts},
    attempts::{
        AttemptReport, BotDelta, Claim, ClaimTasks, Claimed, ClaimedTask, ExtendLeases,
        FinishAttempts, FinishHeld, HeldAck, HeldAttempt, HeldLease, HoldLease, NoteProgress,
        ProgressReport, ReleaseLeases, ReportAck,
    },
    bots::{BotPorts, DeleteBot, MoveBot, NoteDrained, PutBot, SetDesired, StoredBot},
    events::{AppendExternal, BeginTimeline, PruneEvents},
    messages::{
        CloseMessages, MessageCommand, ReadMessage, SendMessage, SentMessage, TakeMessages,
    },
    mode::{EndMode, ModeCommand, SetMode},
    queue::{PauseQueue, Prune, Pruned, ResumeQueue, RunDue},
    secrets::{DeleteSecret, PutSecret, ResealSecrets, Resealed, SecretCommand, StoredSecret},
    sessions::{
        EndSession, ReleaseBot, SessionCommand, SettleSessions, StartSession, StartedSession,
    },
    settings::{Note, SettingsRecord, SettledVersion, StoredSettings, WriteSettings},
    system::{MarkRunning, ProbeWrite, RecordEvents},
    tasks::{CancelTask, EraseTask, Idempotency, RetryTask, Submission, Submit},
    web_sessions::{
        EndUserWebSessions, EndWebSessions, NoteWebSessionUses, OpenWebSession, WebSessionCommand,
    },
    webhooks::{
        AttemptRecord, ChangeWebhook, DeleteWebhook, DisableWebhook, EnableWebhook,
        RecordDeliveries, RegisterWebhook, ReplayProgress, RetryDelivery, SealedWebhookSecret,
        SecretNotes, StartReplay, StopReplay, StoredWebhook, WebhookCommand, WebhookHealth,
        WebhookLimits, WebhookOwner,
    },
};
use crate::Advance;

/// A durable change, and the type of its reply. Applied completely or not at all.
pub trait LedgerCommand: Into<Command> + Send + 'static {
    /// The reply, sent once the command is on disk.
    type Reply: fmt::Debug + Send + 'static;

    /// Extracts the reply to this command from the reply of a store; `None` if that is
    /// the reply to another command.
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

/// Connects the type of a command with its variant of [`Command`] and its reply.
macro_rules! ledger_command {
    ($name:ident, $into:expr, $reply:ty, $taken:pat => $value:expr) => {
        impl From<$name> for $crate::Command {
            fn from(command: $name) -> Self {
                $into(command)
            }
        }

        impl $crate::LedgerCommand for $name {
            type Reply = $reply;

            fn reply(reply: $crate::Reply) -> Option<$reply> {
                match reply {
                    $taken => Some($value),
                    _ => None,
                }
            }
        }
    };
}
use ledger_command;

/// Any command, as a store gets it.
#[derive(Clone, Debug)]
pub enum Command {
    /// A command of a caller, refused if the caller's access has changed since
    /// admission: the key is no longer in force, the session has ended, the user is not
    /// active, or the rights have changed. Checked in the transaction, so that
    /// revocation takes effect immediately.
    For {
        /// The caller, as admitted.
        who: Box<Principal>,
        /// The command, which must not be a `For` itself.
        command: Box<Command>,
    },
    /// See [`Submit`].
    Submit(Submit),
    /// See [`CancelTask`].
    CancelTask(CancelTask),
    /// See [`RetryTask`].
    RetryTask(RetryTask),
    /// See [`EraseTask`].
    EraseTask(EraseTask),
    /// See [`ClaimTasks`].
    ClaimTasks(ClaimTasks),
    /// See [`FinishAttempts`].
    FinishAttempts(FinishAttempts),
    /// See [`FinishHeld`].
    FinishHeld(Box<FinishHeld>),
    /// See [`ExtendLeases`].
    ExtendLeases(ExtendLeases),
    /// See [`HoldLease`].
    HoldLease(HoldLease),
    /// See [`ReleaseLeases`].
    ReleaseLeases(ReleaseLeases),
    /// See [`NoteProgress`].
    NoteProgress(NoteProgress),
    /// See [`RunDue`].
    RunDue(RunDue),
    /// See [`PauseQueue`].
    PauseQueue(PauseQueue),
    /// See [`ResumeQueue`].
    ResumeQueue(ResumeQueue),
    /// See [`Prune`].
    Prune(Prune),
    /// See [`PutBot`].
    PutBot(Box<PutBot>),
    /// See [`DeleteBot`].
    DeleteBot(DeleteBot),
    /// See [`SetDesired`].
    SetDesired(SetDesired),
    /// See [`MoveBot`].
    MoveBot(MoveBot),
    /// See [`NoteDrained`].
    NoteDrained(NoteDrained),
    /// A command about users and keys.
    Access(AccessCommand),
    /// A command about web sessions.
    WebSession(WebSessionCommand),
    /// A command about alerts.
    Alert(AlertCommand),
    /// A command about the level that an operator sets.
    Mode(ModeCommand),
    /// A command about sessions.
    Session(SessionCommand),
    /// A command about messages between bots.
    Message(MessageCommand),
    /// A command about webhooks.
    Webhook(WebhookCommand),
    /// A command about stored secrets.
    Secret(SecretCommand),
    /// See [`WriteSettings`].
    WriteSettings(Box<WriteSettings>),
    /// See [`Advance`].
    Advance(Advance),
    /// See [`PruneEvents`].
    PruneEvents(PruneEvents),
    /// See [`BeginTimeline`].
    BeginTimeline(BeginTimeline),
    /// See [`AppendExternal`].
    AppendExternal(AppendExternal),
    /// See [`RecordEvents`].
    RecordEvents(RecordEvents),
    /// See [`ProbeWrite`].
    ProbeWrite(ProbeWrite),
    /// See [`MarkRunning`].
    MarkRunning(MarkRunning),
}

impl Command {
    /// Returns the command on behalf of a caller.
    pub fn on_behalf_of(self, who: &Principal) -> Self {
        Self::For {
            who: Box::new(who.clone()),
            command: Box::new(self),
        }
    }

    /// Returns the command that changes something: the inner one of [`Self::For`].
    pub fn effect(&self) -> &Self {
        match self {
            Self::For { command, .. } => command.effect(),
            own => own,
        }
    }
}

/// Any reply, as a store gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To [`Submit`].
    Submitted(Submission),
    /// To [`ClaimTasks`].
    Claimed(Claimed),
    /// To [`ExtendLeases`]: one value for each lease, in order.
    Extended(Vec<bool>),
    /// To [`FinishHeld`].
    HeldFinished(HeldAck),
    /// To [`FinishAttempts`]: one outcome for each report, in order.
    Finished(Vec<ReportAck>),
    /// To [`CancelTask`] and [`RetryTask`]: the task after the change.
    Task(Box<Task>),
    /// To [`PutBot`] and [`SetDesired`].
    Bot(Box<StoredBot>),
    /// To [`AddKey`].
    KeyAdded(Box<AddedKey>),
    /// To [`RotateKey`], [`RevokeKey`] and [`RecoverAdmin`]: the new key, or the
    /// revoked one.
    Key(Box<KeyInfo>),
    /// To [`AddUser`].
    UserAdded(NewUser),
    /// To [`ChangeUser`] and [`DeleteUser`].
    User(User),
    /// To [`AcknowledgeAlert`].
    Alert(Box<Alert>),
    /// To [`SetMode`].
    OperatorLevel(Box<OperatorLevel>),
    /// To [`StartSession`].
    SessionStarted(Box<StartedSession>),
    /// To [`EndSession`].
    Session(Box<Session>),
    /// To [`SendMessage`].
    MessageSent(Box<SentMessage>),
    /// To [`TakeMessages`].
    Messages(Vec<Message>),
    /// To [`ReadMessage`].
    Message(Box<Message>),
    /// To commands about an endpoint: the endpoint after the change.
    Webhook(Box<StoredWebhook>),
    /// To [`StartReplay`] and [`StopReplay`].
    Replay(Box<Replay>),
    /// To [`Prune`].
    Pruned(Pruned),
    /// To [`AppendExternal`]: the sequence number of the event.
    Appended(u64),
    /// To all other commands: the number of changed rows.
    Done(u64),
}
