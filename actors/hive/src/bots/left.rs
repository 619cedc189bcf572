//! Reports that an incarnation of a bot left behind when it ended.
//!
//! A bot goes down in many ways: by itself, by an operator, by its supervisor, with the hive. In
//! every case the results of its attempts are recorded first, and then the tasks that it had not
//! begun are given back. Both go through one place, one caller at a time, so the order holds for
//! every caller.

use std::sync::{Mutex, PoisonError};

use deia_ledger::{Apply, AttemptReport, FinishAttempts, Ledger, ReleaseLeases, StoreError};
use deia_model::{AttemptEnd, BotName, Timestamp};

/// Reports that are not recorded yet.
#[derive(Default)]
pub(super) struct Left {
    reports: Mutex<Vec<AttemptReport>>,
    /// Locked while reports are being recorded.
    turn: tokio::sync::Mutex<()>,
}

impl Left {
    /// Adds the last reports of an incarnation.
    pub(super) fn add(&self, reports: Vec<AttemptReport>) {
        self.lock().extend(reports);
    }

    /// Records the reports. Waits for space on a full disk.
    ///
    /// # Errors
    /// The store does not work; the reports are kept.
    pub(super) async fn record(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        self.record_in_turn(ledger).await
    }

    /// Records the reports, then gives back the other tasks of the bot: those that it received and
    /// never began, and, if its thread is blocked, those that it could not report. Restricted to tasks started before `started_before`, if given.
    ///
    /// # Errors
    /// The store does not work.
    pub(super) async fn settle(
        &self,
        ledger: &Ledger,
        bot: &BotName,
        started_before: Option<Timestamp>,
        end: AttemptEnd,
    ) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        self.record_in_turn(ledger).await?;
        let command = ReleaseLeases {
            bots: vec![bot.clone()],
            started_before,
            end,
            reason: match end {
                AttemptEnd::Suspected => {
                    format!("bot {bot} blocked its thread while it ran the task")
                }
                _ => format!("bot {bot} went down before it began the task"),
            },
        };
        ledger.apply_deferred(command).await.map(drop)
    }

    async fn record_in_turn(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let reports = std::mem::take(&mut *self.lock());
        if reports.is_empty() {
            return Ok(());
        }
        let command = FinishAttempts(reports.clone());
        let recorded = ledger.apply_deferred(command).await;
        if recorded.is_err() {
            // Some may have been recorded: those are stale next time.
            self.lock().extend(reports);
        }
        recorded.map(drop)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<AttemptReport>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
