//! Alerts.

use deia_model::{Alert, Page, PageRequest};
use reqwest::Method;

use super::{Client, ClientError};

impl Client {
    /// Lists alerts, the newest first: all of them, or the open ones.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn alerts(
        &self,
        only_open: bool,
        page: &PageRequest,
    ) -> Result<Page<Alert>, ClientError> {
        self.gather(page, || {
            self.get(&["api", "v1", "alerts"])
                .query("open", only_open.then_some(true))
        })
        .await
    }

    /// Notes that the caller takes care of an alert, and returns it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn acknowledge_alert(&self, alert: &str) -> Result<Alert, ClientError> {
        self.call(Method::POST, &["api", "v1", "alerts", alert, "acknowledge"])
            .answer()
            .await
    }
}
