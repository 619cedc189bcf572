//! Signals that the children send.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Supervisor, SupervisorState,
    children::{AfterStop, ChildPhase, StartCause},
    turn::later,
};
use crate::{
    control::Control,
    error::{ChildError, StartChildError},
    events::EventKind,
    exit::{ExitReason, GaveUp},
    intensity::Limit,
    plan::{self, AfterFailedStart, BudgetInUse, Decision, ExitFacts, Scope, StartKind},
    record::ChildId,
    signal::{ChildSignal, SignalKind},
    spec::{Restart, Shutdown, Strategy},
    state::ChildState,
};

impl StartCause {
    fn kind(&self) -> StartKind {
        match self {
            Self::Initial => StartKind::Initial,
            Self::Added(_) => StartKind::Added,
            Self::Manual(_) => StartKind::Manual,
            Self::Bounced(_) => StartKind::Bounced,
            Self::Resumed(_) => StartKind::Resumed,
            Self::Again => StartKind::Again,
        }
    }

    /// Reports to the waiting caller that the child did not start.
    fn failed(self, child: Arc<str>, reason: ExitReason) {
        match self {
            Self::Added(reply) => {
                let _ = reply.send(Err(StartChildError::StartFailed { child, reason }));
            }
            Self::Manual(reply) | Self::Bounced(reply) | Self::Resumed(reply) => {
                let _ = reply.send(Err(ChildError::StartFailed { child, reason }));
            }
            Self::Initial | Self::Again => {}
        }
    }

    /// Reports to the waiting caller that the child was stopped before it was up.
    pub(super) fn stopped(self) {
        match self {
            Self::Added(reply) => drop(reply.send(Err(StartChildError::Stopped))),
            Self::Manual(reply) | Self::Bounced(reply) | Self::Resumed(reply) => {
                drop(reply.send(Err(ChildError::Stopped)));
            }
            Self::Initial | Self::Again => {}
        }
    }
}

impl Supervisor {
    pub(super) fn on_signal(&mut self, signal: ChildSignal) {
        match signal.kind {
            SignalKind::Blocked(blocked) => return self.on_blocked(blocked),
            SignalKind::TaskLost { lease } => return self.on_task_lost(signal.id, lease),
            _ => {}
        }
        let Some(child) = self.children.get(signal.id) else {
            return;
        };
        if let SignalKind::Health = signal.kind {
            // The record describes the run that is valid now, whichever run signalled.
            if let Some(health) = child.record.take_health() {
                let kind = EventKind::HealthChanged { health };
                self.shared.events.emit(child.record.path(), kind);
            }
            return;
        }
        if child.incarnation != signal.incarnation {
            return; // from a run that was given up
        }
        match signal.kind {
            SignalKind::Started => self.on_started(signal.id),
            SignalKind::Ignored => self.on_ignored(signal.id),
            SignalKind::StartFailed(reason) => self.on_start_failed(signal.id, reason),
            SignalKind::Exited(reason) => self.on_exited(signal.id, reason),
            SignalKind::Stalled => self.on_stalled(signal.id),
            SignalKind::PoisonMail {
                message_type,
                dropped,
            } => {
                let path = Arc::clone(child.record.path());
                let kind = EventKind::PoisonMail {
                    message_type,
                    dropped,
                };
                self.shared.events.emit(&path, kind);
            }
            SignalKind::Blocked(_) | SignalKind::TaskLost { .. } | SignalKind::Health => {} // see above
        }
    }

    fn on_started(&mut self, id: ChildId) {
        let Some(mut child) = self.children.entry(id) else {
            return;
        };
        if !matches!(child.phase(), ChildPhase::Starting(_)) || child.start_timed_out {
            return; // it is being stopped
        }
        let now = Instant::now();
        child.up_since = Some(now);
        child.suspended_by_hand = None;
        child.has_been_up = true;
        child.stay_moved();
        child.record.record_start(now);
        let by_hand = matches!(
            child.phase(),
            ChildPhase::Starting(
                StartCause::Manual(_) | StartCause::Bounced(_) | StartCause::Resumed(_)
            )
        );
        if by_hand && child.policy.budget.is_some() {
            // Somebody thinks that the child is well, so it gets its whole budget.
            child.window.clear();
            child.record.forget_restarts();
        }
        let path = Arc::clone(child.record.path());
        let incarnation = child.incarnation;
        let ChildPhase::Starting(why) = child.set(ChildPhase::Up) else {
            return;
        };
        let events = &self.shared.events;
        match why {
            StartCause::Again => events.emit(&path, EventKind::Restarted { incarnation }),
            StartCause::Resumed(reply) => {
                events.emit(&path, EventKind::Resumed);
                let _ = reply.send(Ok(()));
            }
            StartCause::Initial => events.emit(&path, EventKind::Started { incarnation }),
            StartCause::Added(reply) => {
                events.emit(&path, EventKind::Started { incarnation });
                let _ = reply.send(Ok(()));
            }
            StartCause::Manual(reply) | StartCause::Bounced(reply) => {
                events.emit(&path, EventKind::Started { incarnation });
                let _ = reply.send(Ok(()));
            }
        }
    }

