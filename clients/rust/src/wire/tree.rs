//! The supervision tree as the API shows it.

use deia_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A child of the supervision tree and its descendants, at one moment. The answer may
/// have more members than are named here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SupervisorNode {
    /// Name among its siblings.
    pub name: String,
    /// Names from the root on, separated by `/`.
    #[serde(default)]
    #[schema(required = true, example = "hive/core/scheduler")]
    pub path: String,
    /// `worker` or `supervisor`.
    pub kind: NodeKind,
    /// The strategy of a supervisor: `one_for_one`, `one_for_all`, `rest_for_one` or
    /// `dynamic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// The current state.
    #[schema(example = "running")]
    pub state: NodeState,
    /// Number of the current run, from 1; 0 if the child was never started.
    #[serde(default)]
    #[schema(required = true)]
    pub incarnation: u64,
    /// Time for which the child has been up, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// Automatic restarts since the tree was started.
    #[serde(default)]
    #[schema(required = true)]
    pub restarts: u64,
    /// Messages waiting.
    #[serde(default)]
    #[schema(required = true)]
    pub mailbox_depth: u64,
    /// Messages handled since the tree was started.
    #[serde(default)]
    #[schema(required = true)]
    pub handled: u64,
    /// The thread that a worker runs on: see `GET /api/v1/arbiters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "bots-1")]
    pub arbiter: Option<String>,
    /// True if the child has messages waiting and handles none of them.
    #[serde(default)]
    #[schema(required = true)]
    pub stalled: bool,
    /// The suspension: by whom, why and since when; absent unless it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspended>,
    /// The last exit: reason and time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// The last 16 exits, the oldest first.
    #[serde(default)]
    #[schema(required = true)]
    pub exits: Vec<LastExit>,
    /// Further members of the answer.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
    /// The children, in the order of their start.
    #[serde(default)]
    #[schema(required = true, no_recursion)]
    pub children: Vec<SupervisorNode>,
}

/// The cause of a suspension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Suspended {
    /// The user who suspended the child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Time of the suspension.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A thread that actors run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Arbiter {
    /// `tree` for that of the supervisors, otherwise the name of its group and a
    /// number.
    pub name: String,
    /// The group that the thread belongs to; absent for that of the supervisors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "bots")]
    pub group: Option<String>,
    /// Number of actors that run there.
    #[serde(default)]
    #[schema(required = true)]
    pub children: u64,
    /// Share of the last second or more in which the thread has worked, 0 to 1. An
    /// estimate.
    pub busy_share: f64,
    /// Time since which the thread has given no sign of life; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub silent_since: Option<Timestamp>,
    /// True if the silence is too long: no more actors are placed there.
    pub blocked: bool,
    /// True if its actors have left it permanently: the thread is lost until the call
    /// that blocks it returns.
    #[serde(default)]
    #[schema(required = true)]
    pub given_up: bool,
}

/// An action on a child of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupervisorAction {
    /// Stop the child and start it again.
    Restart,
    /// Start the child again after a suspension.
    Resume,
}

impl SupervisorAction {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Resume => "resume",
        }
    }
}

/// The kind of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Runs an actor.
    Worker,
    /// Runs children.
    Supervisor,
}

/// The effect of a failed child on its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// None.
    OneForOne,
    /// All are restarted.
    OneForAll,
    /// The siblings declared after the child are restarted.
    RestForOne,
    /// None; children are added and removed at run time.
    Dynamic,
}

impl Strategy {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
            Self::Dynamic => "dynamic",
        }
    }
}

/// The state of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Declared, not started yet; or its supervisor is down.
    Declared,
    /// Being built; not ready yet.
    Starting,
    /// Up.
    Running,
    /// Asked to stop.
    Stopping,
    /// Ended, waiting for its restart.
    Restarting,
    /// Terminated on request.
    Terminated,
    /// Ended by itself, and not restarted.
    Ended,
    /// Declined to start.
    Ignored,
    /// Stopped on purpose, until it is resumed.
    Suspended,
    /// Blocks its arbiter.
    Stuck,
    /// Used up its restart budget and was left down.
    Quarantined,
    /// Removed.
    Removed,
}

impl NodeState {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Terminated => "terminated",
            Self::Ended => "ended",
            Self::Ignored => "ignored",
            Self::Suspended => "suspended",
            Self::Stuck => "stuck",
            Self::Quarantined => "quarantined",
            Self::Removed => "removed",
        }
    }
}

/// A past exit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LastExit {
    /// The reason.
    pub reason: ExitCode,
    /// The message of the error or the panic.
    #[serde(default)]
    pub message: Option<String>,
    /// Time of the exit, by the wall clock of the server.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Further members of the answer.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

/// The reason of an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// The child finished its work.
    Normal,
    /// The child was asked to stop.
    Shutdown,
    /// The child panicked.
    Panicked,
    /// The child stopped itself with an error.
    Failed,
    /// The child could not start.
    StartFailed,
    /// The restart budget was exhausted.
    GaveUp,
    /// The child did not stop in time.
    Killed,
    /// The child blocked its thread.
    Stuck,
}

impl ExitCode {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown => "shutdown",
            Self::Panicked => "panicked",
            Self::Failed => "failed",
            Self::StartFailed => "start_failed",
            Self::GaveUp => "gave_up",
            Self::Killed => "killed",
            Self::Stuck => "stuck",
        }
    }
}
