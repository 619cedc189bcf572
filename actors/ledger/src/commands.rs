//! Commands, and their replies. Each command is a type that names its reply, so a caller
//! gets that and nothing else; the enums behind them are for stores only.

mod access;
mod alerts;
mod attempts;
mod bots;
mod events;
mod queue;
mod secrets;
mod system;
mod tasks;
mod web_sessions;

use std::fmt;

use deia_model::{Alert, KeyInfo, Principal, Task, User};

pub use self::{
    access::{
        AccessCommand, AccessLimits, AddKey, AddUser, AddedKey, ChangeUser, DeleteUser, NewUser,
        NoteKeyUses, RecoverAdmin, RevokeKey, RotateKey,
    },
    alerts::{AcknowledgeAlert, AlertCommand, SeenAlert, SettleAlerts},
    attempts::{
        AttemptReport, BotDelta, Claim, ClaimTasks, Claimed, ClaimedTask, ExtendLeases,
        FinishAttempts, FinishOutcome, HeldLease, NoteProgress, ProgressReport, ReleaseLeases,
    },
    bots::{DeleteBot, NoteDrained, PutBot, SetDesired, StoredBot},
    events::PruneEvents,
    queue::{PauseQueue, Prune, Pruned, ResumeQueue, RunDue},
    secrets::{DeleteSecret, PutSecret, ResealSecrets, Resealed, SecretCommand, StoredSecret},
    system::{MarkRunning, ProbeWrite, RecordEvents},
    tasks::{CancelTask, Dedup, EraseTask, RetryTask, Submission, Submit},
    web_sessions::{EndLogins, EndUserLogins, LoginCommand, NoteLoginUses, OpenLogin},
};
use crate::Advance;

/// Something durable to do, and the type of its reply. Applied whole or not at all.
pub trait LedgerCommand: Into<Command> + Send + 'static {
    /// Result of the command once it is on disk.
    type Reply: fmt::Debug + Send + 'static;

    /// Takes the reply to this command out of a store's; `None` when it is the reply to
    /// another command.
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
    /// A command of a caller, refused when the caller's access has changed since
    /// they were let in: the key is no longer in force, the session is over, the
    /// user is not active, or the rights are others. Checked in the transaction, so
    /// that revocation holds from the next effect on.
    For {
        /// The caller, as they were let in.
        who: Box<Principal>,
        /// The command, which is not itself of this kind.
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
    /// See [`ExtendLeases`].
    ExtendLeases(ExtendLeases),
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
    PutBot(PutBot),
    /// See [`DeleteBot`].
    DeleteBot(DeleteBot),
    /// See [`SetDesired`].
    SetDesired(SetDesired),
    /// See [`NoteDrained`].
    NoteDrained(NoteDrained),
    /// Do something about users and keys.
    Access(AccessCommand),
    /// Do something about sessions in browsers.
    Login(LoginCommand),
    /// Do something about alerts.
    Alert(AlertCommand),
    /// Do something about stored secrets.
    Secret(SecretCommand),
    /// See [`Advance`].
    Advance(Advance),
    /// See [`PruneEvents`].
    PruneEvents(PruneEvents),
    /// See [`RecordEvents`].
    RecordEvents(RecordEvents),
    /// See [`ProbeWrite`].
    ProbeWrite(ProbeWrite),
    /// See [`MarkRunning`].
    MarkRunning(MarkRunning),
}

impl Command {
    /// Makes it the command of a caller.
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
    /// To [`ExtendLeases`]: one for each lease, in order.
    Extended(Vec<bool>),
    /// To [`FinishAttempts`]: one for each report, in order.
    Finished(Vec<FinishOutcome>),
    /// To [`CancelTask`] and [`RetryTask`]: the task as it now stands.
    Task(Box<Task>),
    /// To [`PutBot`] and [`SetDesired`].
    Bot(Box<StoredBot>),
    /// To [`AddKey`].
    KeyAdded(Box<AddedKey>),
    /// To what rotates, revokes or recovers a key: the new one, or the one it was.
    Key(Box<KeyInfo>),
    /// To [`AddUser`].
    UserAdded(NewUser),
    /// To [`ChangeUser`] and [`DeleteUser`].
    User(User),
    /// To [`AcknowledgeAlert`].
    Alert(Box<Alert>),
    /// To [`Prune`].
    Pruned(Pruned),
    /// To the rest: how many were touched.
    Done(u64),
}