    fn on_ignored(&mut self, id: ChildId) {
        self.clear_timer(id);
        let Some(child) = self.children.get(id) else {
            return;
        };
        // Same rule as for an end for good: see `plan::is_forgotten`.
        let forgotten = child.policy.restart == Restart::Temporary
            || self.options.strategy == Strategy::Dynamic;
        let after = match child.phase() {
            ChildPhase::Stopping(after) => *after,
            _ if forgotten => AfterStop::Remove,
            _ => AfterStop::Down(ChildState::Ignored),
        };
        match self.children.set(id, ChildPhase::Down(ChildState::Ignored)) {
            Some(ChildPhase::Starting(StartCause::Added(reply))) => drop(reply.send(Ok(()))),
            Some(ChildPhase::Starting(
                StartCause::Manual(reply) | StartCause::Bounced(reply) | StartCause::Resumed(reply),
            )) => drop(reply.send(Ok(()))),
            _ => {}
        }
        self.finish_stop(id, after);
    }

    pub(super) fn on_start_failed(&mut self, id: ChildId, reason: ExitReason) {
        self.clear_timer(id);
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        child.up_since = None;
        child.record.record_exit(&reason);
        let (path, incarnation) = (Arc::clone(child.record.path()), child.incarnation);
        if let ChildPhase::Stopping(after) = child.phase() {
            let after = *after;
            self.shared
                .events
                .emit(&path, EventKind::Stopped { exit: reason });
            return self.finish_stop(id, after);
        }
        child.move_back();
        self.shared.events.emit(
            &path,
            EventKind::Crashed {
                incarnation,
                exit: reason.clone(),
            },
        );
        let phase = self
            .children
            .set(id, ChildPhase::Down(ChildState::Terminated));
        let Some(ChildPhase::Starting(why)) = phase else {
            return;
        };
        let suspended = self.suspension_of(id);
        let after = plan::after_failed_start(why.kind(), suspended.is_some());
        if after == AfterFailedStart::Remove {
            self.remove(id);
        }
        why.failed(Arc::clone(&path), reason.clone());
        match (after, suspended) {
            (AfterFailedStart::GiveUp, _) => self.give_up_start(path, reason),
            (AfterFailedStart::AsAfterCrash, _) => self.decide(id, &reason),
            (AfterFailedStart::KeepSuspended, Some(suspended)) => {
                self.keep_suspended(id, suspended);
            }
            (AfterFailedStart::Remove | AfterFailedStart::Leave, _)
            | (AfterFailedStart::KeepSuspended, None) => {}
        }
    }

    /// Gives up the start of the supervisor, because a child did not start.
    fn give_up_start(&mut self, child: Arc<str>, cause: ExitReason) {
        // The innermost failure is the one to name.
        let reason = match cause {
            ExitReason::ChildStart { .. } => cause,
            cause => ExitReason::ChildStart {
                child,
                cause: Arc::new(cause),
            },
        };
        self.begin_shutdown(SignalKind::StartFailed(reason));
    }

    /// Kills a child that handles none of its mail. The consequences are decided when its exit is
    /// reported, which nobody has asked for.
    fn on_stalled(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(id)
            && matches!(child.phase(), ChildPhase::Up)
        {
            child.is_stalled = true;
            child.control.send(Control::Stop(Shutdown::Brutal));
        }
    }

    pub(super) fn on_exited(&mut self, id: ChildId, reason: ExitReason) {
        let Some(mut child) = self.children.entry(id) else {
            return;
        };
        let reason = match (std::mem::take(&mut child.is_stalled), reason) {
            (true, ExitReason::Killed) => ExitReason::Stalled,
            (_, reason) => reason,
        };
        if child.start_timed_out && matches!(child.phase(), ChildPhase::Starting(_)) {
            let limit = child.policy.start_within.unwrap_or_default();
            let text = format!("not ready within {limit:?}");
            return self.on_start_failed(id, ExitReason::StartFailed(text.into()));
        }
        child.record.record_exit(&reason);
        let path = Arc::clone(child.record.path());
        let asked = matches!(child.phase(), ChildPhase::Stopping(_));
        let after = AfterStop::in_group(child.policy.restart);
        let (incarnation, exit) = (child.incarnation, reason.clone());
        let crashed = !asked && exit.is_abnormal();
        let kind = if crashed {
            EventKind::Crashed { incarnation, exit }
        } else {
            EventKind::Stopped { exit }
        };
        self.shared.events.emit(&path, kind);
        match child.phase() {
            ChildPhase::Stopping(after) => {
                let after = *after;
                child.up_since = None;
                self.finish_stop(id, after);
            }
            ChildPhase::Starting(_) | ChildPhase::Up => {
                let was = child.set(ChildPhase::Down(ChildState::Ended));
                if let ChildPhase::Starting(why) = was {
                    why.stopped();
                }
                if self.is_going_down(id) {
                    // The child would have been stopped anyway, and counts once with the others.
                    self.finish_stop(id, after);
                } else {
                    self.decide(id, &reason);
                }
            }
            ChildPhase::Down(_) | ChildPhase::Restarting => {}
        }
    }

