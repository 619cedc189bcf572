//! Stopping and starting several children in order.

use tokio::time::Instant;

use super::{
    Alarm, ShuttingDown, Supervisor, SupervisorState,
    children::{AfterStop, Child, ChildPhase, StartCause},
};
use crate::{record::ChildId, signal::SignalKind, state::ChildState};

/// Restart of several children: first those at or after `from` are stopped, the last one first,
/// then they are started in order.
pub(super) struct Group {
    from: ChildId,
    stage: Stage,
}

enum Stage {
    /// Children at or after `cursor` are down.
    Stopping {
        cursor: ChildId,
        due: Instant,
    },
    Waiting {
        due: Instant,
    },
    /// Children before `cursor` are up.
    Starting {
        cursor: ChildId,
    },
}

impl Group {
    /// Returns a group whose children are all down, and that starts those that are to be started.
    pub(super) fn starting() -> Self {
        Self {
            from: 0,
            stage: Stage::Starting { cursor: 0 },
        }
    }
}

impl Supervisor {
    /// Restarts the children at or after `from` at `due`; takes over from a restart under way.
    pub(super) fn restart_group(&mut self, from: ChildId, due: Instant) {
        let from = match &self.group {
            Some(group) if !matches!(group.stage, Stage::Starting { .. }) => group.from.min(from),
            _ => from,
        };
        let mut next = from;
        while let Some((id, child)) = self.children.at_or_after(next) {
            next = id + 1;
            match child.phase() {
                ChildPhase::Restarting => self.clear_timer(id),
                ChildPhase::Down(ChildState::Ended | ChildState::Ignored) => {
                    self.children.set(id, ChildPhase::Restarting);
                }
                _ => {}
            }
        }
        self.group = Some(Group {
            from,
            stage: Stage::Stopping {
                cursor: ChildId::MAX,
                due,
            },
        });
    }

    /// Returns true if a restart under way is about to stop this child.
    pub(super) fn is_going_down(&self, id: ChildId) -> bool {
        self.group
            .as_ref()
            .is_some_and(|group| id >= group.from && !matches!(group.stage, Stage::Starting { .. }))
    }

    /// Starts a child that is down, in its turn if those before it are being restarted.
    pub(super) fn start_or_defer(&mut self, id: ChildId, why: StartCause) {
        let waits = match &self.group {
            None => false,
            Some(Group { from, stage }) => match stage {
                Stage::Stopping { .. } | Stage::Waiting { .. } => id >= *from,
                Stage::Starting { cursor } => id >= *cursor,
            },
        };
        if !waits {
            return self.start_child(id, why);
        }
        self.children.set(id, ChildPhase::Restarting);
        if let Some(child) = self.children.get_mut(id) {
            child.deferred_start = Some(why);
        }
    }

    /// Does whatever can be done now; everything else waits for a signal or an alarm.
    pub(super) fn step_group(&mut self) {
        if matches!(self.state, SupervisorState::Stopping(_)) {
            self.step_shutdown();
            return;
        }
        while let Some(group) = self.group.take() {
            let from = group.from;
            let (stage, goes_on) = match group.stage {
                Stage::Stopping { cursor, due } => self.stop_next(from, cursor, due),
                Stage::Waiting { due } if Instant::now() < due => (Some(group.stage), false),
                Stage::Waiting { .. } => (Some(Stage::Starting { cursor: from }), true),
                Stage::Starting { cursor } => self.start_next(cursor),
            };
            let Some(stage) = stage else {
                self.on_group_up();
                return;
            };
            self.group = Some(Group { from, stage });
            if !goes_on {
                return;
            }
        }
    }

