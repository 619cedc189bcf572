//! Probes: whether the process lives, and whether it takes work.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Hive;
use crate::ledger::{Command, StoreError};

/// Interval at which a writer that is being restarted is asked again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Hive {
    /// Returns whether the process and the writer of the store make progress. A full
    /// disk is an answer, too: a restart of the process would not mend it.
    pub async fn makes_progress(&self) -> bool {
        self.writer_answers().await.is_some()
    }

    /// Returns whether submissions are accepted and can be committed.
    pub async fn can_commit(&self) -> bool {
        self.is_ready() && matches!(self.writer_answers().await, Some(Ok(())))
    }

    /// Sends the writer a command that changes nothing. `None`: no answer within
    /// `server.probe_timeout`.
    async fn writer_answers(&self) -> Option<Result<(), StoreError>> {
        let asking = async {
            loop {
                let nothing = Command::Record(Vec::new());
                match self.inner.ledger.apply(nothing).await {
                    Err(StoreError::Closed | StoreError::Busy) => sleep(LOOK_EVERY).await,
                    answer => return answer.map(drop),
                }
            }
        };
        let within = self.config().server.probe_timeout;
        timeout(within, asking).await.ok()
    }
}
