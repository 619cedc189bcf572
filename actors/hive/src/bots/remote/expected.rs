//! Attempts that end by a report although no worker asked for them: their service was sent the
//! task, and completes it later by the lease.

use std::time::Duration;

use deia_ledger::{Apply, ClaimedTask, HeldAttempt, HeldLease, HoldLease, Ledger, StoreError};
use deia_model::Timestamp;
use tokio::sync::oneshot;

use super::{OnDesk, desk::Desk, held::HeldEnd};
use crate::bots::{attempt::ExecutionResult, bot::AttemptKey, progress::Progress};

/// An attempt whose end may be reported by its lease. Dropping it ends that.
pub(in crate::bots) struct Expected {
    desk: Desk,
    lease: HeldLease,
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
        self.expect_held(&HeldAttempt {
            lease,
            started_at: claimed.task.started_at.unwrap_or(now),
            // The bot's actor ends it.
            expires_at: now,
            timeout_seconds: claimed.task.timeout_seconds,
            cancelled: None,
        })
    }

    /// Puts an attempt on the desk that goes on since an earlier incarnation of the bot, or start
    /// of the hive.
    pub(in crate::bots) fn expect_again(&self, held: &HeldAttempt) -> (Expected, Progress) {
        let (expected, progress) = self.expect_held(held);
        expected.is_held(true);
        (expected, progress)
    }

    fn expect_held(&self, held: &HeldAttempt) -> (Expected, Progress) {
        let OnDesk { end, progress } = self.adopt(held);
        let expected = Expected {
            desk: self.clone(),
            lease: held.lease,
            end,
        };
        (expected, progress)
    }
}

impl Expected {
    /// Lets the attempt go on without the bot and the hive, until some time after it is over at the
    /// latest. Returns whether its lease is in force.
    ///
    /// # Errors
    /// The store cannot record that.
    pub(in crate::bots) async fn hold(
        &self,
        ledger: &Ledger,
        left: Duration,
    ) -> Result<bool, StoreError> {
        let command = HoldLease {
            lease: self.lease,
            expires_after: left.saturating_add(self.desk.stored_lease()),
        };
        let is_held = ledger.apply_deferred(command).await?;
        self.is_held(is_held);
        Ok(is_held)
    }

    /// Notes whether the attempt goes on without the bot and the hive.
    pub(in crate::bots) fn is_held(&self, is_held: bool) {
        let key = AttemptKey::of_lease(&self.lease);
        self.desk.set_held(key, is_held);
    }

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
        self.desk.remove(AttemptKey::of_lease(&self.lease));
    }
}
