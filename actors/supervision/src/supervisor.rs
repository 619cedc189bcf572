//! The task behind a supervisor, which carries out what `plan` decides, and decides nothing itself.
//!
//! The task never waits for a child: starting and stopping are requests, and the children's signals
//! say when they are done. So the supervisor can be sent requests, and be stopped, at any time.
//!
//! # Phases of a child
//!
//! [`ChildPhase`] says what a child is doing, [`StartCause`] why it is being started (and who waits
//! for the answer), [`AfterStop`] what follows once it has stopped.
//!
//! ```text
//!                start_child                 Started
//! Down(state) ----------------> Starting ---------------> Up
//!    ^  ^                        |    |                   |  |
//!    |  |  StartFailed, Ignored  |    | stop_child        |  |
//!    |  +------------------------+    v        stop_child |  |
//!    |                              Stopping <------------+  |
//!    |  finish_stop(Down)              |                     | Exited by itself:
//!    +---------------------------------+                     | plan::after_exit
//!    |                                 | finish_stop(Restart)|
//!    |                                 v                     |
//!    |                              Restarting <-------------+
//!    |                                 | its timer, or its turn in the group: start_child
//!    |                                 +--------------------------> Starting
//!    |  Leave, Quarantine, GiveUp                            |
//!    +-------------------------------------------------------+
//! ```
//!
//! A child leaves the table (`remove`) after `AfterStop::Remove` and `Decision::Forget`, and when
//! it is deleted. `AfterStop::Bounce` goes through `Down(Terminated)` to `Starting` again.
//!
//! # Stages of a group
//!
//! A [`Group`] restarts the children at or after one of them, step by step: `step_group` does
//! whatever can be done now, and each signal and alarm calls it again.
//!
//! ```text
//!  restart_group(from, due)                                 begin (first start of all)
//!          |                                                          |
//!          v     all down             due            one after other  v
//!      Stopping ----------> Waiting ----------------------------> Starting ---> no group
//!          ^  last one first                                          |  all up
//!          |                                                          |
//!          +---------------- one of the group fails ------------------+
//! ```
//!
//! While a group is `Stopping` or `Waiting`, the exit of a child in it counts against no budget:
//! it would have been stopped anyway.

mod after_stop;
mod attach;
mod children;
mod evacuate;
mod group;
pub(crate) mod handle;
mod requests;
mod signals;
mod stop;
mod suspend;
mod turn;

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    sync::{Arc, atomic::AtomicBool},
};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::Instant,
};

use self::{
    attach::Assigner,
    children::{AfterStop, ChildPhase, Children, StartCause},
    group::Group,
    handle::Request,
    turn::{Turns, later},
};
use crate::{
    arbiters::ArbiterPool,
    control::{Control, Parked},
    events::{EventKind, Events},
    exit::ExitReason,
    intensity::Window,
    record::{ChildId, ChildRecord},
    shedding::Rules,
    signal::{ChildSignal, SignalKind, SupervisorLine},
    spec::{Defaults, Options, Shutdown, Strategy, SupervisorBody},
    state::ChildState,
    totals::Totals,
};

/// State that the supervisors of a tree share.
pub(crate) struct Shared {
    pub(crate) events: Events,
    /// Rules that say which features and criticalities are suspended as a whole.
    pub(crate) rules: Rules,
    pub(crate) totals: Arc<Totals>,
    pub(crate) pool: ArbiterPool,
    pub(crate) root: Arc<ChildRecord>,
    /// True if the watchdog has to look for workers that are stalled.
    pub(crate) has_stall_limits: AtomicBool,
}

pub(crate) struct Supervisor {
    line: SupervisorLine,
    shared: Arc<Shared>,
    options: Options,
    /// Settings of workers that do not set their own.
    defaults: Defaults,
    children: Children,
    state: SupervisorState,
    group: Option<Group>,
    window: Window,
    timers: BTreeSet<(Instant, Alarm)>,
    /// Time at which the next start may have taken too long.
    starts_due: Option<Instant>,
    requests: mpsc::Receiver<Request>,
    signals: UnboundedReceiver<ChildSignal>,
    signal_sender: UnboundedSender<ChildSignal>,
    turns: Turns,
    incarnation: u64,
    /// Reason for which the supervisor is down for longer, if it is. Requests are then answered
    /// with an error.
    parked: Option<Parked>,
    /// True if the last incarnation has failed.
    failed: bool,
    random: u64,
    /// Buffer for building paths.
    scratch: String,
}

