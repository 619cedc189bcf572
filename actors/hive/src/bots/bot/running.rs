//! The attempts that run on a bot.

use std::time::Instant;

use actix::SpawnHandle;
use deia_ledger::{ClaimedTask, HeldLease};
use deia_model::{LeaseToken, TaskId};
use tokio::sync::watch;

use super::super::{
    attempt::{ExecutionResult, StopCause},
    attempt_span::AttemptSpan,
    progress::Progress,
};

/// An attempt at a task. The same task may come back to the bot while an
/// earlier attempt at it still ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttemptKey {
    pub(in super::super) task: TaskId,
    pub(in super::super) number: u32,
}

/// A running attempt.
pub(in super::super) struct Attempt {
    pub(in super::super) lease: LeaseToken,
    pub(super) stop: watch::Sender<Option<StopCause>>,
    /// Seconds for which the attempt may give no sign of life.
    pub(in super::super) idle_limit: Option<u64>,
    pub(super) time_out: SpawnHandle,
    pub(super) began: Instant,
    pub(in super::super) progress: Progress,
    /// The progress reported to the store last.
    pub(in super::super) noted: Option<f64>,
    pub(super) span: Option<AttemptSpan>,
}

impl AttemptKey {
    pub(in super::super) fn of_lease(lease: &HeldLease) -> Self {
        Self {
            task: lease.task,
            number: lease.attempt,
        }
    }

    pub(in super::super) fn of(claimed: &ClaimedTask) -> Self {
        Self {
            task: claimed.task.id,
            number: claimed.task.attempt,
        }
    }
}

impl Attempt {
    /// Signals the attempt to stop. The first cause stays.
    pub(in super::super) fn stop(&self, cause: StopCause) {
        self.stop
            .send_if_modified(|stop| stop.is_none() && stop.replace(cause).is_none());
    }

    /// Ends the span of an attempt whose end was recorded elsewhere.
    pub(super) fn close_span(self, result: &ExecutionResult) {
        if let Some(span) = self.span {
            span.end(result);
        }
    }

    pub(super) fn ran_for_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
