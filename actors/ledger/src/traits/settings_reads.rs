//! Reads of versions of the settings.

use deia_model::{Page, PageRequest, SettingsVersion};

use super::{BoxFuture, StoreError};
use crate::{SettingsRecord, StoredSettings};

/// Reads versions of the settings.
pub trait SettingsReads: Send + Sync + 'static {
    /// Returns the versions that a start needs.
    fn settings_record(&self) -> BoxFuture<'_, Result<SettingsRecord, StoreError>>;

    /// Returns one version.
    fn settings_version(
        &self,
        version: u64,
    ) -> BoxFuture<'_, Result<Option<StoredSettings>, StoreError>>;

    /// Returns the newest version before `version` that was confirmed or is on probation.
    fn settings_before(
        &self,
        version: u64,
    ) -> BoxFuture<'_, Result<Option<StoredSettings>, StoreError>>;

    /// Returns versions, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    fn settings_versions(
        &self,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<SettingsVersion>, StoreError>>;
}
