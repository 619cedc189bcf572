//! The mode of the hive, and its features.

use deia_model::{DegradationStatus, FeatureStatus, ModeChange};
use reqwest::Method;

use super::{Client, ClientError, Items};

impl Client {
    /// Returns the mode in force, its reason, and the signals with their last readings.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn degradation(&self) -> Result<DegradationStatus, ClientError> {
        self.get(&["api", "degradation", "status"]).answer().await
    }

    /// Lists every feature with its state, the most important ones first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn features(&self) -> Result<Vec<FeatureStatus>, ClientError> {
        let Items { items } = self
            .get(&["api", "degradation", "features"])
            .answer()
            .await?;
        Ok(items)
    }

    /// Sets a level for a time, or ends a level that was set; returns the mode in force then.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_mode(&self, change: &ModeChange) -> Result<DegradationStatus, ClientError> {
        self.call(Method::POST, &["api", "degradation", "mode"])
            .json(change)?
            .answer()
            .await
    }
}