    fn stop_next(&mut self, from: ChildId, cursor: ChildId, due: Instant) -> (Option<Stage>, bool) {
        let Some((id, child)) = self.children.last_in(from, cursor) else {
            if due > Instant::now() {
                self.timers.insert((due, Alarm::Group));
            }
            return (Some(Stage::Waiting { due }), true);
        };
        match child.phase() {
            ChildPhase::Starting(_) | ChildPhase::Up => {
                let after = AfterStop::in_group(child.policy.restart);
                self.stop_child(id, after);
                (Some(Stage::Stopping { cursor, due }), false)
            }
            ChildPhase::Stopping(_) => (Some(Stage::Stopping { cursor, due }), false),
            ChildPhase::Restarting | ChildPhase::Down(_) => {
                (Some(Stage::Stopping { cursor: id, due }), true)
            }
        }
    }

    fn start_next(&mut self, cursor: ChildId) -> (Option<Stage>, bool) {
        let Some((id, child)) = self.children.at_or_after(cursor) else {
            return (None, true);
        };
        match child.phase() {
            ChildPhase::Restarting => {
                let is_first_start = child.declared && !child.has_been_up;
                let deferred_start = self
                    .children
                    .get_mut(id)
                    .and_then(|child| child.deferred_start.take());
                // A child that was added later, or has been up, does not keep its supervisor from
                // starting.
                let why = deferred_start.unwrap_or(match self.state {
                    SupervisorState::Starting if is_first_start => StartCause::Initial,
                    _ => StartCause::Again,
                });
                self.start_child(id, why);
                // The child may have been held back, because it is part of something suspended.
                let is_starting = |child: &Child| child.phase().is_active();
                let waits = self.children.get(id).is_some_and(is_starting);
                (Some(Stage::Starting { cursor: id }), !waits)
            }
            ChildPhase::Starting(_) | ChildPhase::Stopping(_) => {
                (Some(Stage::Starting { cursor: id }), false)
            }
            ChildPhase::Up | ChildPhase::Down(_) => {
                (Some(Stage::Starting { cursor: id + 1 }), true)
            }
        }
    }

    fn on_group_up(&mut self) {
        if matches!(self.state, SupervisorState::Starting) {
            self.state = SupervisorState::Up;
            self.line.report(self.incarnation, SignalKind::Started);
        }
    }

    /// Stops the children, the last one first (a dynamic supervisor has asked them all at once).
    fn step_shutdown(&mut self) {
        loop {
            let SupervisorState::Stopping(ShuttingDown { cursor, .. }) = &self.state else {
                return;
            };
            if self.children.active() == 0 {
                return self.shutdown_done();
            }
            let Some((id, child)) = self.children.last_in(0, *cursor) else {
                return;
            };
            match child.phase() {
                ChildPhase::Starting(_) | ChildPhase::Up => {
                    return self.stop_child(id, AfterStop::Down(ChildState::Declared));
                }
                ChildPhase::Stopping(_) => return,
                // The child must not come up behind the cursor when its restart is due.
                ChildPhase::Restarting => {
                    self.finish_stop(id, AfterStop::Down(ChildState::Declared))
                }
                ChildPhase::Down(_) => {}
            }
            if let SupervisorState::Stopping(shutting_down) = &mut self.state {
                shutting_down.cursor = id;
            }
        }
    }

    /// Completes a shutdown once all children are down: forgets those that were added at run time,
    /// reports, and parks.
    fn shutdown_done(&mut self) {
        self.timers.clear();
        self.starts_due = None;
        let keeps_added = match &self.state {
            SupervisorState::Stopping(shutting_down) => shutting_down.keeps_added,
            _ => false,
        };
        for id in self.children.ids() {
            let Some(child) = self.children.get_mut(id) else {
                continue;
            };
            child.timer = None;
            let suspended = matches!(child.phase(), ChildPhase::Down(ChildState::Suspended));
            if !child.declared && !keeps_added {
                self.remove(id);
            } else if !suspended {
                self.finish_stop(id, AfterStop::Down(ChildState::Declared));
            }
        }
        let state = std::mem::replace(&mut self.state, SupervisorState::Idle);
        if let SupervisorState::Stopping(shutting_down) = state {
            self.line.report(self.incarnation, shutting_down.kind);
        }
    }
}
