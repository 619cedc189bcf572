//! The task behind a supervisor: carries out what `plan` decides, and decides nothing itself.
//!
//! It never waits for a child: starting and stopping are requests, and the children's notes say
//! when they are done. So it can be asked, and stopped, at any time.

pub(crate) mod admin;
mod blocked;
mod group;
mod kids;
mod members;
mod notes;
mod operate;

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, sleep_until},
};

use self::{
    admin::Admin,
    group::Group,
    kids::{After, Kids, Phase, Why},
};
use crate::{
    arbiters::Pool,
    control::Control,
    driver::{Link, News, Note},
    events::{EventKind, Events},
    exit::ExitReason,
    intensity::Window,
    node::{ChildId, ChildState},
    spec::{Options, Placement, Shutdown, Strategy, SupervisorBody},
};

/// How much longer than its time-out a child on another arbiter may take to report its end before
/// it is given up as stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the supervisors of a tree share.
pub(crate) struct Shared {
    pub(crate) events: Events,
    pub(crate) pool: Pool,
}

pub(crate) struct Supervisor {
    link: Link,
    shared: Arc<Shared>,
    options: Options,
    kids: Kids,
    life: Life,
    group: Option<Group>,
    window: Window,
    timers: BTreeSet<(Instant, Alarm)>,
    admin: mpsc::Receiver<Admin>,
    notes: UnboundedReceiver<Note>,
    notes_sender: UnboundedSender<Note>,
    incarnation: u64,
    random: u64,
}

enum Life {
    /// Down; waits to be started.
    Parked,
    /// Brings its children up for the first time in this incarnation.
    Starting,
    Up,
    Stopping(Ending),
}

struct Ending {
    news: News,
    /// Children at or after it are down.
    cursor: ChildId,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Child(ChildId),
    Group,
    /// The supervisor's own time to stop is up.
    Kill,
}

