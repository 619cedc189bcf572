//! Probes of liveness and readiness: whether the process runs, and whether it accepts work.

use std::time::{Duration, Instant};

use deia_ledger::{Apply, LedgerCommand, ProbeWrite, RecordEvents, StoreError, reserve};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use super::OperationsApi;

/// Interval at which a writer that is being restarted is asked again. Fixed: short enough
/// that nobody waits for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time for which a successful write of a page is assumed to be repeatable: anybody may call the
/// probe, and each check costs a sync of the disk. Fixed: probes come every second or more rarely.
const BELIEVED_FOR: Duration = Duration::from_millis(500);

/// Time at which a probe last wrote a page.
#[derive(Default)]
pub(super) struct Probe(Mutex<Option<Instant>>);

impl OperationsApi {
    /// Returns true if the process and the writer of the store make progress. The report of a
    /// full disk counts as progress: a restart of the process would not fix it.
    pub async fn makes_progress(&self) -> bool {
        // This command writes nothing.
        let nothing = RecordEvents(Vec::new());
        self.writer_answers(nothing).await.is_some()
    }

    /// Returns true if submissions are accepted and can be committed.
    pub async fn can_commit(&self) -> bool {
        self.lifecycle.state().takes_work() && self.commits().await.is_ok()
    }

    /// Checks that the data directory and the store are still where they were opened.
    ///
    /// # Errors
    /// A sentence that names the missing one.
    pub fn data_holds(&self) -> Result<(), String> {
        let held = self.files.holds();
        held.map_err(|adrift| adrift.to_string())
    }

    /// Returns the condition that keeps the hive from writing, or soon will, as a sentence.
    pub(super) async fn write_problem(&self) -> Option<String> {
        if !self.lifecycle.state().takes_work() {
            return None;
        }
        match self.commits().await {
            Err(problem) => Some(problem),
            Ok(()) => self.data_holds().err(),
        }
    }

    /// Writes a page, unless a recent write succeeded.
    async fn commits(&self) -> Result<(), String> {
        let mut last = self.probe.0.lock().await;
        if last.is_some_and(|at| at.elapsed() < BELIEVED_FOR) {
            return Ok(());
        }
        *last = None;
        match self.writer_answers(ProbeWrite).await {
            Some(Ok(())) => {
                *last = Some(Instant::now());
                Ok(())
            }
            Some(Err(StoreError::Full(shortage))) => {
                let config = self.settings.get();
                let reserve = match reserve::leave_alone(&config.data_dir) {
                    Err(_) => "; the reserve (store.reserve_bytes) is in use",
                    Ok(()) => "",
                };
                Err(format!(
                    "the disk is full{shortage}: only requests that stop work or free space are carried out until there is space{reserve}"
                ))
            }
            Some(Err(error)) => Err(format!("the store accepts no writes: {error}")),
            None => Err("the store does not answer in time (server.probe_timeout)".to_owned()),
        }
    }

    /// Sends the writer a command. `None`: no answer within `server.probe_timeout`.
    async fn writer_answers<C>(&self, command: C) -> Option<Result<(), StoreError>>
    where
        C: LedgerCommand<Reply = ()> + Clone,
    {
        let asking = async {
            loop {
                match self.ledger.apply(command.clone()).await {
                    Err(StoreError::Closed | StoreError::Busy | StoreError::Unknown) => {
                        sleep(LOOK_EVERY).await;
                    }
                    answer => return answer,
                }
            }
        };
        let within = self.settings.get().server.probe_timeout;
        timeout(within, asking).await.ok()
    }
}
