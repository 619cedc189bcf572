//! Choice of what a supervisor does next.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{Supervisor, SupervisorState, handle::Request};
use crate::{
    control::Control,
    exit::ExitReason,
    panic::{Panic, drop_quietly, guard},
    signal::{ChildSignal, SignalKind},
};

/// Number of turns after which a waiting source gets the next turn, however busy the others are.
/// Fixed: bounds one turn; it was measured, and the figures of docs/PERFORMANCE.md hold with it.
const PATIENCE: u32 = 32;

/// Delay that is longer than any wait, but short enough to be added to a time. Fact: far
/// within the range of the clock.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Returns `now + delay`, however long `delay` is.
pub(super) fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or_else(|| now + FAR)
}

pub(super) enum Turn {
    Control(Control),
    Signal(ChildSignal),
    Request(Request),
    Alarm,
    /// The supervisor was removed, and its control channel is closed.
    Removed,
}

/// Number of turns that each source has been waiting, and the clock. Signals come first, because
/// they report the actual state. But neither requests nor alarms wait longer than [`PATIENCE`]
/// turns, so that a crash loop can be ended, and children that wait for their restart get it,
/// however many others crash meanwhile.
pub(super) struct Turns {
    since_request: u32,
    since_alarm: u32,
    clock: Pin<Box<Sleep>>,
    /// Time to which the clock is set.
    set_to: Option<Instant>,
    /// True if the clock has the waker of this task, which stays the same.
    clock_is_armed: bool,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            since_request: 0,
            since_alarm: 0,
            clock: Box::pin(sleep(Duration::ZERO)),
            set_to: None,
            clock_is_armed: false,
        }
    }

    /// Returns true if the time has come to which the clock is set.
    fn is_time(&mut self, cx: &mut Context<'_>) -> bool {
        if self.clock_is_armed {
            return self.clock.is_elapsed();
        }
        self.clock_is_armed = true;
        self.clock.as_mut().poll(cx).is_ready()
    }

    fn set_clock(&mut self, at: Option<Instant>) {
        if let Some(at) = at
            && self.set_to != Some(at)
        {
            self.clock.as_mut().reset(at);
            self.clock_is_armed = false;
        }
        self.set_to = at;
    }
}

impl Supervisor {
    /// Runs until the supervisor is removed.
    pub(crate) async fn run(mut self) {
        let mut panicked = false;
        loop {
            let turn = self.next().await;
            if let Turn::Removed = turn {
                break;
            }
            if let Err(panic) = guard(|| self.take(turn)) {
                // The children are in an unknown state, and go down with the supervisor; then the
                // parent decides. If that fails, too, the closed control channel says that the
                // supervisor is gone.
                if panicked || guard(|| self.crash(panic)).is_err() {
                    break;
                }
                panicked = true;
            }
            panicked &= matches!(self.state, SupervisorState::Stopping(_));
        }
        for id in self.children.ids() {
            let _ = guard(|| self.remove(id));
        }
        self.line.record.set_removed();
        let _ = drop_quietly(self);
    }

