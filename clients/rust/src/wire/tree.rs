//! The supervision tree as the API shows it.

use deia_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A child of the supervision tree and all below it, at one moment. There is
/// more in it than is named here.
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
    /// Of a supervisor: `one_for_one`, `one_for_all`, `rest_for_one` or `dynamic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// What it is doing.
    #[schema(example = "running")]
    pub state: NodeState,
    /// Counts its runs, from 1; 0 if it has never been started.
    #[serde(default)]
    #[schema(required = true)]
    pub incarnation: u64,
    /// How long it has been up, in milliseconds.
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
    /// True if it has messages waiting and handles none of them.
    #[serde(default)]
    #[schema(required = true)]
    pub stalled: bool,
    /// The suspension: by whom, why and since when; absent unless it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspended>,
    /// Why and when it last went down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// Its last 16 exits, the oldest first.
    #[serde(default)]
    #[schema(required = true)]
    pub exits: Vec<LastExit>,
    /// Whatever else the hive says of it.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
    /// In the order of their start.
    #[serde(default)]
    #[schema(required = true, no_recursion)]
    pub children: Vec<SupervisorNode>,
}

/// The cause of a suspension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Suspended {
    /// Who suspended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A thread that actors run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Arbiter {
    /// `tree` for that of the supervisors, else that of its group and a number.
    pub name: String,
    /// The group that it belongs to; absent for that of the supervisors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "bots")]
    pub group: Option<String>,
    /// Actors that run there.
    #[serde(default)]
    #[schema(required = true)]
    pub children: u64,
    /// Share of the last second or more that it has worked, 0 to 1. An estimate.
    pub busy_share: f64,
    /// Since when it has given no sign of life; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub silent_since: Option<Timestamp>,
    /// True if that has been too long: no actor is placed there any more.
    pub blocked: bool,
    /// True if its actors have left it for good: its thread is lost until the call that
    /// blocks it returns.
    #[serde(default)]
    #[schema(required = true)]
    pub given_up: bool,
}

/// What can be done to a child of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupervisorAction {
    /// Stop it and start it again.
    Restart,
    /// Start it again after it was suspended.
    Resume,
}

impl SupervisorAction {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Resume => "resume",
        }
    }
}

/// Worker or supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Runs an actor.
    Worker,
    /// Runs children.
    Supervisor,
}

/// What happens to the siblings of a child that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing.
    OneForOne,
    /// All are started again.
    OneForAll,
    /// Those declared after it are started again.
    RestForOne,
    /// Nothing; children come and go at run time.
    Dynamic,
}

impl Strategy {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
            Self::Dynamic => "dynamic",
        }
    }
}

/// What a child is doing.
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
    /// Ended by itself, and left so.
    Ended,
    /// It declined to start.
    Ignored,
    /// Stopped on purpose, to be resumed.
    Suspended,
    /// It blocks its arbiter.
    Stuck,
    /// Used up its restart budget and was left down.
    Quarantined,
    /// Removed.
    Removed,
}

impl NodeState {
    /// Its name on the wire.
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

/// One past exit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LastExit {
    /// Why.
    pub reason: ExitCode,
    /// The text that came with it.
    #[serde(default)]
    pub message: Option<String>,
    /// When, by the wall clock of the server.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whatever else the hive says of it.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

/// Why a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// Its work was done.
    Normal,
    /// It was asked to.
    Shutdown,
    /// It panicked.
    Panicked,
    /// It stopped itself with an error.
    Failed,
    /// It could not start.
    StartFailed,
    /// Its restart budget was exhausted.
    GaveUp,
    /// It did not stop in time.
    Killed,
    /// It blocked its thread.
    Stuck,
}

impl ExitCode {
    /// Its name on the wire.
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
