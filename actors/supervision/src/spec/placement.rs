//! Placement of children on arbiters.

use std::sync::Arc;

use serde::Serialize;

use crate::events::text;

/// Arbiter (a thread) on which a worker runs. Workers inherit it from their supervisor; supervisors
/// themselves always run where the tree was started. Work that may block is better placed
/// elsewhere: only there can the [watchdog](crate::SupervisorSpec::watchdog) spare its neighbours.
///
/// A group has a fixed number of arbiters, made when they are first used. A child is assigned to
/// the one with the fewest children when it is started for the first time, stays there across
/// restarts, and leaves it when that is blocked, or when it is
/// [moved](crate::SupervisorHandle::move_child).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Placement {
    /// The worker runs on the arbiter that started the tree: messages between children there need
    /// no thread to be woken.
    #[default]
    Here,
    /// The worker runs on an arbiter of the tree's pool, a group of [as many
    /// arbiters](crate::SupervisorSpec::arbiters) as there are cores.
    Pool,
    /// The worker runs on an arbiter of a group that the root
    /// [declares](crate::SupervisorSpec::group).
    Group(#[serde(serialize_with = "text")] Arc<str>),
    /// The worker runs on an arbiter of its own.
    Own,
    /// The worker runs on the arbiter of the worker at this path. Meant for children that talk to
    /// each other a lot. The other is declared earlier in the order of starting, or may be added to
    /// a dynamic supervisor that is; a declaration that says anything else is refused. If the other
    /// has no arbiter when this one is assigned (it was not started yet, or its arbiter is
    /// blocked), this one runs on that of the tree, with a warning in the log.
    With(#[serde(serialize_with = "text")] Arc<str>),
}

impl Placement {
    /// Returns the placement in the group of that name: see [`Placement::Group`].
    #[must_use]
    pub fn group(name: impl Into<Arc<str>>) -> Self {
        Self::Group(name.into())
    }

    /// Returns the placement on the arbiter of the child at `path`: see [`Placement::With`].
    #[must_use]
    pub fn with(path: impl Into<Arc<str>>) -> Self {
        Self::With(path.into())
    }
}
