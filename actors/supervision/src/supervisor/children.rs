//! The children of one supervisor, in their order, with the phase of each.

use std::{
    collections::{BTreeMap, btree_map},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use tokio::time::Instant;

pub(super) use super::after_stop::AfterStop;
use super::handle::{ChildReply, StartReply};
use crate::{
    arbiters::{HERE, NOWHERE, SlotGuard},
    child::WorkerBody,
    control::{Control, ControlSender, Parked},
    intensity::Window,
    panic::drop_quietly,
    record::{ChildId, ChildRecord},
    shedding::Suspended,
    spec::{MailWhileSuspended, Placement, Policy},
    state::{ChildState, Kind},
};

pub(super) struct Child {
    pub(super) record: Arc<ChildRecord>,
    pub(super) policy: Arc<Policy>,
    pub(super) control: ControlSender,
    pub(super) assignment: Assignment,
    /// True if the child was declared with its supervisor, rather than added at run time.
    pub(super) declared: bool,
    phase: ChildPhase,
    pub(super) incarnation: u64,
    pub(super) window: Window,
    /// Number of restarts in a row.
    pub(super) attempt: u32,
    pub(super) up_since: Option<Instant>,
    /// Placement that the child was moved to, which overrides the one in its specification.
    pub(super) moved_to: Option<Placement>,
    /// Placement that the child goes back to if its first start after a move fails.
    moved_from: Option<Option<Placement>>,
    /// True if the child was killed because it handled none of its mail.
    pub(super) is_stalled: bool,
    /// True if the child must get another task before it is started again.
    pub(super) is_moving: bool,
    /// Time at which the child's own timer fires: its restart is due, or its stop has taken too
    /// long.
    pub(super) timer: Option<Instant>,
    /// Cause of the start when the child's turn comes, if it is not a restart.
    pub(super) deferred_start: Option<StartCause>,
    /// Callers that wait for the child to be down.
    pub(super) stop_replies: Vec<ChildReply>,
    /// True if the child was not ready in time, and was asked to stop.
    pub(super) start_timed_out: bool,
    /// Time by which the child must be ready, if it is starting and there is a limit.
    pub(super) start_due: Option<Instant>,
    /// True if the child has been up since its supervisor began.
    pub(super) has_been_up: bool,
    /// Suspension of the child by its own path, rather than as part of a whole. Such a child is
    /// resumed only by its path.
    pub(super) suspended_by_hand: Option<Suspended>,
    /// Last reason for being down that was reported to the child.
    parked: Option<Parked>,
}

/// Task that runs a worker, and the arbiter it runs on. A supervisor runs itself.
#[derive(Default)]
pub(super) struct Assignment {
    pub(super) worker: Option<Arc<dyn WorkerBody>>,
    pub(super) slot_guard: Option<SlotGuard>,
}

impl Assignment {
    /// Returns true if the child has no worker task, and needs one to start.
    pub(super) fn is_unassigned(&self) -> bool {
        self.worker.is_some() && self.slot_guard.is_none()
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        if self.is_unassigned()
            && let Some(worker) = &self.worker
        {
            worker.close(); // there is no worker task that would
        }
        let _ = drop_quietly(self.worker.take());
    }
}

pub(super) enum ChildPhase {
    Down(ChildState),
    Restarting,
    Starting(StartCause),
    Up,
    Stopping(AfterStop),
}

/// Cause of the start of a child.
pub(super) enum StartCause {
    Initial,
    Added(StartReply),
    /// The child was down, and somebody asked for it to run again.
    Manual(ChildReply),
    /// The child was to run, and was stopped to be started again, here or elsewhere.
    Bounced(ChildReply),
    Resumed(ChildReply),
    Again,
}

impl Child {
    pub(super) fn new(
        record: Arc<ChildRecord>,
        policy: Arc<Policy>,
        control: ControlSender,
        assignment: Assignment,
        declared: bool,
    ) -> Self {
        Self {
            record,
            policy,
            control,
            assignment,
            declared,
            phase: ChildPhase::Down(ChildState::Declared),
            incarnation: 0,
            window: Window::default(),
            attempt: 0,
            up_since: None,
            moved_to: None,
            moved_from: None,
            is_stalled: false,
            is_moving: false,
            timer: None,
            deferred_start: None,
            stop_replies: Vec::new(),
            start_timed_out: false,
            start_due: None,
            has_been_up: false,
            suspended_by_hand: None,
            parked: None,
        }
    }

    /// Reports to the child why it is down. Supervisors answer requests accordingly; workers refuse
    /// questions, and some of them mail. `inherited` is the reason for which the supervisor stays
    /// down, if it does.
    fn tell_why_it_is_down(&mut self, inherited: Option<Parked>) {
        let parked = match (self.phase.parked(), inherited) {
            (Some(Parked::Suspended), _) => Some(Parked::Suspended),
            (own, None) => own,
            (_, inherited) => inherited,
        };
        if std::mem::replace(&mut self.parked, parked) == parked {
            return;
        }
        if self.record.kind == Kind::Supervisor {
            self.control.send(Control::Park(parked));
            return;
        }
        // First, so that no question comes in behind those that are dropped.
        self.record.set_parked(parked);
        let Some(worker) = &self.assignment.worker else {
            return;
        };
        if parked.is_some() {
            worker.drop_questions();
        }
        if self.policy.mail_while_suspended == MailWhileSuspended::Refuse {
            let refuses = parked == Some(Parked::Suspended);
            self.record.set_refuses_mail(refuses);
            worker.wake_senders();
        }
    }

    pub(super) fn phase(&self) -> &ChildPhase {
        &self.phase
    }

    /// Returns true if the child runs on another arbiter than its supervisor.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.record.slot() != HERE
    }

    /// Makes the child run elsewhere from its next start on.
    pub(super) fn move_to(&mut self, placement: Placement) {
        let before = self.moved_to.replace(placement);
        self.moved_from.get_or_insert(before);
    }

    /// Keeps the new placement, because the child came up there.
    pub(super) fn stay_moved(&mut self) {
        self.moved_from = None;
    }

    /// Undoes the last move, if there was one, because the child did not come up there.
    pub(super) fn move_back(&mut self) {
        if let Some(before) = self.moved_from.take() {
            self.moved_to = before;
            self.release();
        }
    }

    /// Takes the child's task away; the next start gives it another. The lease has been ended.
    pub(super) fn unassign(&mut self) {
        self.record.set_slot(NOWHERE);
        self.assignment.slot_guard = None;
    }

    /// Ends the lease of the child's task, and takes the task away. The child must be down.
    pub(super) fn release(&mut self) {
        if !self.assignment.is_unassigned() {
            self.record.fence.end_lease();
            self.unassign();
            self.control.wake();
        }
    }
}

