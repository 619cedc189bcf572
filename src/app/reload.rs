//! Reloads: the certificate and the settings, read again at SIGHUP.

use std::sync::Arc;

use deia_hive::{Hive, config::Reloaded};
use tokio::{signal::unix::Signal, sync::SetOnce};

use super::{causes, restart::Restart};
use crate::http::Tls;

/// Everything that SIGHUP has read again.
pub(super) struct Reloads {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) restart: Arc<Restart>,
    /// Set once the hive has started.
    pub(super) hive: Arc<SetOnce<Hive>>,
}

/// Reads the certificate and the settings again whenever SIGHUP comes.
pub(super) async fn reload_on_hangup(mut hangup: Signal, reloads: Reloads) {
    while hangup.recv().await.is_some() {
        if let Some(tls) = reloads.tls.clone() {
            // Files may be on a disk that hangs, and this thread supervises the tree.
            if let Err(error) = tokio::task::spawn_blocking(move || tls.reload()).await {
                tracing::error!(%error, "SIGHUP: the reload of the certificate failed");
            }
        }
        reload_settings(reloads.hive.wait().await, reloads.restart.clone()).await;
    }
}

/// Reads the settings again and puts the live keys in force. Settings with a mistake change
/// nothing.
async fn reload_settings(hive: &Hive, restart: Arc<Restart>) {
    // As above: off this thread.
    let loading = tokio::task::spawn_blocking(move || restart.settings().load());
    let loaded = loading.await.unwrap_or_else(|error| Err(error.into()));
    let reloaded = match loaded {
        Ok(loaded) => hive.reload(loaded, "deia").await.map_err(Into::into),
        Err(error) => Err(error),
    };
    match reloaded {
        Ok(Reloaded { live, at_restart }) => {
            tracing::info!(
                live = live.join(" "),
                at_restart = at_restart.join(" "),
                "SIGHUP: settings read again: {} keys changed at once, {} change at the next start",
                live.len(),
                at_restart.len()
            );
        }
        Err(error) => {
            let error = causes::told_once(&error);
            tracing::error!(%error, "SIGHUP: the settings stay as they are");
        }
    }
}
