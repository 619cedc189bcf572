//! Stored secrets that bots refer to.

use deia_model::{BotSecret, Page};
use reqwest::Method;
use serde_json::json;

use super::{Client, ClientError, Secret};

impl Client {
    /// All stored secrets that bots may refer to, without their values.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn secrets(&self) -> Result<Page<BotSecret>, ClientError> {
        self.get(&["api", "v1", "secrets"]).answer().await
    }

    /// Puts a secret into the store, or another value into its place.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict when there are as many as may be.
    pub async fn put_secret(&self, name: &str, value: &Secret) -> Result<(), ClientError> {
        self.call(Method::PUT, &["api", "v1", "secrets", name])
            .json(&json!({"value": value.reveal()}))?
            .done()
            .await
    }

    /// Removes a secret from the store.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_secret(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["api", "v1", "secrets", name])
            .done()
            .await
    }
}
