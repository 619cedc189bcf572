//! A restart that is asked for: checked first, carried out by whoever runs the
//! hive.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::{Hive, State};
use crate::{
    HiveError,
    auth::Principal,
    ledger::Command,
    model::{Action, NewEvent},
};

/// Says why a new start would fail, if it would. May block.
pub type RestartCheck = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

pub(super) struct Restart {
    check: OnceLock<RestartCheck>,
    asked: watch::Sender<bool>,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            check: OnceLock::new(),
            asked: watch::Sender::new(false),
        }
    }
}

impl Hive {
    /// Lets restarts be asked for. Whoever calls this carries them out when
    /// [`Hive::restart_asked`] resolves. The first call counts.
    pub fn allow_restart(&self, check: RestartCheck) {
        let _ = self.inner.restart.check.set(check);
    }

    /// Resolves when a restart was asked for and would succeed as far as can be told.
    pub async fn restart_asked(&self) {
        let mut asked = self.inner.restart.asked.subscribe();
        if asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending().await
        }
    }

    /// Asks for a restart. Running tasks get `server.drain_timeout` to end;
    /// what still runs then goes back to the queue.
    ///
    /// # Errors
    /// [`HiveError::RestartRefused`] with the reason when a new start would
    /// fail; nothing was changed then.
    pub async fn ask_for_restart(&self, who: &Principal) -> Result<(), HiveError> {
        if self.state() != State::Ready {
            return Err(HiveError::Unavailable(self.state().as_str()));
        }
        let refused = |reason: &str| HiveError::RestartRefused(reason.to_owned());
        let check = self.inner.restart.check.get().cloned();
        let check = check.ok_or_else(|| refused("this hive is not run by the deia server"))?;
        let checked = tokio::task::spawn_blocking(move || check()).await;
        checked
            .map_err(|error| HiveError::Internal(error.to_string()))?
            .map_err(|reason| refused(&reason))?;
        let ledger = &self.inner.ledger;
        let event = NewEvent::new(Action::RestartRequested, &*who.user, ledger.hive_id());
        ledger.apply(Command::Record(vec![event])).await?;
        self.inner.restart.asked.send_replace(true);
        Ok(())
    }
}