/// Makes a timer only if there is something to wait for.
async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Supervisor {
    pub(crate) fn new(link: Link, body: SupervisorBody, shared: Arc<Shared>) -> Self {
        let (notes_sender, notes) = mpsc::unbounded_channel();
        if let Some(part) = &link.node.supervisor {
            let _ = part.notes.set(notes_sender.clone());
        }
        let mut supervisor = Self {
            random: RandomState::new().hash_one(link.id) | 1,
            link,
            shared,
            options: body.options,
            kids: Kids::default(),
            life: Life::Parked,
            group: None,
            window: Window::default(),
            timers: BTreeSet::new(),
            admin: body.admin,
            notes,
            notes_sender,
            incarnation: 0,
        };
        for spec in body.children {
            supervisor.attach(spec, true);
        }
        supervisor
    }

    /// Runs until its link is cut.
    pub(crate) async fn run(mut self) {
        loop {
            let alarm = self.timers.first().map(|(at, _)| *at);
            let takes_requests = matches!(self.life, Life::Up);
            tokio::select! {
                biased;
                control = self.link.control.recv() => match control {
                    Some(control) => self.on_control(control),
                    None => break,
                },
                Some(note) = self.notes.recv() => self.on_note(note),
                Some(request) = self.admin.recv(), if takes_requests => self.on_request(request),
                () = until(alarm) => self.on_alarm(),
            }
            self.advance();
        }
        for id in self.kids.ids() {
            self.remove(id);
        }
        self.link.node.set_state(ChildState::Removed);
    }

    fn on_control(&mut self, control: Control) {
        match (control, &self.life) {
            (Control::Start { incarnation }, Life::Parked) => self.begin(incarnation),
            (Control::Stop(how), Life::Starting | Life::Up) => {
                self.end(News::Exited(ExitReason::Shutdown));
                self.limit_stop(how);
            }
            (Control::Stop(how), Life::Stopping(_)) => self.limit_stop(how),
            (Control::Start { .. }, _) | (Control::Stop(_), Life::Parked) => {}
        }
    }

    fn limit_stop(&mut self, how: Shutdown) {
        match how {
            Shutdown::Brutal => self.kill_all(),
            Shutdown::Within(limit) => {
                self.timers.insert((Instant::now() + limit, Alarm::Kill));
            }
            Shutdown::Infinity => {}
        }
    }

    /// Starts a new incarnation: all declared children in order, except those suspended.
    fn begin(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.window.clear();
        self.life = Life::Starting;
        for id in self.kids.ids() {
            if let Some(child) = self.kids.get_mut(id) {
                child.window.clear();
                child.attempt = 0;
                if !matches!(child.phase(), Phase::Down(ChildState::Suspended)) {
                    self.kids.set(id, Phase::Restarting);
                }
            }
        }
        self.group = Some(Group::starting());
    }

    /// Stops all children and then reports `news`.
    fn end(&mut self, news: News) {
        let news = match (&self.life, news) {
            (Life::Starting, News::Exited(reason)) if reason.is_abnormal() => {
                News::StartFailed(reason)
            }
            (_, news) => news,
        };
        self.group = None;
        self.life = Life::Stopping(Ending {
            news,
            cursor: ChildId::MAX,
        });
        if self.options.strategy == Strategy::Dynamic {
            for id in self.kids.ids() {
                self.stop_child(id, After::Down(ChildState::Declared));
            }
        }
    }

    fn kill_all(&mut self) {
        for id in self.kids.ids() {
            let Some(child) = self.kids.get(id) else {
                continue;
            };
            match child.phase() {
                Phase::Stopping(_) => {
                    child.control.send(Control::Stop(Shutdown::Brutal));
                }
                phase if phase.is_active() => {
                    self.stop_child_how(id, After::Down(ChildState::Declared), Shutdown::Brutal);
                }
                _ => {}
            }
        }
    }

    fn start_child(&mut self, id: ChildId, why: Why) {
        if self.kids.get(id).is_some_and(|c| c.staff.is_unseated()) {
            self.seat_again(id);
        }
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        if let Some(at) = child.timer.take() {
            self.timers.remove(&(at, Alarm::Child(id)));
        }
        child.incarnation += 1;
        let incarnation = child.incarnation;
        child.node.set_incarnation(incarnation);
        if !child.control.send(Control::Start { incarnation }) {
            let reason = ExitReason::StartFailed("its arbiter is gone".into());
            let _ = self.notes_sender.send(Note {
                id,
                incarnation,
                news: News::StartFailed(reason),
            });
        }
        self.kids.set(id, Phase::Starting(why));
    }

    fn stop_child(&mut self, id: ChildId, after: After) {
        if let Some(child) = self.kids.get(id) {
            let how = child.policy.shutdown;
            self.stop_child_how(id, after, how);
        }
    }

    /// Asks an active child to stop; one that is not active gets to its end at once.
    fn stop_child_how(&mut self, id: ChildId, after: After, how: Shutdown) {
        let Some(child) = self.kids.get(id) else {
            return;
        };
        match child.phase() {
            Phase::Starting(_) | Phase::Up => {
                child.control.send(Control::Stop(how));
                // One on this arbiter cannot be late without this task being late, too.
                let limit = match (child.policy.placement, how) {
                    (Placement::Here, _) | (_, Shutdown::Infinity) => None,
                    (_, Shutdown::Brutal) => Some(PATIENCE),
                    (_, Shutdown::Within(limit)) => Some(limit + PATIENCE),
                };
                if let Some(Phase::Starting(why)) = self.kids.set(id, Phase::Stopping(after)) {
                    why.stopped();
                }
                if let Some(limit) = limit {
                    self.set_timer(id, Instant::now() + limit);
                }
            }
            Phase::Stopping(_) => {
                self.kids.set(id, Phase::Stopping(after));
            }
            Phase::Restarting => self.settle(id, after),
            Phase::Down(_) => {}
        }
    }

    /// A child is down, and meant to be: puts it where it belongs.
    fn settle(&mut self, id: ChildId, after: After) {
        self.clear_timer(id);
        let phase = match after {
            After::Remove => return self.remove(id),
            After::Restart => Phase::Restarting,
            After::Cycle if matches!(self.life, Life::Stopping(_)) => {
                Phase::Down(ChildState::Declared)
            }
            After::Cycle => return self.start_cycled(id),
            After::Down(state) => Phase::Down(state),
        };
        self.kids.set(id, phase);
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        if after != After::Restart
            && let Some(why) = child.turn.take()
        {
            why.stopped();
        }
        for reply in std::mem::take(&mut child.stop_replies) {
            let _ = reply.send(Ok(()));
        }
        if after == After::Down(ChildState::Suspended) {
            self.shared
                .events
                .emit(child.node.path(), EventKind::Suspended);
        }
    }

    /// The second half of [`Operation::Cycle`](admin::Operation::Cycle).
    fn start_cycled(&mut self, id: ChildId) {
        self.kids.set(id, Phase::Down(ChildState::Terminated));
        let turn = self.kids.get_mut(id).and_then(|child| child.turn.take());
        if let Some(why) = turn {
            self.start_in_turn(id, why);
        }
    }

    fn set_timer(&mut self, id: ChildId, at: Instant) {
        self.clear_timer(id);
        if let Some(child) = self.kids.get_mut(id) {
            child.timer = Some(at);
            self.timers.insert((at, Alarm::Child(id)));
        }
    }

    fn clear_timer(&mut self, id: ChildId) {
        if let Some(at) = self.kids.get_mut(id).and_then(|child| child.timer.take()) {
            self.timers.remove(&(at, Alarm::Child(id)));
        }
    }

    fn on_alarm(&mut self) {
        let now = Instant::now();
        while let Some((at, alarm)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            match alarm {
                Alarm::Child(id) => self.on_child_alarm(id),
                Alarm::Group => {} // `advance` looks at the clock
                Alarm::Kill => self.kill_all(),
            }
        }
    }

    fn on_child_alarm(&mut self, id: ChildId) {
        let Some(child) = self.kids.get_mut(id) else {
            return;
        };
        child.timer = None;
        match child.phase() {
            Phase::Restarting => self.start_child(id, Why::Again),
            Phase::Stopping(_) => {
                let (incarnation, path) = (child.incarnation, Arc::clone(child.node.path()));
                let message_type = self.give_up_driver(id);
                let reason = ExitReason::Stuck { message_type };
                self.shared
                    .events
                    .emit(&path, EventKind::Stuck { message_type });
                self.on_note(Note {
                    id,
                    incarnation,
                    news: News::Exited(reason),
                });
            }
            _ => {}
        }
    }

    /// A number in `0.0..1.0` (xorshift); only spreads delays.
    fn unit(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let top = u32::try_from(self.random >> 32).unwrap_or(0);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}
