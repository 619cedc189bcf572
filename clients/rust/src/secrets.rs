//! Stored secrets that bots refer to.

use deia_model::{BotSecret, Page};
use reqwest::Method;
use serde_json::json;

use super::{Client, ClientError, Secret};

impl Client {
    /// Lists all stored secrets that bots may refer to, without their values.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn secrets(&self) -> Result<Page<BotSecret>, ClientError> {
        self.get(&["api", "v1", "secrets"]).answer().await
    }

    /// Stores a secret, or replaces its value.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict if the maximum number of secrets is stored.
    pub async fn put_secret(&self, name: &str, value: &Secret) -> Result<(), ClientError> {
        self.call(Method::PUT, &["api", "v1", "secrets", name])
            .json(&json!({"value": value.reveal()}))?
            .done()
            .await
    }

    /// Deletes a stored secret.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_secret(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["api", "v1", "secrets", name])
            .done()
            .await
    }
}
