//! What is asked of a running supervisor, and the handle to ask it.

use std::{fmt, sync::Arc};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::{ChildError, StartChildError},
    events::text,
    record::ChildRecord,
    shedding::Suspended,
    spec::{ChildSpec, Placement, Restart},
    state::{ChildState, Kind},
};

/// Requests that may wait at a supervisor; who asks more waits to be let in.
pub(crate) const REQUEST_QUEUE: usize = 256;

pub(crate) type Reply<T> = oneshot::Sender<T>;
pub(crate) type ChildReply = Reply<Result<(), ChildError>>;
pub(crate) type StartReply = Reply<Result<(), StartChildError>>;

pub(crate) enum Request {
    Start(Box<ChildSpec>, StartReply),
    On(String, Operation, ChildReply),
    Which(Reply<Vec<ChildInfo>>),
    Count(Reply<ChildCounts>),
    /// Has the supervisor itself panic.
    #[cfg(test)]
    Panic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Terminate,
    Restart,
    Delete,
    /// Because of itself.
    Suspend(Suspended),
    Resume,
    /// Suspend it if it is part of something that is suspended.
    Enforce,
    /// Resume it if it was suspended as part of something, and is not any more.
    Release,
    /// Stop it, if it is running, and start it.
    Bounce,
    /// Have it run on another arbiter.
    Move(Placement),
    /// End its run as if it had failed.
    #[cfg(any(test, feature = "testing"))]
    Fail,
}

/// One child, as [`SupervisorHandle::which_children`] reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Name among its siblings.
    #[serde(serialize_with = "text")]
    pub name: Arc<str>,
    /// Worker or supervisor.
    pub kind: Kind,
    /// What it is doing.
    pub state: ChildState,
    /// Its restart type.
    pub restart: Restart,
}

/// How many children there are, as [`SupervisorHandle::count_children`] reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChildCounts {
    /// All specifications, running or not.
    pub specs: usize,
    /// Children that are up, coming up or going down. One that waits for its restart is not.
    pub active: usize,
    /// Children that are supervisors.
    pub supervisors: usize,
    /// Children that are workers.
    pub workers: usize,
}

/// The handle of a supervisor: adds children and operates them at run time. It works from the
/// declaration on: what is asked before the supervisor is up, or while it waits for its restart,
/// waits until it is up. While it is stopping, or it, or one above it, is suspended or down for
/// longer, children cannot be added or operated, and requests to do so are answered with an error at
/// once; what there is can still be listed and counted.
#[derive(Clone)]
pub struct SupervisorHandle {
    record: Arc<ChildRecord>,
    requests: mpsc::Sender<Request>,
}

impl SupervisorHandle {
    pub(crate) fn of(record: &Arc<ChildRecord>) -> Option<Self> {
        let requests = record.supervisor.as_ref()?.requests.clone();
        Some(Self {
            record: Arc::clone(record),
            requests,
        })
    }

    pub(crate) fn new(record: &Arc<ChildRecord>) -> Self {
        match Self::of(record) {
            Some(handle) => handle,
            None => unreachable!("made for supervisors only"),
        }
    }

    /// Adds a child (a worker or a whole subtree) after those already there and starts it; returns
    /// when it is ready. Take its [`handle`](crate::WorkerSpec::handle) before: the specification
    /// is consumed.
    ///
    /// If its factory declines, this is `Ok` and the child does not run: it is kept, unless it is
    /// temporary or the supervisor is dynamic. A child that is part of a suspended feature, or of
    /// what is [shed](crate::Tree::shed), is added suspended, and this is `Ok`, too.
    ///
    /// # Errors
    /// If the name is taken, there is no room, the specification is faulty, the child does not
    /// start, or this supervisor, or one above it, is suspended or down; in each case the
    /// specification is discarded.
    pub async fn start_child(&self, spec: impl Into<ChildSpec>) -> Result<(), StartChildError> {
        let spec = Box::new(spec.into());
        self.request(|reply| Request::Start(spec, reply))
            .await
            .unwrap_or(Err(StartChildError::Gone))
    }