    /// Decides what follows when a child has ended by itself, and carries it out.
    fn decide(&mut self, id: ChildId, reason: &ExitReason) {
        if matches!(self.state, SupervisorState::Stopping(_)) {
            return;
        }
        let random_fraction = self.random_fraction();
        let now = Instant::now();
        let significant_left = self.children.significant();
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        let ran = match child.up_since.take() {
            Some(since) => now.duration_since(since),
            None => Duration::ZERO,
        };
        let pays = child.policy.budget.is_none();
        let facts = ExitFacts {
            strategy: self.options.strategy,
            child: id,
            restart: child.policy.restart,
            reason,
            significant: child.policy.significant,
            significant_left,
            auto_shutdown: self.options.auto_shutdown,
            exhausted: child.policy.exhausted,
            backoff: &child.policy.backoff,
            attempt: child.attempt,
            ran,
            now,
            random_fraction,
        };
        let budget = match &child.policy.budget {
            Some(intensity) => BudgetInUse {
                intensity,
                window: &mut child.window,
            },
            None => BudgetInUse {
                intensity: &self.options.intensity,
                window: &mut self.window,
            },
        };
        let (decision, next) = plan::after_exit(&facts, budget);
        if pays && matches!(decision, Decision::Restart { .. }) {
            self.line.record.record_payment(now);
        }
        self.carry_out(id, reason, now, decision);
        if let Some(next) = next {
            self.carry_out(id, reason, now, next);
        }
    }

    fn carry_out(&mut self, id: ChildId, reason: &ExitReason, now: Instant, decision: Decision) {
        match decision {
            Decision::Forget => self.remove(id),
            Decision::Leave => self.finish_stop(id, AfterStop::Down(ChildState::Ended)),
            Decision::Quarantine => self.quarantine(id, reason),
            Decision::GiveUp(limit) => self.give_up(id, reason, limit),
            Decision::ShutDown => self.begin_shutdown(SignalKind::Exited(ExitReason::Shutdown)),
            Decision::Restart {
                scope,
                delay,
                attempt,
            } => self.restart(id, scope, delay, attempt, now),
        }
    }

    fn restart(&mut self, id: ChildId, scope: Scope, delay: Duration, attempt: u32, now: Instant) {
        let Some(mut child) = self.children.entry(id) else {
            return;
        };
        child.set(ChildPhase::Restarting);
        child.attempt = attempt.saturating_add(1);
        child.record.record_restart(now);
        self.shared.events.emit(
            child.record.path(),
            EventKind::Restarting { delay, attempt },
        );
        match scope {
            Scope::One(_) if delay.is_zero() => self.start_child(id, StartCause::Again),
            Scope::One(_) => self.set_timer(id, later(now, delay)),
            Scope::From(from) => self.restart_group(from, later(now, delay)),
            Scope::All => self.restart_group(0, later(now, delay)),
        }
    }

    fn quarantine(&mut self, id: ChildId, reason: &ExitReason) {
        self.finish_stop(id, AfterStop::Down(ChildState::Quarantined));
        if let Some(child) = self.children.get(id) {
            self.shared.events.emit_of(
                child.record.path(),
                Some(child.incarnation),
                EventKind::Quarantined {
                    exit: reason.clone(),
                },
            );
        }
    }

    fn give_up(&mut self, id: ChildId, reason: &ExitReason, limit: Limit) {
        let Some(child) = self.children.get(id) else {
            return;
        };
        // The innermost failure is the one to name.
        let exit = ExitReason::GaveUp(Arc::new(GaveUp {
            child: Arc::clone(child.record.path()),
            max_restarts: limit.max_restarts,
            period: limit.period,
            cause: reason.clone(),
        }));
        self.finish_stop(id, AfterStop::Down(ChildState::Declared));
        self.shared.events.emit_of(
            self.line.record.path(),
            Some(self.incarnation),
            EventKind::Escalated { exit: exit.clone() },
        );
        self.begin_shutdown(SignalKind::Exited(exit));
    }
}
