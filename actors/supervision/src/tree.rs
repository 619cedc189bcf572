//! A running tree.

use std::{fmt, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    arbiters::Pool,
    control::{self, Control, ControlSender},
    driver::{Link, News, Note},
    error::{ChildError, StartError},
    events::{EventKind, EventStream, Events},
    exit::ExitReason,
    node::{ChildState, Node, Place},
    spec::{Body, ChildSpec, Shutdown, SupervisorSpec},
    status::{self, TreeStatus},
    supervisor::{
        Shared, Supervisor,
        admin::{Operation, SupervisorHandle},
    },
    tenure::Lease,
    validate, watchdog,
};

/// A running tree. Clones stand for the same tree and are usable from any thread. Dropping them
/// does not stop it: call [`shutdown`](Tree::shutdown).
#[derive(Clone)]
pub struct Tree {
    root: Arc<Node>,
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
        let spec = ChildSpec::from(spec);
        validate::root(&spec)?;
        let ChildSpec { policy, node, body } = spec;
        let Body::Supervisor(body) = body else {
            return Err(StartError::failed("the root is not a supervisor"));
        };
        node.attach(Place {
            path: Arc::clone(&node.name),
            policy: Arc::new(policy),
            window: None,
        });
        let shared = Arc::new(Shared {
            events: Events::new(),
            pool: Pool::new(body.options.pool),
        });
        let watchdog = body
            .options
            .watchdog
            .map(|limit| watchdog::start(limit, &node, &shared));
        let here = actix_rt::spawn(Arc::clone(shared.pool.here()).answer());
        let lease = Lease::of(&node);
        let (control, control_receiver) = control::line(lease.clone());
        let control = Arc::new(control);
        let (notes, mut news) = mpsc::unbounded_channel();
        let link = Link {
            id: 0,
            node: Arc::clone(&node),
            control: control_receiver,
            lease,
            notes,
        };
        let supervisor = Supervisor::new(link, *body, Arc::clone(&shared));
        let running = actix_rt::spawn(supervisor.run());
        node.set_incarnation(1);
        node.set_state(ChildState::Starting);
        control.send(Control::Start { incarnation: 1 });
        let (exit, exited) = watch::channel(None);
        let (up, is_up) = oneshot::channel();
        let keeper = Keeper {
            node: Arc::clone(&node),
            shared: Arc::clone(&shared),
            control: Arc::clone(&control),
            exit,
            _watchdog: watchdog,
        };
        actix_rt::spawn(async move {
            let mut up = Some(up);
            let reason = keeper.keep(&mut news, &mut up).await;
            // Ends the root's task, and with it everything below.
            running.abort();
            drop(running.await);
            here.abort();
            keeper.end(reason, up);
        });
        match is_up.await {
            Ok(Ok(())) => Ok(Self {
                root: node,
                shared,
                control,
                exited,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Stopped),
        }
    }

    /// What everything is doing now. Never waits for the tree.
    #[must_use]
    pub fn status(&self) -> TreeStatus {
        status::of(&self.root, Instant::now())
    }

    /// The same for the child at `path` (`root/child/...`) and all below it.
    #[must_use]
    pub fn status_of(&self, path: &str) -> Option<TreeStatus> {
        Some(status::of(&*self.find(path)?, Instant::now()))
    }

    /// The events from now on.
    #[must_use]
    pub fn subscribe(&self) -> EventStream {
        self.shared.events.subscribe()
    }

    /// The handle of the supervisor at `path`.
    #[must_use]
    pub fn supervisor(&self, path: &str) -> Option<SupervisorHandle> {
        SupervisorHandle::of(&self.find(path)?)
    }

    /// Stops the child at `path` and all below it on purpose, until it is resumed. See
    /// [`SupervisorHandle::suspend_child`].
    ///
    /// # Errors
    /// If there is no such child, or it is the root.
    pub async fn suspend_path(&self, path: &str) -> Result<(), ChildError> {
        self.operate(path, Operation::Suspend).await
    }

    /// Starts a suspended child again, in its place.
    ///
    /// # Errors
    /// See [`SupervisorHandle::resume_child`].
    pub async fn resume_path(&self, path: &str) -> Result<(), ChildError> {
        self.operate(path, Operation::Resume).await
    }

    /// Stops the child at `path`, if it is running, and starts it: one operation of its
    /// supervisor, so that nothing can come in between, and a temporary child is kept. Not counted
    /// as a failure. One that waits for its restart is started at once.
    ///
    /// # Errors
    /// If there is no such child, it is the root, it is suspended, it is being stopped, or it does
    /// not start.
    pub async fn restart_path(&self, path: &str) -> Result<(), ChildError> {
        self.operate(path, Operation::Cycle).await
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
    /// down. Returns at once if the tree has ended.
    pub async fn shutdown(&self) -> ExitReason {
        self.control.send(Control::Stop(Shutdown::Infinity));
        self.exited().await
    }

    /// Resolves when the root has ended: it gave up, or was shut down.
    pub async fn exited(&self) -> ExitReason {
        let mut exited = self.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(ExitReason::Killed),
            Err(_) => ExitReason::Killed, // its arbiter was stopped
        }
    }

    fn find(&self, path: &str) -> Option<Arc<Node>> {
        let mut parts = path.split('/');
        if parts.next()? != &*self.root.name {
            return None;
        }
        parts.try_fold(Arc::clone(&self.root), |node, name| node.find(name))
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tree").field(&self.root.name).finish()
    }
}

/// Stands in for the supervisor the root does not have.
struct Keeper {
    node: Arc<Node>,
    shared: Arc<Shared>,
    control: Arc<ControlSender>,
    exit: watch::Sender<Option<ExitReason>>,
    _watchdog: Option<watchdog::Guard>,
}

impl Keeper {
    async fn keep(
        &self,
        news: &mut mpsc::UnboundedReceiver<Note>,
        up: &mut Option<oneshot::Sender<Result<(), StartError>>>,
    ) -> ExitReason {
        while let Some(note) = news.recv().await {
            return match note.news {
                News::Started => {
                    self.node.set_state(ChildState::Running);
                    self.node.note_up(Instant::now());
                    let incarnation = note.incarnation;
                    self.shared
                        .events
                        .emit(self.node.path(), EventKind::Started { incarnation });
                    if up.take().is_some_and(|up| up.send(Ok(())).is_err()) {
                        // Nobody waited for it: nobody could ever stop it.
                        self.control.send(Control::Stop(Shutdown::Infinity));
                    }
                    continue;
                }
                News::Blocked(_) => continue,
                News::Ignored => ExitReason::Normal,
                News::StartFailed(reason) | News::Exited(reason) => reason,
            };
        }
        ExitReason::Killed
    }

    fn end(&self, reason: ExitReason, up: Option<oneshot::Sender<Result<(), StartError>>>) {
        self.node.note_exit(&reason);
        self.node.set_state(ChildState::Ended);
        self.shared.pool.stop();
        self.shared.events.emit(
            self.node.path(),
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
                _ => StartError::Stopped,
            }));
        }
        self.exit.send_replace(Some(reason));
    }
}