    async fn next(&mut self) -> Turn {
        let alarm = self.timers.first().map(|(at, _)| *at);
        self.turns.set_clock(alarm);
        let takes_requests = self.takes_requests();
        poll_fn(|cx| {
            if let Poll::Ready(control) = self.line.control.poll_recv(cx) {
                return Poll::Ready(control.map_or(Turn::Removed, Turn::Control));
            }
            let turns = &mut self.turns;
            if alarm.is_some() && turns.since_alarm >= PATIENCE && turns.is_time(cx) {
                return Poll::Ready(Turn::Alarm);
            }
            if takes_requests
                && turns.since_request >= PATIENCE
                && let Poll::Ready(Some(request)) = self.requests.poll_recv(cx)
            {
                return Poll::Ready(Turn::Request(request));
            }
            if let Poll::Ready(Some(signal)) = self.signals.poll_recv(cx) {
                return Poll::Ready(Turn::Signal(signal));
            }
            if takes_requests && let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
                return Poll::Ready(Turn::Request(request));
            }
            if alarm.is_some() && turns.is_time(cx) {
                return Poll::Ready(Turn::Alarm);
            }
            Poll::Pending
        })
        .await
    }

    fn take(&mut self, turn: Turn) {
        self.turns.since_request = self.turns.since_request.saturating_add(1);
        self.turns.since_alarm = self.turns.since_alarm.saturating_add(1);
        match turn {
            Turn::Control(control) => self.on_control(control),
            Turn::Signal(signal) => self.on_signal(signal),
            Turn::Request(request) => {
                self.turns.since_request = 0;
                self.on_request(request);
            }
            Turn::Alarm => {
                self.turns.since_alarm = 0;
                self.turns.set_to = None;
                self.on_alarm();
            }
            Turn::Removed => {}
        }
        self.step_group();
        self.children.park_changed(self.parked);
    }

    /// Ends this incarnation after a panic in the supervisor itself, which is a defect of this
    /// crate or of a destructor that it had to run.
    fn crash(&mut self, panic: Panic) {
        let reason = ExitReason::Panicked(Arc::new(panic));
        if matches!(self.state, SupervisorState::Idle) {
            return;
        }
        self.begin_shutdown(SignalKind::Exited(reason));
        self.kill_all();
        self.step_group();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::{EventKind, Intensity, StartError, SupervisorSpec, Tree, child, testing};

    struct Worker(Arc<AtomicUsize>);

    impl actix::Actor for Worker {
        type Context = crate::Context<Self>;
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }

    /// Returns a root with a supervisor with a worker, and the number of workers that live.
    fn tree(restarts: u32) -> (SupervisorSpec, Arc<AtomicUsize>) {
        let alive = Arc::new(AtomicUsize::new(0));
        let given = Arc::clone(&alive);
        let (worker, _) = child("worker", move || {
            given.fetch_add(1, SeqCst);
            let worker = Worker(Arc::clone(&given));
            async move { Ok::<_, StartError>(worker) }
        });
        let inner = SupervisorSpec::one_for_one("inner").child(worker);
        let root = SupervisorSpec::one_for_one("root")
            .intensity(Intensity::new(restarts, Duration::from_secs(5)))
            .child(inner);
        (root, alive)
    }

    async fn panic_at(tree: &Tree, path: &str) {
        let supervisor = tree.supervisor(path).unwrap();
        supervisor.tell(Request::Panic).await;
        testing::idle().await;
    }

    #[test]
    fn a_supervisor_that_panics_is_restarted_by_its_supervisor() {
        testing::run(async {
            let (root, alive) = tree(1);
            let tree = Tree::start(root).await.unwrap();
            let mut events = tree.subscribe();
            panic_at(&tree, "root/inner").await;
            let crashed = |event: &crate::Event| {
                let crashed = matches!(event.kind, EventKind::Crashed { .. });
                crashed && &*event.path == "root/inner"
            };
            let event = testing::wait_for(&mut events, Duration::from_secs(1), crashed).await;
            let EventKind::Crashed { exit, .. } = event.unwrap().kind else {
                unreachable!();
            };
            assert_eq!(exit.message().as_deref(), Some("told to panic"));
            let status = tree.status_of("root/inner").unwrap();
            assert_eq!((status.incarnation, alive.load(SeqCst)), (2, 1));
            // One more is too much for the root.
            panic_at(&tree, "root/inner").await;
            assert_eq!(tree.exited().await.code(), "gave_up");
            assert_eq!(alive.load(SeqCst), 0);
        });
    }

    #[test]
    fn a_root_that_panics_ends_the_tree() {
        testing::run(async {
            let (root, alive) = tree(1);
            let tree = Tree::start(root).await.unwrap();
            panic_at(&tree, "root").await;
            assert_eq!(tree.shutdown().await.code(), "panicked");
            assert_eq!(alive.load(SeqCst), 0);
        });
    }
}
