//! Attempts that end by a report although no worker asked for them: their service was sent the
//! task, and completes it later by the lease.

use deia_ledger::{ClaimedTask, HeldAttempt, HeldLease};
use deia_model::Timestamp;
use tokio::sync::oneshot;

use super::{OnDesk, desk::Desk, held::HeldEnd};
use crate::bots::{attempt::ExecutionResult, bot::AttemptKey, progress::Progress};

/// An attempt whose end may be reported by its lease. Dropping it ends that.
pub(in crate::bots) struct Expected {
    desk: Desk,
    key: AttemptKey,
    end: oneshot::Receiver<HeldEnd>,
}

impl Desk {
    /// Puts an attempt on the desk as if a worker had it, before its request is sent: the report
    /// may overtake the answer. Returns the progress that reports tell as well.
    pub(in crate::bots) fn expect(&self, claimed: &ClaimedTask) -> (Expected, Progress) {
        let now = Timestamp::now();
        let lease = HeldLease {
            task: claimed.task.id,
            attempt: claimed.task.attempt,
            lease: claimed.lease,
        };
        let OnDesk { end, progress } = self.adopt(&HeldAttempt {
            lease,
            started_at: claimed.task.started_at.unwrap_or(now),
            // The bot's actor ends it.
            expires_at: now,
            timeout_seconds: claimed.task.timeout_seconds,
            cancelled: None,
        });
        let expected = Expected {
            desk: self.clone(),
            key: AttemptKey::of(claimed),
            end,
        };
        (expected, progress)
    }
}

impl Expected {
    /// Waits for the report, which is recorded when this returns. Cancel safe; called once.
    pub(in crate::bots) async fn end(&mut self) -> ExecutionResult {
        match (&mut self.end).await {
            Ok(HeldEnd::Reported(result)) => ExecutionResult::settled(Some(*result)),
            // The desk of a service ends nothing by itself.
            Ok(HeldEnd::NotFetched | HeldEnd::LeaseLost | HeldEnd::Vanished { .. }) | Err(_) => {
                std::future::pending().await
            }
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.desk.remove(self.key);
    }
}
