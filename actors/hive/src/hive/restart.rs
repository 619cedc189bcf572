//! Restarts on request: the request is checked first, and carried out by the code that runs the
//! hive.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use deia_ledger::{Apply, RecordEvents};
use deia_model::{Action, NewEvent, Principal};
use tokio::sync::watch;

use super::Hive;
use crate::{HiveError, lifecycle::State};

/// Returns the reason why a new start would fail, if it would. May block.
pub type RestartCheck = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

pub(super) struct Restart {
    check: OnceLock<RestartCheck>,
    checking: AtomicBool,
    asked: watch::Sender<bool>,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            check: OnceLock::new(),
            checking: AtomicBool::new(false),
            asked: watch::Sender::new(false),
        }
    }
}

/// Permit of the only running check, held as long as this lives.
struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    fn take(checking: &'a AtomicBool) -> Option<Self> {
        (!checking.swap(true, Ordering::AcqRel)).then_some(Self(checking))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Hive {
    /// Allows requests for restarts. The caller must carry them out when [`Hive::restart_asked`]
    /// resolves. Only the first call has an effect.
    pub fn allow_restart(&self, check: RestartCheck) {
        let _ = self.inner.restart.check.set(check);
    }

    /// Resolves when a restart was requested and is expected to succeed.
    pub async fn restart_asked(&self) {
        let mut asked = self.inner.restart.asked.subscribe();
        if asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending().await
        }
    }

    /// Requests a restart. Running tasks get `server.drain_timeout` to end; tasks that still run
    /// then go back to the queue. All requests are accepted meanwhile, but no attempt begins.
    ///
    /// # Errors
    /// [`HiveError::RestartRefused`] with the reason if a new start would fail, or a restart is
    /// in progress; nothing was changed then.
    pub async fn ask_for_restart(&self, who: &Principal) -> Result<(), HiveError> {
        let refused = |reason: String| HiveError::RestartRefused(reason);
        match self.state() {
            State::Ready => {}
            State::Restarting => return Err(refused(self.under_way())),
            state => return Err(HiveError::Unavailable(state.as_str())),
        }
        self.operations().data_holds().map_err(refused)?;
        let restart = &self.inner.restart;
        let Some(_turn) = Turn::take(&restart.checking) else {
            let reason = "another request for a restart is being checked; wait for its result";
            return Err(refused(reason.to_owned()));
        };
        let check = restart.check.get().cloned();
        let check =
            check.ok_or_else(|| refused("this hive is not run by the deia server".to_owned()))?;
        let checked = tokio::task::spawn_blocking(move || check()).await;
        checked
            .map_err(|error| HiveError::Internal(error.to_string()))?
            .map_err(|reason| refused(format!("a new start would fail: {reason}")))?;
        let ledger = &self.inner.deps.ledger;
        let event = NewEvent::new(Action::RestartRequested, &*who.user, ledger.hive_id());
        // The check took time: the event is not recorded for a caller who has lost access
        // meanwhile.
        self.access()
            .apply_for(who, RecordEvents(vec![event]))
            .await?;
        let lifecycle = &self.inner.deps.lifecycle;
        if !lifecycle.change(State::Ready, State::Restarting) {
            return Err(HiveError::Unavailable(self.state().as_str()));
        }
        restart.asked.send_replace(true);
        Ok(())
    }

    /// Records that the new start of a restart failed, and this one continues.
    pub async fn record_failed_restart(&self, reason: &str) {
        let ledger = &self.inner.deps.ledger;
        let event = NewEvent::new(Action::RestartFailed, "deia", ledger.hive_id())
            .failure()
            .details(serde_json::json!({"message": reason}));
        if let Err(error) = ledger.apply(RecordEvents(vec![event])).await {
            tracing::warn!(%error, "the failed restart could not be recorded");
        }
    }

    fn under_way(&self) -> String {
        let limit = self.config().server.drain_timeout.as_secs();
        format!(
            "a restart is under way: {} tasks still run and had {limit} s to end when it began (server.drain_timeout)",
            self.inner.subsystems.bots.registry().running_here()
        )
    }
}
