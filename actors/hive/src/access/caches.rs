//! The keys and sessions in memory, filled from the store.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use deia_ledger::{AccessReads, StoreError};
use tokio::sync::Mutex;

use super::{Keyring, WebSessions};

/// Fills the keyring and the sessions with the records in force in the store. Reads wait for each
/// other, so that an earlier one never replaces a later one.
pub(crate) struct AccessCaches {
    store: Arc<dyn AccessReads>,
    keyring: Arc<Keyring>,
    web_sessions: Arc<WebSessions>,
    reading_keys: Mutex<()>,
    /// Number of commits that changed sessions.
    web_session_changes: AtomicU64,
    /// Number of those commits that the last read of the sessions covers.
    web_sessions_read: Mutex<u64>,
}

impl AccessCaches {
    pub(crate) fn new(
        store: Arc<dyn AccessReads>,
        keyring: Arc<Keyring>,
        web_sessions: Arc<WebSessions>,
    ) -> Self {
        Self {
            store,
            keyring,
            web_sessions,
            reading_keys: Mutex::default(),
            web_session_changes: AtomicU64::new(1),
            web_sessions_read: Mutex::default(),
        }
    }

    /// Records that the sessions in the store may have changed.
    pub(crate) fn web_sessions_changed(&self) {
        self.web_session_changes.fetch_add(1, Ordering::Release);
    }

    /// Replaces the keys in memory with those in force.
    ///
    /// # Errors
    /// The store cannot be read; the keys stay as they were.
    pub(crate) async fn reload_keys(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading_keys.lock().await;
        self.keyring.replace(self.store.keys().await?);
        Ok(())
    }

    /// Replaces the sessions in memory with the open ones, unless that was done since they last
    /// [changed](Self::web_sessions_changed): all changes that arrive meanwhile are read
    /// together.
    ///
    /// # Errors
    /// The store cannot be read; the sessions stay as they were.
    pub(crate) async fn reload_web_sessions(&self) -> Result<(), StoreError> {
        let mut read = self.web_sessions_read.lock().await;
        let changes = self.web_session_changes.load(Ordering::Acquire);
        if *read != changes {
            self.web_sessions.replace(self.store.web_sessions().await?);
            *read = changes;
        }
        Ok(())
    }

    /// Reloads keys and sessions after a commit that changed them. The commit stands even if they
    /// cannot be read now: the failure is only logged, and the access actor, which is notified of
    /// the commit as well, repeats the read until it succeeds.
    pub(crate) async fn follow_commit(&self) {
        // Sessions go with their keys; nothing is read when none did.
        let read = match self.reload_keys().await {
            Ok(()) => self.reload_web_sessions().await,
            failed => failed,
        };
        if let Err(error) = read {
            tracing::warn!(%error, "a change of keys or sessions could not be read yet; retrying");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use deia_ledger::{BoxFuture, StoredSecret};
    use deia_model::{
        ApiKey, KeyGrant, KeyRecord, Role, SecretInfo, SecretName, User, WebSessionRecord,
    };

    use super::*;

    /// A store with one key, which can be set to fail all reads.
    struct OneKey {
        key: KeyRecord,
        fails: AtomicBool,
    }

    impl AccessReads for OneKey {
        fn users(&self) -> BoxFuture<'_, Result<Vec<User>, StoreError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn user(&self, _: String) -> BoxFuture<'_, Result<Option<User>, StoreError>> {
            Box::pin(async { Ok(None) })
        }

        fn keys(&self) -> BoxFuture<'_, Result<Vec<KeyRecord>, StoreError>> {
            Box::pin(async {
                match self.fails.load(Ordering::Relaxed) {
                    true => Err(StoreError::Busy),
                    false => Ok(vec![self.key.clone()]),
                }
            })
        }

        fn web_sessions(&self) -> BoxFuture<'_, Result<Vec<WebSessionRecord>, StoreError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn secrets(&self) -> BoxFuture<'_, Result<Vec<SecretInfo>, StoreError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn secret(&self, _: SecretName) -> BoxFuture<'_, Result<Option<StoredSecret>, StoreError>> {
            Box::pin(async { Ok(None) })
        }
    }

    #[tokio::test]
    async fn failed_read_leaves_the_keys_as_they_were_and_the_next_one_takes_them_over() {
        let key = ApiKey::generate().unwrap();
        let store = Arc::new(OneKey {
            key: key.record(KeyGrant::new("ada", Role::Admin)),
            fails: true.into(),
        });
        let keyring = Arc::new(Keyring::default());
        let web_sessions = Arc::new(WebSessions::new(std::time::Duration::from_secs(60)));
        let caches = AccessCaches::new(store.clone(), keyring.clone(), web_sessions);
        caches.follow_commit().await;
        assert!(keyring.info(key.id()).is_none());
        assert!(matches!(caches.reload_keys().await, Err(StoreError::Busy)));
        store.fails.store(false, Ordering::Relaxed);
        caches.follow_commit().await;
        assert!(keyring.info(key.id()).is_some());
    }
}
