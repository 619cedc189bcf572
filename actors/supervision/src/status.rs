//! Snapshots of a tree, for its operators.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    arbiters::SlotId,
    events::{optional_text, text},
    health::Health,
    intensity::Limit,
    record::{ChildRecord, ExitRecord},
    shedding::Suspended,
    spec::{Criticality, Restart, Strategy},
    state::{ChildState, Kind},
};

/// Snapshot of one child and all below it, cheap enough to take ten times a second with 10,000
/// children.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TreeStatus {
    /// Name of the child, which is unique among its siblings.
    #[serde(serialize_with = "text")]
    pub name: Arc<str>,
    /// Names from the root on, separated by `/`.
    #[serde(serialize_with = "text")]
    pub path: Arc<str>,
    /// Kind of the child: worker or supervisor.
    pub kind: Kind,
    /// Strategy of a supervisor; `None` for workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// State that the child is in.
    pub state: ChildState,
    /// True if the child has mail and handles none of it: see
    /// [`ChildSpec::stalled_after`](crate::ChildSpec::stalled_after).
    pub stalled: bool,
    /// Condition under which the child is started again.
    pub restart: Restart,
    /// Importance of the child.
    pub criticality: Criticality,
    /// Number of the current or last run, from 1; 0 if the child has never been started.
    pub incarnation: u64,
    /// Time for which the child has been up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// Number of automatic restarts since the tree was started.
    pub restarts: u64,
    /// Number of restarts that still count against its budget (at most 128 are counted).
    pub restarts_in_window: usize,
    /// Number of restarts of its children that count against the budget of a supervisor now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_used: Option<usize>,
    /// Number of restarts of its children that a supervisor allows within its period; none if
    /// unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// Number of messages waiting; withdrawn questions count until their room is needed. 0 for
    /// supervisors.
    pub mailbox_depth: usize,
    /// Number of messages that may wait. 0 for supervisors.
    pub mailbox_bound: usize,
    /// Number of messages handled since the tree was started. 0 for supervisors.
    pub handled: u64,
    /// Time spent working since the tree was started. An estimate, from a sample of one poll in
    /// eight. 0 for supervisors.
    pub busy_ms: u64,
    /// Estimated share of the time since its last start that the child has spent working, 0 to 1. 0
    /// for supervisors.
    pub busy_share: f64,
    /// Arbiter on which a worker runs: see [`Tree::arbiters`](crate::Tree::arbiters).
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub arbiter: Option<Arc<str>>,
    /// Reason for which the child is suspended, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspended>,
    /// Health that the child has reported since it was started, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Last exit of the child.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitRecord>,
    /// Last 16 exits of the child, the oldest first.
    pub exits: Vec<ExitRecord>,
    /// Children, in the order in which they start.
    pub children: Vec<TreeStatus>,
}

/// Snapshot of one arbiter of a tree.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ArbiterStatus {
    /// Name within the tree: `tree` for the one that started it, else that of its group and a
    /// number.
    #[serde(serialize_with = "text")]
    pub name: Arc<str>,
    /// Group of the arbiter: that of a [`Placement`](crate::Placement), or `own`.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub group: Option<Arc<str>>,
    /// Number of workers that run there, or are down and will be started there.
    pub children: usize,
    /// Estimated share of the time since the last reading, at least of the last second, that the
    /// arbiter's workers have worked, 0 to 1. Supervisors are not counted.
    pub busy_share: f64,
    /// Time since which the arbiter has given the watchdog no sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Timestamp>,
    /// True if the arbiter has been silent for too long. No child is placed there then.
    pub blocked: bool,
    /// True if the arbiter is blocked and its children have left it for good. Its thread is lost
    /// until the call that blocks it returns; the arbiter is listed until then.
    pub given_up: bool,
}

/// Inputs of a snapshot.
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) arbiters: HashMap<SlotId, Arc<str>>,
}

pub(crate) fn of(record: &ChildRecord, moment: &Moment) -> TreeStatus {
    let now = moment.now;
    let children = record.children();
    let registration = record.registration();
    let worker = record.kind == Kind::Worker;
    let busy_ns = record.busy_ns();
    let history = record.history();
    let busy_since_start_ns = busy_ns.saturating_sub(history.busy_before_ns);
    let uptime = history
        .started_at
        .map(|since| now.saturating_duration_since(since));
    let window = registration.and_then(|registration| registration.window);
    let restarts_in_window = within(&history.restarts, now, window);
    let own = record.supervisor.as_ref();
    let limit = own.and_then(|part| part.limit.get().copied());
    let budget_used = own.map(|_| within(&history.paid, now, limit));
    let state = record.state();
    let suspended = match state {
        ChildState::Suspended => history.suspended.clone(),
        _ => None,
    };
    let health = history.health.clone();
    let exits: Vec<ExitRecord> = history.exits.iter().cloned().collect();
    drop(history);
    TreeStatus {
        name: Arc::clone(&record.name),
        path: Arc::clone(record.path()),
        kind: record.kind,
        strategy: record.supervisor.as_ref().map(|part| part.strategy),
        state,
        stalled: record.is_stalled(),
        restart: registration
            .map(|registration| registration.policy.restart)
            .unwrap_or_default(),
        criticality: registration
            .map(|registration| registration.policy.criticality)
            .unwrap_or_default(),
        incarnation: record.incarnation(),
        uptime_ms: uptime.map(|up| u64::try_from(up.as_millis()).unwrap_or(u64::MAX)),
        restarts: record.restarts(),
        restarts_in_window,
        budget_used,
        budget: limit.map(|limit| limit.max_restarts),
        mailbox_depth: record.depth(),
        mailbox_bound: if worker { record.bound() } else { 0 },
        handled: record.handled(),
        busy_ms: busy_ns / 1_000_000,
        busy_share: share(busy_since_start_ns, uptime),
        arbiter: worker
            .then(|| moment.arbiters.get(&record.slot()).cloned())
            .flatten(),
        suspended,
        health,
        last_exit: exits.last().cloned(),
        exits,
        children: children.iter().map(|child| of(child, moment)).collect(),
    }
}

/// Returns the number of these times, the latest last, that lie within the window.
fn within(times: &VecDeque<Instant>, now: Instant, window: Option<Limit>) -> usize {
    let counts = |at: &&Instant| {
        window.is_none_or(|limit| now.saturating_duration_since(**at) <= limit.period)
    };
    times.iter().rev().take_while(counts).count()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn share(busy_ns: u64, uptime: Option<std::time::Duration>) -> f64 {
    match uptime.map(|up| up.as_nanos()) {
        None | Some(0) => 0.0,
        Some(up) => (busy_ns as f64 / up as f64).clamp(0.0, 1.0),
    }
}
