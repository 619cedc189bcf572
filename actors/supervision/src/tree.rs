//! A running tree.

mod features;

use std::{
    cell::Cell,
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix::Actor;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

pub use self::features::Change;
use crate::{
    arbiters::ArbiterPool,
    ask::Monitor,
    context::Context,
    control::{Control, ControlSender},
    error::{ChildError, StartError},
    event_stream::EventStream,
    events::{EventKind, Events},
    exit::ExitReason,
    fence::Lease,
    handle::Handle,
    panic::guard,
    record::{ChildRecord, Registration},
    shedding::{Rules, Suspended},
    signal::{ChildSignal, SignalKind, SupervisorLine},
    spec::{Body, ChildSpec, Defaults, Placement, Shutdown, SupervisorSpec},
    state::ChildState,
    status::{self, ArbiterStatus, Moment, TreeStatus},
    supervisor::{
        Shared, Supervisor,
        handle::{Operation, SupervisorHandle},
    },
    totals::{Totals, TreeSummary},
    validate, watchdog,
};

/// Running tree. Clones stand for the same tree and are usable from any thread. Dropping them does
/// not stop it: call [`shutdown`](Tree::shutdown).
#[derive(Clone)]
pub struct Tree {
    root: Arc<ChildRecord>,
    shared: Arc<Shared>,
    control: Arc<ControlSender>,
    exited: watch::Receiver<Option<ExitReason>>,
}

impl Tree {
    /// Starts everything, in order, on the current arbiter (or, outside of an actix system, the
    /// current `LocalSet`). Returns when all of it is ready.
    ///
    /// # Errors
    /// A faulty specification is refused before anything starts. If a child does not start, those
    /// that did are stopped again, and the error names that child and why.
    pub async fn start(spec: SupervisorSpec) -> Result<Self, StartError> {
        // Tokio offers no way to ask whether tasks can be spawned here.
        if guard(|| drop(tokio::task::spawn_local(async {}))).is_err() {
            return Err(StartError::NoLocalSet);
        }
        let spec = ChildSpec::from(spec);
        if let Body::Supervisor(body) = &spec.body {
            validate::root(&spec, &body.options)?;
        }
        let ChildSpec {
            policy,
            record,
            body,
        } = spec;
        let Body::Supervisor(body) = body else {
            return Err(StartError::failed("the root is not a supervisor"));
        };
        let defaults = Defaults::default().for_those_below(&policy);
        let totals = Arc::<Totals>::default();
        record.attach(Registration {
            path: Arc::clone(&record.name),
            policy: Arc::new(policy),
            window: None,
            stall: None,
            totals: Arc::clone(&totals),
        });
        let shared = Arc::new(Shared {
            events: Events::new(),
            rules: Rules::default(),
            totals: Arc::clone(&totals),
            pool: ArbiterPool::new(
                body.options.groups.clone(),
                body.options.replacements.clone(),
            ),
            root: Arc::clone(&record),
            has_stall_limits: AtomicBool::new(false),
        });
        let watchdog = body
            .options
            .watchdog
            .map(|limit| watchdog::start(limit, &record, &shared));
        let here = actix_rt::spawn(Arc::clone(shared.pool.here()).answer());
        let lease = Lease::of(&record);
        let control = Arc::new(ControlSender::new());
        let (signal_sender, mut signals) = mpsc::unbounded_channel();
        let line = SupervisorLine {
            id: 0,
            record: Arc::clone(&record),
            control: control.connect(lease.clone()),
            lease,
            signals: signal_sender,
            in_run: Cell::new(None),
        };
        let supervisor = Supervisor::new(line, *body, defaults, Arc::clone(&shared));
        let running = actix_rt::spawn(supervisor.run());
        record.set_incarnation(1);
        record.set_state(ChildState::Starting);
        control.send(Control::Start { incarnation: 1 });
        let (exit, exited) = watch::channel(None);
        let (up, is_up) = oneshot::channel();
        let owner = RootOwner {
            record: Arc::clone(&record),
            shared: Arc::clone(&shared),
            control: Arc::clone(&control),
            exit,
            _watchdog: watchdog,
        };
        actix_rt::spawn(async move {
            let mut up = Some(up);
            let reason = owner.supervise(&mut signals, &mut up).await;
            // Monitors of the root get the reason for its end, not that it is gone.
            owner.record.record_exit(&reason);
            // Ends the root's task, and with it everything below.
            running.abort();
            drop(running.await);
            here.abort();
            owner.end(reason, up);
        });
        match is_up.await {
            Ok(Ok(())) => Ok(Self {
                root: record,
                shared,
                control,
                exited,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Stopped),
        }
    }

    /// Returns the state of everything now. Never waits for the tree.
    #[must_use]
    pub fn status(&self) -> TreeStatus {
        status::of(&self.root, &self.moment())
    }

    /// Returns the [status](Self::status) of the child at `path` (`root/child/...`) and all below
    /// it. `None` if there is no such child.
    #[must_use]
    pub fn status_of(&self, path: &str) -> Option<TreeStatus> {
        Some(status::of(&*self.root.descendant(path)?, &self.moment()))
    }

    fn moment(&self) -> Moment {
        let slots = self.shared.pool.slots().into_iter();
        Moment {
            now: Instant::now(),
            arbiters: slots
                .map(|slot| (slot.id, Arc::clone(&slot.name)))
                .collect(),
        }
    }

    /// Subscribes to the events from now on. The stream ends with the tree.
    #[must_use]
    pub fn subscribe(&self) -> EventStream {
        self.shared.events.subscribe()
    }

    /// Returns the handle of the supervisor at `path`.
    #[must_use]
    pub fn supervisor(&self, path: &str) -> Option<SupervisorHandle> {
        SupervisorHandle::of(&self.root.descendant(path)?)
    }

    /// Stops the child at `path` and all below it on purpose, until it is resumed. See
    /// [`SupervisorHandle::suspend_child`].
    ///
    /// # Errors
    /// If there is no such child, it is the root, or its supervisor, or one above that, is
    /// suspended or down ([`ChildError::Suspended`], [`ChildError::Down`]).
    pub async fn suspend_path(&self, path: &str) -> Result<(), ChildError> {
        let suspended = Suspended::now(None, None);
        self.operate(path, Operation::Suspend(suspended)).await
    }

    /// Does the same as [`suspend_path`](Self::suspend_path), and records who does it and why: see
    /// [`TreeStatus::suspended`].
    ///
    /// # Errors
    /// As [`suspend_path`](Self::suspend_path).
    pub async fn suspend_path_as(
        &self,
        path: &str,
        by: impl Into<String>,
        why: impl Into<String>,
    ) -> Result<(), ChildError> {
        let suspended = Suspended::now(Some(by.into()), Some(why.into()));
        self.operate(path, Operation::Suspend(suspended)).await
    }

    /// Starts a suspended child again, in its place.
    ///
    /// # Errors
    /// As [`SupervisorHandle::resume_child`]; and if it is the root.
    pub async fn resume_path(&self, path: &str) -> Result<(), ChildError> {
        self.operate(path, Operation::Resume).await
    }

    /// Stops the child at `path`, if it is running, and starts it: one operation of its supervisor,
    /// so that nothing can come in between, and a temporary child is kept. Not counted as a
    /// failure. A child that waits for its restart is started at once.
    ///
    /// If a child that was running, or waited for its restart, does not start, that is an error
    /// here, and a failure like a crash: it counts against the budget, and the child is started
    /// again (a temporary one is forgotten), or its supervisor gives up. A child that was down
    /// stays down.
    ///
    /// # Errors
    /// If there is no such child, it is the root, it is being stopped, it does not start, or it is
    /// suspended. [`ChildError::Suspended`] or [`ChildError::Down`] also if its supervisor, or one
    /// above that, is suspended or down.
    pub async fn restart_path(&self, path: &str) -> Result<(), ChildError> {
        self.operate(path, Operation::Bounce).await
    }

    /// Makes the worker at `path` run on another arbiter: see [`SupervisorHandle::move_child`].
    ///
    /// # Errors
    /// As [`SupervisorHandle::move_child`]; and if it is the root.
    pub async fn move_child(&self, path: &str, placement: Placement) -> Result<(), ChildError> {
        self.operate(path, Operation::Move(placement)).await
    }

    /// Ends the run of the child at `path` as if it had failed, for tests of what follows.
    ///
    /// # Errors
    /// As [`restart_path`](Self::restart_path); [`ChildError::Down`] if it is not running.
    #[cfg(any(test, feature = "testing"))]
    pub async fn fail_path(&self, path: &str) -> Result<(), ChildError> {
        self.operate(path, Operation::Fail).await
    }

    /// Returns the arbiters of the tree, beginning with the one that started it.
    #[must_use]
    pub fn arbiters(&self) -> Vec<ArbiterStatus> {
        let slots = self.shared.pool.slots();
        slots.iter().map(|slot| slot.status()).collect()
    }

    #[cfg(test)]
    pub(crate) fn pool(&self) -> &ArbiterPool {
        &self.shared.pool
    }

    async fn operate(&self, path: &str, operation: Operation) -> Result<(), ChildError> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return Err(if path == &*self.root.name {
                ChildError::Root
            } else {
                ChildError::NotFound
            });
        };
        let supervisor = self.supervisor(parent).ok_or(ChildError::NotFound)?;
        supervisor.operate(name, operation).await
    }

    /// Stops everything in reverse order, each child within its time-out, and returns when all is
    /// down. Returns at once if the tree has ended. The shutdown takes as long as the children's
    /// time-outs allow: see [`shutdown_within`](Self::shutdown_within).
    pub async fn shutdown(&self) -> ExitReason {
        self.control.send(Control::Stop(Shutdown::Infinity));
        self.exited().await
    }

    /// Stops everything like [`shutdown`](Self::shutdown), and kills children that are left after
    /// `limit`.
    pub async fn shutdown_within(&self, limit: Duration) -> ExitReason {
        self.control.send(Control::Stop(Shutdown::Within(limit)));
        self.exited().await
    }

    /// Returns the typed address of the worker at `path`; `None` if there is none, or it runs
    /// another actor.
    #[must_use]
    pub fn handle<A: Actor<Context = Context<A>>>(&self, path: &str) -> Option<Handle<A>> {
        let worker = self.root.descendant(path)?.worker.get()?.upgrade()?;
        let handle = worker.handle().downcast::<Handle<A>>();
        handle.ok().map(|handle| *handle)
    }

    /// Resolves when the current (or next) run of the child at `path`, a worker or a supervisor,
    /// ends, with the reason. `None` instead of a monitor if there is no such child; a monitor that
    /// resolves to `None` says that the child was removed, or its tree ended, before it ran again.
    #[must_use]
    pub fn monitor(&self, path: &str) -> Option<Monitor> {
        Some(Monitor(self.root.descendant(path)?.monitor()))
    }

    /// Returns the tree in a few numbers. The cost does not depend on the size of the tree.
    #[must_use]
    pub fn status_summary(&self) -> TreeSummary {
        self.shared.totals.summary()
    }

    /// Resolves when the root has ended: it gave up, or was shut down.
    pub async fn exited(&self) -> ExitReason {
        let mut exited = self.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(ExitReason::Killed),
            Err(_) => ExitReason::Killed, // its arbiter was stopped
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tree").field(&self.root.name).finish()
    }
}

