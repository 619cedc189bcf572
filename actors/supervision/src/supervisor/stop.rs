//! Stopping children, and limiting how long that may take.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Alarm, ShuttingDown, Supervisor, SupervisorState,
    children::{AfterStop, ChildPhase},
    turn::later,
};
use crate::{control::Control, record::ChildId, spec::Shutdown, state::ChildState};

/// Time beyond its time-out that a child on another arbiter may take to report its end before it is
/// given up as stuck. Fixed: of the library, which has no settings.
const REPORT_WITHIN: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(super) fn limit_stop(&mut self, how: Shutdown) {
        match how {
            Shutdown::Brutal => self.kill_all(),
            Shutdown::Within(limit) => {
                let at = later(Instant::now(), limit);
                self.timers.insert((at, Alarm::Kill));
            }
            Shutdown::Infinity => {}
        }
    }

    pub(super) fn kill_all(&mut self) {
        for id in self.children.ids() {
            let Some(child) = self.children.get(id) else {
                continue;
            };
            match child.phase() {
                ChildPhase::Stopping(_) => {
                    child.control.send(Control::Stop(Shutdown::Brutal));
                    self.limit_patience(id, Shutdown::Brutal);
                }
                phase if phase.is_active() => {
                    self.stop_child_how(
                        id,
                        AfterStop::Down(ChildState::Declared),
                        Shutdown::Brutal,
                    );
                }
                _ => {}
            }
        }
    }

    pub(super) fn stop_child(&mut self, id: ChildId, after: AfterStop) {
        if let Some(child) = self.children.get(id) {
            let how = child.policy.shutdown;
            self.stop_child_how(id, after, how);
        }
    }

    /// Asks an active child to stop; for a child that is not active, the stop is finished at once.
    pub(super) fn stop_child_how(&mut self, id: ChildId, after: AfterStop, how: Shutdown) {
        let Some(child) = self.children.get(id) else {
            return;
        };
        match child.phase() {
            ChildPhase::Starting(_) | ChildPhase::Up => {
                let suspends = matches!(after, AfterStop::Down(ChildState::Suspended))
                    || matches!(
                        self.state,
                        SupervisorState::Stopping(ShuttingDown {
                            keeps_added: true,
                            ..
                        })
                    );
                child.control.send(if suspends {
                    Control::Suspend(how)
                } else {
                    Control::Stop(how)
                });
                self.clear_timer(id);
                if let Some(ChildPhase::Starting(why)) =
                    self.children.set(id, ChildPhase::Stopping(after))
                {
                    why.stopped();
                }
                self.limit_patience(id, how);
            }
            ChildPhase::Stopping(first) => {
                let after = first.and(after);
                self.children.set(id, ChildPhase::Stopping(after));
            }
            ChildPhase::Restarting => self.finish_stop(id, after),
            ChildPhase::Down(_) => {}
        }
    }

    /// Sets the time at which a child that was asked to stop is given up as stuck.
    pub(super) fn limit_patience(&mut self, id: ChildId, how: Shutdown) {
        // A child on this arbiter cannot be late without this task being late, too.
        let Some(child) = self.children.get(id).filter(|child| child.is_elsewhere()) else {
            return;
        };
        let limit = match how {
            Shutdown::Infinity => return,
            Shutdown::Brutal => REPORT_WITHIN,
            Shutdown::Within(limit) => limit.saturating_add(REPORT_WITHIN),
        };
        let due = Instant::now().checked_add(limit);
        if let Some(due) = due
            && child.timer.is_none_or(|timer| due < timer)
        {
            self.set_timer(id, due);
        }
    }

    /// Takes the step that follows once a child is down as requested.
    pub(super) fn finish_stop(&mut self, id: ChildId, after: AfterStop) {
        self.clear_timer(id);
        let phase = match after {
            AfterStop::Remove => return self.remove(id),
            AfterStop::Restart => ChildPhase::Restarting,
            AfterStop::Bounce if matches!(self.state, SupervisorState::Stopping(_)) => {
                ChildPhase::Down(ChildState::Declared)
            }
            AfterStop::Bounce => return self.start_bounced(id),
            AfterStop::Down(state) => ChildPhase::Down(state),
        };
        self.children.set(id, phase);
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        if after != AfterStop::Restart
            && let Some(why) = child.deferred_start.take()
        {
            why.stopped();
        }
        for reply in std::mem::take(&mut child.stop_replies) {
            let _ = reply.send(Ok(()));
        }
        if after == AfterStop::Down(ChildState::Suspended) {
            self.finish_suspension(id);
        }
    }

    /// Carries out the second half of [`Operation::Bounce`](handle::Operation::Bounce).
    pub(super) fn start_bounced(&mut self, id: ChildId) {
        self.children
            .set(id, ChildPhase::Down(ChildState::Terminated));
        let deferred = self
            .children
            .get_mut(id)
            .and_then(|child| child.deferred_start.take());
        if let Some(why) = deferred {
            self.start_or_defer(id, why);
        }
    }
}
