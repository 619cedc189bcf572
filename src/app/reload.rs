//! Reloads: the certificate and the settings, read again at SIGHUP.

use std::sync::Arc;

use deia_hive::Hive;
use tokio::{signal::unix::Signal, sync::SetOnce};

use crate::http::Tls;

/// Everything that SIGHUP has read again.
pub(super) struct Reloads {
    pub(super) tls: Option<Arc<Tls>>,
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
        reload_settings(reloads.hive.wait().await).await;
    }
}

/// Reads the settings again and puts them in force. Settings with a mistake, or with keys that take
/// effect at a start, change nothing.
async fn reload_settings(hive: &Hive) {
    match hive.settings().reload_on_signal().await {
        Ok(done) => {
            let keys: Vec<_> = done.changes.iter().map(|it| it.key.as_str()).collect();
            tracing::info!(
                live = keys.join(" "),
                version = done.version,
                "SIGHUP: settings read again: {} keys changed at once",
                keys.len(),
            );
        }
        Err(error) => {
            tracing::error!(%error, "SIGHUP: the settings stay as they are");
        }
    }
}
