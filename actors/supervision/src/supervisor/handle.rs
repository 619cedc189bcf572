//! Requests to a running supervisor, and the handle that sends them.

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

/// Number of requests that may wait at a supervisor; senders of more wait for room.
/// Fixed: of the library, which has no settings.
pub(crate) const REQUEST_QUEUE: usize = 256;

pub(crate) type Reply<T> = oneshot::Sender<T>;
pub(crate) type ChildReply = Reply<Result<(), ChildError>>;
pub(crate) type StartReply = Reply<Result<(), StartChildError>>;

pub(crate) enum Request {
    Start(Box<ChildSpec>, StartReply),
    On(String, Operation, ChildReply),
    Which(Reply<Vec<ChildInfo>>),
    Count(Reply<ChildCounts>),
    /// Makes the supervisor itself panic.
    #[cfg(test)]
    Panic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Terminate,
    Restart,
    Delete,
    /// Suspend the child by itself, not as part of a whole.
    Suspend(Suspended),
    Resume,
    /// Suspend the child if it is part of something that is suspended.
    Enforce,
    /// Resume the child if it was suspended as part of something, and is not any more.
    Release,
    /// Stop the child, if it is running, and start it.
    Bounce,
    /// Make the child run on another arbiter.
    Move(Placement),
    /// End the run of the child as if it had failed.
    #[cfg(any(test, feature = "testing"))]
    Fail,
}

/// Description of one child, as [`SupervisorHandle::which_children`] reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Name of the child, which is unique among its siblings.
    #[serde(serialize_with = "text")]
    pub name: Arc<str>,
    /// Kind of the child: worker or supervisor.
    pub kind: Kind,
    /// State that the child is in.
    pub state: ChildState,
    /// Restart type of the child.
    pub restart: Restart,
}

/// Numbers of children, as [`SupervisorHandle::count_children`] reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChildCounts {
    /// Number of specifications, running or not.
    pub specs: usize,
    /// Number of children that are up, coming up or going down. A child that waits for its restart
    /// is not counted.
    pub active: usize,
    /// Number of children that are supervisors.
    pub supervisors: usize,
    /// Number of children that are workers.
    pub workers: usize,
}

/// Handle of a supervisor, which adds children and operates them at run time. The handle works from
/// the declaration on: requests that are made before the supervisor is up, or while it waits for
/// its restart, wait until it is up. While the supervisor is stopping, or it, or one above it, is
/// suspended or down for longer, children cannot be added or operated, and requests to do so are
/// answered with an error at once; existing children can still be listed and counted.
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
    /// If the child's factory declines, this is `Ok` and the child does not run: it is kept, unless
    /// it is temporary or the supervisor is dynamic. A child that is part of a suspended feature,
    /// or of what is [shed](crate::Tree::shed), is added suspended, and this is `Ok`, too.
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

    /// Stops a child and keeps its specification (a temporary one is forgotten). Does nothing to a
    /// child that is down already; a child that waits for its restart is not restarted.
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

    /// Makes a worker run on another arbiter from now on, whatever its specification says. A
    /// running worker is stopped and started there, in its place; that is not counted as a failure,
    /// and address and mailbox stay. Returns when it is ready.
    ///
    /// If the first start there fails, the worker goes back to where it ran before. A worker that
    /// was running is started there, and the failure counts against the budget like a crash.
    ///
    /// # Errors
    /// If there is no such child or no such group, it is a supervisor, it is being stopped, or it
    /// does not start. [`ChildError::Suspended`] or [`ChildError::Down`] if this supervisor, or one
    /// above it, is suspended or down.
    pub async fn move_child(&self, name: &str, placement: Placement) -> Result<(), ChildError> {
        self.operate(name, Operation::Move(placement)).await
    }

    /// Returns the children in their order, or none if the supervisor is gone.
    pub async fn which_children(&self) -> Vec<ChildInfo> {
        self.request(Request::Which).await.unwrap_or_default()
    }

    /// Returns the numbers of children, or zeros if the supervisor is gone.
    pub async fn count_children(&self) -> ChildCounts {
        self.request(Request::Count).await.unwrap_or_default()
    }

    /// Returns true if the supervisor was removed or its tree ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.requests.is_closed()
    }

    /// Returns the supervisor's path in its tree, or its bare name before the tree is started.
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
