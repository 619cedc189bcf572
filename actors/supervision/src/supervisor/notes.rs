//! What the children report.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Life, Supervisor,
    kids::{After, Phase, Why},
};
use crate::{
    driver::{News, Note},
    error::{ChildError, StartChildError},
    events::EventKind,
    exit::{ExitReason, GaveUp},
    intensity::Limit,
    node::{ChildId, ChildState},
    plan::{self, Account, Facts, Scope, Step},
    spec::Restart,
};

impl Why {
    /// It is stopped before it is up.
    pub(super) fn stopped(self) {
        match self {
            Self::Added(reply) => drop(reply.send(Err(StartChildError::Stopped))),
            Self::Manual(reply) | Self::Resumed(reply) => {
                drop(reply.send(Err(ChildError::Stopped)));
            }
            Self::Initial | Self::Again => {}
        }
    }
}

impl Supervisor {
    pub(super) fn on_note(&mut self, note: Note) {
        if let News::Blocked(blocked) = note.news {
            return self.on_blocked(blocked);
        }
        let Some(child) = self.kids.get(note.id) else {
            return;
        };
        if child.incarnation != note.incarnation {
            return; // from a run that was given up
        }
        match note.news {
            News::Started => self.on_started(note.id),
            News::Ignored => self.on_ignored(note.id),
            News::StartFailed(reason) => self.on_start_failed(note.id, reason),
            News::Exited(reason) => self.on_exited(note.id, reason),
            News::Blocked(_) => {} // concerns no single child
        }
    }

    fn on_started(&mut self, id: ChildId) {
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        if !matches!(child.phase(), Phase::Starting(_)) {
            return; // it is being stopped
        }
        let now = Instant::now();
        child.up_since = Some(now);
        child.node.note_up(now);
        let path = Arc::clone(child.node.path());
        let incarnation = child.incarnation;
        let Some(Phase::Starting(why)) = self.kids.set(id, Phase::Up) else {
            return;
        };
        let events = &self.shared.events;
        match why {
            Why::Again => events.emit(&path, EventKind::Restarted { incarnation }),
            Why::Resumed(reply) => {
                events.emit(&path, EventKind::Resumed);
                let _ = reply.send(Ok(()));
            }
            Why::Initial => events.emit(&path, EventKind::Started { incarnation }),
            Why::Added(reply) => {
                events.emit(&path, EventKind::Started { incarnation });
                let _ = reply.send(Ok(()));
            }
            Why::Manual(reply) => {
                events.emit(&path, EventKind::Started { incarnation });
                let _ = reply.send(Ok(()));
            }
        }
    }

    fn on_ignored(&mut self, id: ChildId) {
        let Some(child) = self.kids.get(id) else {
            return;
        };
        let temporary = child.policy.restart == Restart::Temporary;
        let after = match child.phase() {
            Phase::Stopping(after) => *after,
            _ if temporary => After::Remove,
            _ => After::Down(ChildState::Ignored),
        };
        match self.kids.set(id, Phase::Down(ChildState::Ignored)) {
            Some(Phase::Starting(Why::Added(reply))) => drop(reply.send(Ok(()))),
            Some(Phase::Starting(Why::Manual(reply) | Why::Resumed(reply))) => {
                let _ = reply.send(Ok(()));
            }
            _ => {}
        }
        self.settle(id, after);
    }

    pub(super) fn on_start_failed(&mut self, id: ChildId, reason: ExitReason) {
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        child.up_since = None;
        child.node.note_exit(&reason);
        let (path, incarnation) = (Arc::clone(child.node.path()), child.incarnation);
        if let Phase::Stopping(after) = child.phase() {
            let after = *after;
            self.shared
                .events
                .emit(&path, EventKind::Stopped { exit: reason });
            return self.settle(id, after);
        }
        self.shared.events.emit(
            &path,
            EventKind::Crashed {
                incarnation,
                exit: reason.clone(),
            },
        );
        let phase = self.kids.set(id, Phase::Down(ChildState::Terminated));
        let Some(Phase::Starting(why)) = phase else {
            return;
        };
        let error = || ChildError::StartFailed {
            child: Arc::clone(&path),
            reason: reason.clone(),
        };
        match why {
            Why::Again => self.decide(id, &reason),
            Why::Initial => self.give_up_start(path, reason),
            Why::Added(reply) => {
                self.remove(id);
                let child = path;
                let _ = reply.send(Err(StartChildError::StartFailed { child, reason }));
            }
            Why::Manual(reply) => drop(reply.send(Err(error()))),
            Why::Resumed(reply) => {
                self.kids.set(id, Phase::Down(ChildState::Suspended));
                let _ = reply.send(Err(error()));
            }
        }
    }