/// Substitute for the supervisor that the root does not have.
struct RootOwner {
    record: Arc<ChildRecord>,
    shared: Arc<Shared>,
    control: Arc<ControlSender>,
    exit: watch::Sender<Option<ExitReason>>,
    _watchdog: Option<watchdog::Guard>,
}

impl RootOwner {
    async fn supervise(
        &self,
        signals: &mut mpsc::UnboundedReceiver<ChildSignal>,
        up: &mut Option<oneshot::Sender<Result<(), StartError>>>,
    ) -> ExitReason {
        while let Some(signal) = signals.recv().await {
            return match signal.kind {
                SignalKind::Started => {
                    self.record.set_state(ChildState::Running);
                    self.record.record_start(Instant::now());
                    let incarnation = signal.incarnation;
                    self.shared
                        .events
                        .emit(self.record.path(), EventKind::Started { incarnation });
                    if up.take().is_some_and(|up| up.send(Ok(())).is_err()) {
                        // The start was abandoned, so nobody could ever stop the tree.
                        self.control.send(Control::Stop(Shutdown::Infinity));
                    }
                    continue;
                }
                SignalKind::Health
                | SignalKind::PoisonMail { .. }
                | SignalKind::Blocked(_)
                | SignalKind::TaskLost { .. }
                | SignalKind::Stalled => continue,
                SignalKind::Ignored => ExitReason::Normal,
                SignalKind::StartFailed(reason) | SignalKind::Exited(reason) => reason,
            };
        }
        ExitReason::Killed
    }

    fn end(&self, reason: ExitReason, up: Option<oneshot::Sender<Result<(), StartError>>>) {
        self.record.set_state(ChildState::Ended);
        self.shared.pool.stop();
        self.shared.events.emit(
            self.record.path(),
            EventKind::Stopped {
                exit: reason.clone(),
            },
        );
        if let Some(up) = up {
            let _ = up.send(Err(match &reason {
                ExitReason::ChildStart { child, cause } => StartError::Child {
                    path: Arc::clone(child),
                    reason: cause.as_ref().clone(),
                },
                ExitReason::GaveUp(gave_up) => StartError::Child {
                    path: Arc::clone(&gave_up.child),
                    reason: reason.clone(),
                },
                _ => StartError::Stopped,
            }));
        }
        self.shared.events.close();
        self.exit.send_replace(Some(reason));
    }
}

impl Drop for RootOwner {
    /// Marks the tree as ended, if only because its arbiter was stopped.
    fn drop(&mut self) {
        self.shared.events.close();
    }
}
