//! The signals that a child, or the watchdog, sends to a supervisor.

use std::{cell::Cell, sync::Arc};

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    arbiters::SlotId,
    control::ControlReceiver,
    exit::ExitReason,
    fence::{FenceSnapshot, Lease},
    record::{ChildId, ChildRecord},
    state::Kind,
};

/// Signal of a child to its supervisor.
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
    /// The task of a worker ended without having been asked to: its arbiter was stopped.
    TaskLost {
        /// Lease that has been valid since.
        lease: u32,
    },
    /// The watchdog found that a worker has mail and handles none of it, and must be restarted.
    Stalled,
    /// The health that the child reports has changed: see its record.
    Health,
    /// Messages that crashed the child again and again were dropped.
    PoisonMail {
        message_type: &'static str,
        dropped: usize,
    },
    /// The watchdog found that an arbiter with children of this supervisor makes no progress.
    Blocked(Blocked),
}

impl SignalKind {
    /// Returns true if the signal says that a run has failed.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::StartFailed(_) => true,
            Self::Exited(reason) => reason.is_abnormal(),
            _ => false,
        }
    }

    /// Returns true if the signal says that a run has ended.
    fn is_end(&self) -> bool {
        match self {
            Self::Ignored | Self::StartFailed(_) | Self::Exited(_) => true,
            Self::Started
            | Self::Stalled
            | Self::Health
            | Self::PoisonMail { .. }
            | Self::Blocked(_)
            | Self::TaskLost { .. } => false,
        }
    }
}

/// Report of an arbiter that makes no progress.
#[derive(Clone, Copy)]
pub(crate) struct Blocked {
    pub(crate) slot: SlotId,
    /// Child that blocks the arbiter, if it belongs to the supervisor that gets the signal.
    pub(crate) blocked_by: Option<BlockedBy>,
}

#[derive(Clone, Copy)]
pub(crate) struct BlockedBy {
    pub(crate) id: ChildId,
    pub(crate) snapshot: FenceSnapshot,
    pub(crate) message_type: Option<&'static str>,
}

/// Sender of signals to a supervisor, for as long as the lease is held.
pub(crate) struct Reporter {
    id: ChildId,
    lease: Lease,
    signals: UnboundedSender<ChildSignal>,
}

impl Reporter {
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(crate) fn report(&self, incarnation: u64, kind: SignalKind) {
        if self.lease.is_held() {
            let _ = self.signals.send(ChildSignal {
                id: self.id,
                incarnation,
                kind,
            });
        }
    }
}

/// A child's connection to its supervisor.
pub(crate) struct SupervisorLine {
    pub(crate) id: ChildId,
    pub(crate) record: Arc<ChildRecord>,
    pub(crate) control: ControlReceiver,
    pub(crate) lease: Lease,
    pub(crate) signals: UnboundedSender<ChildSignal>,
    /// Incarnation of a supervisor that has begun and whose end was not reported yet.
    pub(crate) in_run: Cell<Option<u64>>,
}

impl SupervisorLine {
    pub(crate) fn reporter(&self) -> Reporter {
        Reporter {
            id: self.id,
            lease: self.lease.clone(),
            signals: self.signals.clone(),
        }
    }

    /// Begins a run, whose end is reported to the supervisor, whatever happens.
    pub(crate) fn begin(&self, incarnation: u64) {
        self.in_run.set(Some(incarnation));
    }

    pub(crate) fn report(&self, incarnation: u64, kind: SignalKind) {
        if kind.is_end() {
            self.in_run.set(None);
        }
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
    /// Reports the end of the task, whichever way it ended. A worker whose supervisor still holds
    /// the other end goes on in another task: the arbiter of this one was stopped. The end of a
    /// supervisor's task that was not meant to end is a crash of that supervisor.
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
        if let Some(incarnation) = self.in_run.take() {
            self.report(incarnation, SignalKind::Exited(ExitReason::Killed));
        }
        self.record.set_removed();
    }
}