    /// A child did not start, so the supervisor does not either.
    fn give_up_start(&mut self, child: Arc<str>, cause: ExitReason) {
        // The innermost failure is the one to name.
        let reason = match cause {
            ExitReason::ChildStart { .. } => cause,
            cause => ExitReason::ChildStart {
                child,
                cause: Arc::new(cause),
            },
        };
        self.end(News::StartFailed(reason));
    }

    pub(super) fn on_exited(&mut self, id: ChildId, reason: ExitReason) {
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        child.node.note_exit(&reason);
        let path = Arc::clone(child.node.path());
        let asked = matches!(child.phase(), Phase::Stopping(_));
        let after = After::in_group(child.policy.restart);
        let (incarnation, exit) = (child.incarnation, reason.clone());
        let crashed = !asked && exit.is_abnormal();
        let kind = match crashed {
            true => EventKind::Crashed { incarnation, exit },
            false => EventKind::Stopped { exit },
        };
        self.shared.events.emit(&path, kind);
        match child.phase() {
            Phase::Stopping(after) => {
                let after = *after;
                child.up_since = None;
                self.settle(id, after);
            }
            Phase::Starting(_) | Phase::Up => {
                let was = self.kids.set(id, Phase::Down(ChildState::Ended));
                if let Some(Phase::Starting(why)) = was {
                    why.stopped();
                }
                match self.is_going_down(id) {
                    // It would have been stopped anyway, and counts once with the others.
                    true => self.settle(id, after),
                    false => self.decide(id, &reason),
                }
            }
            Phase::Down(_) | Phase::Restarting => {}
        }
    }

    /// A child ended by itself: has the plan made, and carries it out.
    fn decide(&mut self, id: ChildId, reason: &ExitReason) {
        if matches!(self.life, Life::Stopping(_)) {
            return;
        }
        let unit = self.unit();
        let now = Instant::now();
        let significant_left = self.kids.significant();
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        let ran = match child.up_since.take() {
            Some(since) => now.duration_since(since),
            None => Duration::ZERO,
        };
        let facts = Facts {
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
            unit,
        };
        let account = match &child.policy.budget {
            Some(intensity) => Account {
                intensity,
                window: &mut child.window,
            },
            None => Account {
                intensity: &self.options.intensity,
                window: &mut self.window,
            },
        };
        for step in plan::after_exit(&facts, account) {
            self.carry_out(id, reason, now, step);
        }
    }

    fn carry_out(&mut self, id: ChildId, reason: &ExitReason, now: Instant, step: Step) {
        match step {
            Step::Forget => self.remove(id),
            Step::Leave => self.settle(id, After::Down(ChildState::Ended)),
            Step::Quarantine => self.quarantine(id, reason),
            Step::GiveUp(limit) => self.give_up(id, reason, limit),
            Step::ShutDown => self.end(News::Exited(ExitReason::Shutdown)),
            Step::Restart {
                scope,
                delay,
                attempt,
            } => self.restart(id, scope, delay, attempt, now),
        }
    }

    fn restart(&mut self, id: ChildId, scope: Scope, delay: Duration, attempt: u32, now: Instant) {
        self.kids.set(id, Phase::Restarting);
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        child.attempt = attempt.saturating_add(1);
        child.node.note_restart(now);
        self.shared
            .events
            .emit(child.node.path(), EventKind::Restarting { delay, attempt });
        match scope {
            Scope::One(_) if delay.is_zero() => self.start_child(id, Why::Again),
            Scope::One(_) => self.set_timer(id, now + delay),
            Scope::From(from) => self.restart_group(from, now + delay),
            Scope::All => self.restart_group(0, now + delay),
        }
    }

    fn quarantine(&mut self, id: ChildId, reason: &ExitReason) {
        self.settle(id, After::Down(ChildState::Quarantined));
        if let Some(child) = self.kids.get(id) {
            self.shared.events.emit(
                child.node.path(),
                EventKind::Quarantined {
                    exit: reason.clone(),
                },
            );
        }
    }

    fn give_up(&mut self, id: ChildId, reason: &ExitReason, limit: Limit) {
        let Some(child) = self.kids.get(id) else {
            return;
        };
        // The innermost failure is the one to name.
        let exit = ExitReason::GaveUp(Arc::new(GaveUp {
            child: Arc::clone(child.node.path()),
            max_restarts: limit.max_restarts,
            period: limit.period,
            cause: reason.clone(),
        }));
        self.settle(id, After::Down(ChildState::Declared));
        self.shared.events.emit(
            self.link.node.path(),
            EventKind::Escalated { exit: exit.clone() },
        );
        self.end(News::Exited(exit));
    }
}
