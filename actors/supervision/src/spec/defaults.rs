//! Settings that workers inherit from their supervisors.

use std::time::Duration;

use serde::Serialize;

use super::{Placement, Policy};

/// Action that is taken when a worker is stalled: see
/// [`ChildSpec::stalled_after`](crate::ChildSpec::stalled_after).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnStall {
    /// The worker is reported, and goes on.
    #[default]
    Report,
    /// The worker is reported and killed, which counts as a failure:
    /// [`ExitReason::Stalled`](crate::ExitReason).
    Restart,
}

/// Time for which a worker may have mail and handle none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StallLimit {
    pub(crate) after: Duration,
    pub(crate) action: OnStall,
}

/// Settings of workers that do not say otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) placement: Placement,
    stalled_after: Option<Duration>,
    on_stall: OnStall,
}

impl Defaults {
    /// Returns the defaults for a child with that policy and for all below it.
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
