//! What workers inherit from their supervisors.

use std::time::Duration;

use serde::Serialize;

use super::{Placement, Policy};

/// What is done about a worker that is stalled: see
/// [`ChildSpec::stalled_after`](crate::ChildSpec::stalled_after).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnStall {
    /// It is reported, and goes on.
    #[default]
    Report,
    /// It is killed, too. That counts as a failure: [`ExitReason::Stalled`](crate::ExitReason).
    Restart,
}

/// How long a worker may have mail and handle none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StallLimit {
    pub(crate) after: Duration,
    pub(crate) action: OnStall,
}

/// What holds for workers that do not say otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) placement: Placement,
    stalled_after: Option<Duration>,
    on_stall: OnStall,
}

impl Defaults {
    /// What holds below a child with that policy, and for that child.
    pub(crate) fn for_those_below(&self, policy: &Policy) -> Self {
        Self {
            placement: policy.placement.as_ref().unwrap_or(&self.placement).clone(),
            stalled_after: policy.stalled_after.or(self.stalled_after),
            on_stall: policy.on_stall.unwrap_or(self.on_stall),
        }
    }

    pub(crate) fn stall(&self) -> Option<StallLimit> {
        let action = self.on_stall;
        self.stalled_after.map(|after| StallLimit { after, action })
    }
}
