//! The newest state of an archive, restored beside another one: to find the submission of a task,
//! and to compare with.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use deia_archive::{EventRef, Storage, Target};
use deia_ledger::Ledger;
use deia_model::TaskId;

use super::{RestoreError, config_of};
use crate::{
    HiveStartError,
    recovery::{
        checked::{DATABASE, remove_database, restore_checked},
        restoring::submission,
    },
    store_options::open_restored,
};

/// Directory of the newest state, below the new data directory. Removed in the end.
const DIRECTORY: &str = "newest";

/// The newest state of an archive, restored when it is first needed.
pub(super) struct Newest {
    storage: Arc<dyn Storage>,
    hive: String,
    dir: PathBuf,
    opened: Option<Ledger>,
}

impl Newest {
    pub(super) fn new(storage: Arc<dyn Storage>, hive: String, to: &Path) -> Self {
        Self {
            storage,
            hive,
            dir: to.join(DIRECTORY),
            opened: None,
        }
    }

    /// Returns the store with the newest state.
    ///
    /// # Errors
    /// [`RestoreError`]: it cannot be restored.
    pub(super) async fn open(&mut self) -> Result<Ledger, RestoreError> {
        if let Some(ledger) = &self.opened {
            return Ok(ledger.clone());
        }
        let failed = |source| RestoreError::Target {
            path: self.dir.clone(),
            source,
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&self.dir)
            .map_err(failed)?;
        let path = self.dir.join(DATABASE);
        let (storage, hive) = (self.storage.clone(), self.hive.clone());
        let restoring = tokio::task::spawn_blocking(move || {
            restore_checked(&storage, &hive, &Target::Newest, &path)
        });
        let ended = restoring
            .await
            .map_err(|error| failed(std::io::Error::other(error)))?;
        ended?;
        let ledger = open_restored(&config_of(&self.dir)?)?;
        self.opened = Some(ledger.clone());
        Ok(ledger)
    }

    /// Returns the event that recorded the submission of a task.
    ///
    /// # Errors
    /// [`RestoreError`]: it is not known.
    pub(super) async fn submission(&mut self, task: TaskId) -> Result<EventRef, RestoreError> {
        let ledger = self.open().await?;
        let found = submission(&ledger, task).await;
        let found = found.map_err(HiveStartError::from)?;
        found.map_err(RestoreError::Outside)
    }

    /// Removes the newest state.
    pub(super) async fn close(&mut self) {
        if let Some(ledger) = self.opened.take() {
            ledger.close().await;
        }
        remove_database(&self.dir.join(DATABASE));
        // It has not been made if nothing needed it.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