    /// Stops a child and keeps its specification (a temporary one is forgotten). Does nothing to
    /// one that is down already; one that waits for its restart is not restarted.
    ///
    /// # Errors
    /// [`ChildError::NotFound`]; [`ChildError::Suspended`] or [`ChildError::Down`] if this
    /// supervisor, or one above it, is suspended or down; [`ChildError::Gone`] if it was removed.
    pub async fn terminate_child(&self, name: &str) -> Result<(), ChildError> {
        self.operate(name, Operation::Terminate).await
    }

    /// Starts a child again that is down: terminated, ended, quarantined.
    ///
    /// # Errors
    /// If there is no such child, it is running or about to, it does not start (its specification
    /// is kept), or it is suspended. [`ChildError::Suspended`] or [`ChildError::Down`] also if this
    /// supervisor, or one above it, is suspended or down.
    pub async fn restart_child(&self, name: &str) -> Result<(), ChildError> {
        self.operate(name, Operation::Restart).await
    }

    /// Removes a child that is down.
    ///
    /// # Errors
    /// If there is no such child, or it is running or about to. [`ChildError::Suspended`] or
    /// [`ChildError::Down`] if this supervisor, or one above it, is suspended or down.
    pub async fn delete_child(&self, name: &str) -> Result<(), ChildError> {
        self.operate(name, Operation::Delete).await
    }

    /// Stops a child on purpose, until it is resumed: not a failure, and not undone by the
    /// restart of a sibling or of this supervisor. Returns when it has stopped.
    ///
    /// # Errors
    /// [`ChildError::NotFound`]; [`ChildError::Suspended`] or [`ChildError::Down`] if this
    /// supervisor, or one above it, is suspended or down; [`ChildError::Gone`] if it was removed.
    pub async fn suspend_child(&self, name: &str) -> Result<(), ChildError> {
        let suspended = Suspended::now(None, None);
        self.operate(name, Operation::Suspend(suspended)).await
    }

    /// Starts a suspended child in its place. Returns when it is ready.
    ///
    /// # Errors
    /// If there is no such child, it is not suspended, or it does not start (it then stays
    /// suspended). [`ChildError::Suspended`] if it is also part of something that is suspended.
    /// [`ChildError::Suspended`] or [`ChildError::Down`] if this supervisor, or one above it, is
    /// suspended or down.
    pub async fn resume_child(&self, name: &str) -> Result<(), ChildError> {
        self.operate(name, Operation::Resume).await
    }

    /// Has a worker run on another arbiter from now on, whatever its specification says. One that
    /// is running is stopped and started there, in its place; that is not counted as a failure, and
    /// address and mailbox stay. Returns when it is ready.
    ///
    /// If its first start there fails, it goes back to where it ran before. One that was running is
    /// started there: a failure that counts against the budget like a crash.
    ///
    /// # Errors
    /// If there is no such child or no such group, it is a supervisor, it is being stopped, or it
    /// does not start. [`ChildError::Suspended`] or [`ChildError::Down`] if this supervisor, or one
    /// above it, is suspended or down.
    pub async fn move_child(&self, name: &str, placement: Placement) -> Result<(), ChildError> {
        self.operate(name, Operation::Move(placement)).await
    }

    /// The children in their order. Empty if the supervisor is gone.
    pub async fn which_children(&self) -> Vec<ChildInfo> {
        self.request(Request::Which).await.unwrap_or_default()
    }

    /// How many children there are. Zeros if the supervisor is gone.
    pub async fn count_children(&self) -> ChildCounts {
        self.request(Request::Count).await.unwrap_or_default()
    }

    /// Returns whether the supervisor was removed or its tree ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.requests.is_closed()
    }

    /// The supervisor's path in its tree; its bare name before the tree is started.
    #[must_use]
    pub fn path(&self) -> &str {
        self.record.path()
    }

    pub(crate) async fn operate(&self, name: &str, operation: Operation) -> Result<(), ChildError> {
        let name = name.to_owned();
        self.request(|reply| Request::On(name, operation, reply))
            .await
            .unwrap_or(Err(ChildError::Gone))
    }

    #[cfg(test)]
    pub(crate) async fn tell(&self, request: Request) {
        let _ = self.requests.send(request).await;
    }

    async fn request<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl fmt::Debug for SupervisorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SupervisorHandle")
            .field(&self.path())
            .finish()
    }
}