impl ChildPhase {
    fn state(&self) -> ChildState {
        match self {
            Self::Down(state) => *state,
            Self::Restarting => ChildState::Restarting,
            Self::Starting(_) => ChildState::Starting,
            Self::Up => ChildState::Running,
            Self::Stopping(_) => ChildState::Stopping,
        }
    }

    /// Returns the reason for which the child stays down, if it does.
    fn parked(&self) -> Option<Parked> {
        match self {
            Self::Down(ChildState::Suspended) => Some(Parked::Suspended),
            Self::Down(
                ChildState::Terminated
                | ChildState::Ended
                | ChildState::Ignored
                | ChildState::Quarantined,
            ) => Some(Parked::Down),
            _ => None,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Up | Self::Stopping(_))
    }
}

/// Children, ordered by id, which is the order of starting. (Names are found in the record's
/// `ChildIndex`.)
#[derive(Default)]
pub(super) struct Children {
    by_id: BTreeMap<ChildId, Child>,
    last: ChildId,
    counts: Counts,
    /// Children that are down, or were, and whose phase has changed in this turn.
    changed: Vec<ChildId>,
}

#[derive(Default)]
struct Counts {
    active: usize,
    significant: usize,
    supervisors: usize,
}

/// Entry of one child in the table.
pub(super) struct ChildEntry<'a> {
    id: ChildId,
    child: &'a mut Child,
    counts: &'a mut Counts,
    changed: &'a mut Vec<ChildId>,
}

