//! Bringing several children down and up in order.

use tokio::time::Instant;

use super::{
    Alarm, Ending, Life, Supervisor,
    kids::{After, Phase, Why},
};
use crate::{
    driver::News,
    node::{ChildId, ChildState},
};

/// A restart of several children: first those at or after `from` are stopped, the last one first,
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
    /// All children are down; start those that are to be started.
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
        while let Some((id, child)) = self.kids.at_or_after(next) {
            next = id + 1;
            match child.phase() {
                Phase::Restarting => self.clear_timer(id),
                Phase::Down(ChildState::Ended | ChildState::Ignored) => {
                    self.kids.set(id, Phase::Restarting);
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

    /// Whether a restart under way is about to stop this child.
    pub(super) fn is_going_down(&self, id: ChildId) -> bool {
        self.group
            .as_ref()
            .is_some_and(|group| id >= group.from && !matches!(group.stage, Stage::Starting { .. }))
    }

    /// Starts a child that is down, in its turn if those before it are being restarted.
    pub(super) fn start_in_turn(&mut self, id: ChildId, why: Why) {
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
        self.kids.set(id, Phase::Restarting);
        if let Some(child) = self.kids.get_mut(id) {
            child.turn = Some(why);
        }
    }

    /// Does whatever can be done now; everything else waits for a note or an alarm.
    pub(super) fn advance(&mut self) {
        if matches!(self.life, Life::Stopping(_)) {
            self.advance_end();
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
        let Some((id, child)) = self.kids.last_in(from, cursor) else {
            if due > Instant::now() {
                self.timers.insert((due, Alarm::Group));
            }
            return (Some(Stage::Waiting { due }), true);
        };
        match child.phase() {
            Phase::Starting(_) | Phase::Up => {
                let after = After::in_group(child.policy.restart);
                self.stop_child(id, after);
                (Some(Stage::Stopping { cursor, due }), false)
            }
            Phase::Stopping(_) => (Some(Stage::Stopping { cursor, due }), false),
            Phase::Restarting | Phase::Down(_) => (Some(Stage::Stopping { cursor: id, due }), true),
        }
    }

    fn start_next(&mut self, cursor: ChildId) -> (Option<Stage>, bool) {
        let Some((id, child)) = self.kids.at_or_after(cursor) else {
            return (None, true);
        };
        match child.phase() {
            Phase::Restarting => {
                let turn = self.kids.get_mut(id).and_then(|child| child.turn.take());
                let why = turn.unwrap_or(match self.life {
                    Life::Starting => Why::Initial,
                    _ => Why::Again,
                });
                self.start_child(id, why);
                (Some(Stage::Starting { cursor: id }), false)
            }
            Phase::Starting(_) | Phase::Stopping(_) => {
                (Some(Stage::Starting { cursor: id }), false)
            }
            Phase::Up | Phase::Down(_) => (Some(Stage::Starting { cursor: id + 1 }), true),
        }
    }

    fn on_group_up(&mut self) {
        if matches!(self.life, Life::Starting) {
            self.life = Life::Up;
            self.link.report(self.incarnation, News::Started);
        }
    }

    /// Stops the children, the last one first (a dynamic supervisor has asked them all at once).
    fn advance_end(&mut self) {
        loop {
            let Life::Stopping(Ending { cursor, .. }) = &self.life else {
                return;
            };
            if self.kids.active() == 0 {
                return self.finish();
            }
            let Some((id, child)) = self.kids.last_in(0, *cursor) else {
                return;
            };
            match child.phase() {
                Phase::Starting(_) | Phase::Up => {
                    return self.stop_child(id, After::Down(ChildState::Declared));
                }
                Phase::Stopping(_) => return,
                // It must not come up behind the cursor when its time has come.
                Phase::Restarting => self.settle(id, After::Down(ChildState::Declared)),
                Phase::Down(_) => {}
            }
            if let Life::Stopping(ending) = &mut self.life {
                ending.cursor = id;
            }
        }
    }

    /// All children are down: forgets those that were added at run time, reports, and parks.
    fn finish(&mut self) {
        self.timers.clear();
        for id in self.kids.ids() {
            let Some(child) = self.kids.get_mut(id) else {
                continue;
            };
            child.timer = None;
            let suspended = matches!(child.phase(), Phase::Down(ChildState::Suspended));
            if !child.declared {
                self.remove(id);
            } else if !suspended {
                self.settle(id, After::Down(ChildState::Declared));
            }
        }
        let life = std::mem::replace(&mut self.life, Life::Parked);
        if let Life::Stopping(ending) = life {
            self.link.report(self.incarnation, ending.news);
        }
    }
}
