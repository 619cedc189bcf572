//! Keys, and who one is.

use deia_hive::model::{KeyId, KeyInfo, Page};

use super::{Client, ClientError, CreatedKey, NewKeyRequest, WhoAmI};

impl Client {
    /// Who the hive takes this client for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.get(&["api", "v1", "auth", "whoami"]).answer().await
    }

    /// All keys, oldest first, without their secrets.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn keys(&self) -> Result<Page<KeyInfo>, ClientError> {
        self.get(&["api", "v1", "auth", "keys"]).answer().await
    }

    /// Makes a key. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_key(&self, request: &NewKeyRequest) -> Result<CreatedKey, ClientError> {
        self.post(&["api", "v1", "auth", "keys"])
            .json(request)?
            .answer()
            .await
    }

    /// Revokes a key; it is refused from the next request on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke_key(&self, id: KeyId) -> Result<KeyInfo, ClientError> {
        self.post(&["api", "v1", "auth", "keys", &id.to_string(), "revoke"])
            .answer()
            .await
    }
}