enum SupervisorState {
    /// The supervisor is down and waits to be started.
    Idle,
    /// The supervisor brings its children up for the first time in this incarnation.
    Starting,
    Up,
    Stopping(ShuttingDown),
}

struct ShuttingDown {
    kind: SignalKind,
    /// True if children that were added at run time are kept.
    keeps_added: bool,
    /// Children at or after it are down.
    cursor: ChildId,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Child(ChildId),
    Group,
    /// A child may have taken too long to start.
    Starts,
    /// The supervisor's own time to stop is up.
    Kill,
}

impl Supervisor {
    pub(crate) fn new(
        line: SupervisorLine,
        body: SupervisorBody,
        defaults: Defaults,
        shared: Arc<Shared>,
    ) -> Self {
        let (signal_sender, signals) = mpsc::unbounded_channel();
        if let Some(part) = &line.record.supervisor {
            let _ = part.signals.set(signal_sender.clone());
            if let Some(limit) = body.options.intensity.fast {
                let _ = part.limit.set(limit);
            }
        }
        let mut supervisor = Self {
            random: RandomState::new().hash_one(line.id) | 1,
            line,
            shared,
            options: body.options,
            defaults,
            children: Children::default(),
            state: SupervisorState::Idle,
            group: None,
            window: Window::default(),
            timers: BTreeSet::new(),
            starts_due: None,
            requests: body.requests,
            signals,
            signal_sender,
            turns: Turns::new(),
            incarnation: 0,
            parked: None,
            failed: false,
            scratch: String::new(),
        };
        for spec in body.children {
            supervisor.attach(spec, true);
        }
        supervisor
    }

    fn on_control(&mut self, control: Control) {
        match (control, &self.state) {
            (Control::Start { incarnation }, SupervisorState::Idle) => self.begin(incarnation),
            (
                Control::Stop(how) | Control::Suspend(how),
                SupervisorState::Starting | SupervisorState::Up,
            ) => {
                let keeps_added = matches!(control, Control::Suspend(_));
                self.stop_all(SignalKind::Exited(ExitReason::Shutdown), keeps_added);
                self.limit_stop(how);
            }
            (Control::Stop(how) | Control::Suspend(how), SupervisorState::Stopping(_)) => {
                self.limit_stop(how);
            }
            (Control::Park(parked), SupervisorState::Idle) => self.park(parked),
            (Control::Start { .. } | Control::Park(_), _)
            | (Control::Stop(_) | Control::Suspend(_), SupervisorState::Idle) => {}
        }
    }

    /// Starts a new incarnation: all declared children in order, except those suspended.
    fn begin(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.parked = None;
        self.line.begin(incarnation);
        if std::mem::take(&mut self.failed) | self.line.record.take_after_failure() {
            self.after_failure();
        }
        self.window.clear();
        self.line.record.forget_payments();
        self.state = SupervisorState::Starting;
        for id in self.children.ids() {
            if let Some(child) = self.children.get_mut(id) {
                child.window.clear();
                child.record.forget_restarts();
                child.attempt = 0;
                child.has_been_up = false;
                // A child that was suspended as part of a whole may not be so any more.
                match child.suspended_by_hand.clone() {
                    Some(suspended) => self.keep_suspended(id, suspended),
                    None => drop(self.children.set(id, ChildPhase::Restarting)),
                }
            }
        }
        self.group = Some(Group::starting());
    }

    /// Stops all children and then reports `kind`.
    fn begin_shutdown(&mut self, kind: SignalKind) {
        self.stop_all(kind, false);
    }

    fn stop_all(&mut self, kind: SignalKind, keeps_added: bool) {
        let kind = match (&self.state, kind) {
            (SupervisorState::Starting, SignalKind::Exited(reason)) if reason.is_abnormal() => {
                SignalKind::StartFailed(reason)
            }
            (_, kind) => kind,
        };
        self.failed = kind.is_failure();
        self.group = None;
        self.state = SupervisorState::Stopping(ShuttingDown {
            kind,
            keeps_added,
            cursor: ChildId::MAX,
        });
        if self.options.strategy == Strategy::Dynamic {
            for id in self.children.ids() {
                self.stop_child(id, AfterStop::Down(ChildState::Declared));
            }
        }
    }

