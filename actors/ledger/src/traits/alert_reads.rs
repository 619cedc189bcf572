//! Reads of alerts.

use deia_model::{Alert, Page, PageRequest};

use super::{BoxFuture, StoreError};

/// Reads alerts.
pub trait AlertReads: Send + Sync + 'static {
    /// Returns all open alerts, oldest first. They are no more than the conditions that
    /// there can be: some of each bot, and a few others.
    fn open_alerts(&self) -> BoxFuture<'_, Result<Vec<Alert>, StoreError>>;

    /// Returns alerts, the newest first: all of them, or the open ones.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    fn alerts(
        &self,
        only_open: bool,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Alert>, StoreError>>;
}
