//! The signals that a child, or the watchdog, sends to a supervisor.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    arbiters::SlotId,
    control::ControlReceiver,
    exit::ExitReason,
    fence::{FenceSnapshot, Lease},
    record::{ChildId, ChildRecord},
    state::{ChildState, Kind},
};

/// What a child tells its supervisor.
pub(crate) struct ChildSignal {
    pub(crate) id: ChildId,
    pub(crate) incarnation: u64,
    pub(crate) kind: SignalKind,
}

pub(crate) enum SignalKind {
    Started,
    Ignored,
    StartFailed(ExitReason),
    Exited(ExitReason),
    /// The task of a worker ended without having been told to: its arbiter was stopped.
    TaskLost {
        /// The lease that is valid since.
        lease: u32,
    },
    /// From the watchdog: a worker has mail and handles none of it, and is to be restarted.
    Stalled,
    /// From the watchdog: an arbiter with children of this supervisor makes no progress.
    Blocked(Blocked),
}

/// An arbiter that makes no progress.
#[derive(Clone, Copy)]
pub(crate) struct Blocked {
    pub(crate) slot: SlotId,
    /// Who blocks it, if it is a child of the supervisor that hears of it.
    pub(crate) blocked_by: Option<BlockedBy>,
}

#[derive(Clone, Copy)]
pub(crate) struct BlockedBy {
    pub(crate) id: ChildId,
    pub(crate) snapshot: FenceSnapshot,
    pub(crate) message_type: Option<&'static str>,
}

/// A child's connection to its supervisor.
pub(crate) struct SupervisorLine {
    pub(crate) id: ChildId,
    pub(crate) record: Arc<ChildRecord>,
    pub(crate) control: ControlReceiver,
    pub(crate) lease: Lease,
    pub(crate) signals: UnboundedSender<ChildSignal>,
}

impl SupervisorLine {
    pub(crate) fn report(&self, incarnation: u64, kind: SignalKind) {
        if !self.lease.is_held() {
            return;
        }
        // If the supervisor is gone, the cut control channel says so, too.
        self.send(incarnation, kind);
    }

    fn send(&self, incarnation: u64, kind: SignalKind) -> bool {
        let signal = ChildSignal {
            id: self.id,
            incarnation,
            kind,
        };
        self.signals.send(signal).is_ok()
    }
}

impl Drop for SupervisorLine {
    /// Nothing more comes of this task, whichever way it ended. A worker whose supervisor still
    /// holds the other end goes on in another task: the arbiter of this one was stopped.
    fn drop(&mut self) {
        if !self.lease.is_held() {
            return;
        }
        if self.record.kind == Kind::Worker && !self.control.is_cut() {
            let Some(lease) = self.lease.give_up() else {
                return; // just taken away
            };
            let kind = SignalKind::TaskLost { lease };
            if self.send(self.record.incarnation(), kind) {
                return;
            }
        }
        self.record.set_state(ChildState::Removed);
    }
}