    fn start_child(&mut self, id: ChildId, why: StartCause) {
        if let Some(suspended) = self.rule_for(id) {
            return self.hold(id, why, suspended);
        }
        let Some(mut child) = self.children.entry(id) else {
            return;
        };
        if let Some(at) = child.timer.take() {
            self.timers.remove(&(at, Alarm::Child(id)));
        }
        if std::mem::take(&mut child.is_moving) {
            child.release();
        }
        child.is_stalled = false;
        child.start_timed_out = false;
        child.start_due = None;
        child.record.set_suspended(None);
        let limit = child.policy.start_within;
        child.incarnation += 1;
        let incarnation = child.incarnation;
        child.record.set_incarnation(incarnation);
        let started = if child.assignment.is_unassigned() {
            let assigner = Assigner {
                shared: &self.shared,
                defaults: &self.defaults,
                signals: &self.signal_sender,
            };
            assigner.assign(id, &mut child)
        } else if child.control.send(Control::Start { incarnation }) {
            Ok(())
        } else {
            Err("its task is gone".to_owned())
        };
        child.set(ChildPhase::Starting(why));
        if let Err(error) = started {
            let reason = ExitReason::StartFailed(error.into());
            let _ = self.signal_sender.send(ChildSignal {
                id,
                incarnation,
                kind: SignalKind::StartFailed(reason),
            });
        }
        if let Some(limit) = limit {
            self.limit_start(id, later(Instant::now(), limit));
        }
    }

    /// Limits the time of a start. A single alarm stands for all starts, because hardly any takes
    /// long enough to need one.
    fn limit_start(&mut self, id: ChildId, due: Instant) {
        if let Some(child) = self.children.get_mut(id) {
            child.start_due = Some(due);
        }
        if self.starts_due.is_none_or(|earliest| due < earliest) {
            self.starts_due = Some(due);
            self.timers.insert((due, Alarm::Starts));
        }
    }

    fn on_starts_alarm(&mut self, now: Instant) {
        self.starts_due = None;
        for id in self.children.ids() {
            let Some(child) = self.children.get(id) else {
                continue;
            };
            match (child.phase(), child.start_due) {
                (ChildPhase::Starting(_), Some(due)) if due > now => self.limit_start(id, due),
                (ChildPhase::Starting(_), Some(_)) if !child.start_timed_out => {
                    self.on_start_too_slow(id);
                }
                _ => {}
            }
        }
    }

    /// Stops a child that is not ready in time, which has failed to start. A child that cannot even
    /// be stopped is given up.
    fn on_start_too_slow(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        if !child.start_timed_out {
            child.start_timed_out = true;
            child.control.send(Control::Stop(Shutdown::Brutal));
            return self.limit_patience(id, Shutdown::Brutal);
        }
        let path = Arc::clone(child.record.path());
        let message_type = self.abandon_task(id);
        self.shared
            .events
            .emit(&path, EventKind::Stuck { message_type });
        self.on_start_failed(id, ExitReason::Stuck { message_type });
    }

    fn set_timer(&mut self, id: ChildId, at: Instant) {
        self.clear_timer(id);
        if let Some(child) = self.children.get_mut(id) {
            child.timer = Some(at);
            self.timers.insert((at, Alarm::Child(id)));
        }
    }

    fn clear_timer(&mut self, id: ChildId) {
        if let Some(at) = self
            .children
            .get_mut(id)
            .and_then(|child| child.timer.take())
        {
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
                Alarm::Starts => self.on_starts_alarm(now),
                Alarm::Kill => self.kill_all(),
            }
        }
    }

    fn on_child_alarm(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(id) else {
            return;
        };
        child.timer = None;
        match child.phase() {
            ChildPhase::Restarting => self.start_child(id, StartCause::Again),
            ChildPhase::Starting(_) => self.on_start_too_slow(id),
            ChildPhase::Stopping(_) => {
                let (incarnation, path) = (child.incarnation, Arc::clone(child.record.path()));
                let message_type = self.abandon_task(id);
                let reason = ExitReason::Stuck { message_type };
                self.shared
                    .events
                    .emit(&path, EventKind::Stuck { message_type });
                self.on_signal(ChildSignal {
                    id,
                    incarnation,
                    kind: SignalKind::Exited(reason),
                });
            }
            _ => {}
        }
    }

    /// Returns a number in `0.0..1.0` (xorshift), which is only used to spread delays.
    fn random_fraction(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let top = u32::try_from(self.random >> 32).unwrap_or(0);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}