impl ChildEntry<'_> {
    /// Puts the child into another phase and returns the one it was in.
    pub(super) fn set(&mut self, phase: ChildPhase) -> ChildPhase {
        let (child, counts) = (&mut *self.child, &mut *self.counts);
        let was_over = is_over(child);
        counts.active -= usize::from(child.phase.is_active());
        counts.active += usize::from(phase.is_active());
        child.record.set_state(phase.state());
        let old = std::mem::replace(&mut child.phase, phase);
        let now_over = is_over(child);
        if child.parked.is_some() || matches!(child.phase, ChildPhase::Down(_)) {
            self.changed.push(self.id);
        }
        if child.policy.significant {
            counts.significant += usize::from(was_over);
            counts.significant -= usize::from(now_over);
        }
        old
    }
}

impl Deref for ChildEntry<'_> {
    type Target = Child;
    fn deref(&self) -> &Child {
        self.child
    }
}

impl DerefMut for ChildEntry<'_> {
    fn deref_mut(&mut self) -> &mut Child {
        self.child
    }
}

impl Children {
    pub(super) fn next_id(&mut self) -> ChildId {
        self.last += 1;
        self.last
    }

    pub(super) fn insert(&mut self, id: ChildId, child: Child) {
        self.counts.significant += usize::from(child.policy.significant);
        self.counts.supervisors += usize::from(child.record.kind == Kind::Supervisor);
        self.by_id.insert(id, child);
    }

    pub(super) fn remove(&mut self, id: ChildId) -> Option<Child> {
        let child = self.by_id.remove(&id)?;
        self.counts.active -= usize::from(child.phase.is_active());
        self.counts.supervisors -= usize::from(child.record.kind == Kind::Supervisor);
        self.counts.significant -= usize::from(child.policy.significant && !is_over(&child));
        Some(child)
    }

    pub(super) fn get(&self, id: ChildId) -> Option<&Child> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.by_id.get_mut(&id)
    }

    /// Returns a child, to be read and changed without looking it up again.
    pub(super) fn entry(&mut self, id: ChildId) -> Option<ChildEntry<'_>> {
        let child = self.by_id.get_mut(&id)?;
        Some(ChildEntry {
            id,
            child,
            counts: &mut self.counts,
            changed: &mut self.changed,
        })
    }

    /// Puts a child into another phase and returns the one it was in.
    pub(super) fn set(&mut self, id: ChildId, phase: ChildPhase) -> Option<ChildPhase> {
        Some(self.entry(id)?.set(phase))
    }

    /// Returns the number of children that are up, coming up or going down.
    pub(super) fn active(&self) -> usize {
        self.counts.active
    }

    /// Returns the number of significant children that run, or are about to.
    pub(super) fn significant(&self) -> usize {
        self.counts.significant
    }

    /// Reports to the children that went down in this turn whether they stay down. (Not at once: a
    /// child that has ended may be about to be restarted.)
    pub(super) fn park_changed(&mut self, inherited: Option<Parked>) {
        for id in std::mem::take(&mut self.changed) {
            let Some(child) = self.by_id.get_mut(&id) else {
                continue;
            };
            child.tell_why_it_is_down(inherited);
        }
    }

    /// Reports to all children why their supervisor stays down, or that it no longer does.
    pub(super) fn park_all(&mut self, inherited: Option<Parked>) {
        for child in self.by_id.values_mut() {
            child.tell_why_it_is_down(inherited);
        }
    }

    /// Returns the number of children that are supervisors.
    pub(super) fn supervisors(&self) -> usize {
        self.counts.supervisors
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn ids(&self) -> Vec<ChildId> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn iter(&self) -> btree_map::Values<'_, ChildId, Child> {
        self.by_id.values()
    }

    /// Returns the first child at or after `id`.
    pub(super) fn at_or_after(&self, id: ChildId) -> Option<(ChildId, &Child)> {
        self.by_id
            .range(id..)
            .next()
            .map(|(id, child)| (*id, child))
    }

    /// Returns the last child in `from..before`.
    pub(super) fn last_in(&self, from: ChildId, before: ChildId) -> Option<(ChildId, &Child)> {
        let range = from..before.max(from);
        self.by_id
            .range(range)
            .next_back()
            .map(|(id, child)| (*id, child))
    }
}

/// Returns true if an automatic shutdown need not wait for the child, because it has ended and
/// nobody is about to start it. (A suspended child is to be resumed.)
fn is_over(child: &Child) -> bool {
    matches!(
        child.phase,
        ChildPhase::Down(
            ChildState::Ended
                | ChildState::Terminated
                | ChildState::Ignored
                | ChildState::Quarantined
        )
    )
}
