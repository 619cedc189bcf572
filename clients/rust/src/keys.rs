//! Keys, and the identity of the caller.

use deia_model::{KeyId, KeyInfo, Page, Permission, TaskId};
use serde_json::json;

use super::{
    CanI, Client, ClientError, CreatedKey, NewKeyRequest, RoleInfo, RotateKeyRequest, WhoAmI,
};

impl Client {
    /// Returns the identity and the rights of this client, as the hive sees them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.get(&["api", "v1", "auth", "whoami"]).answer().await
    }

    /// Returns whether this client has a permission, for a task if one is named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn can_i(
        &self,
        permission: Permission,
        task: Option<TaskId>,
    ) -> Result<CanI, ClientError> {
        self.post(&["api", "v1", "auth", "can-i"])
            .json(&json!({"permission": permission, "task": task}))?
            .answer()
            .await
    }

    /// Lists all keys, oldest first, without their secrets.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn keys(&self) -> Result<Page<KeyInfo>, ClientError> {
        self.get(&["api", "v1", "auth", "keys"]).answer().await
    }

    /// Lists the roles and what each includes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn roles(&self) -> Result<Page<RoleInfo>, ClientError> {
        self.get(&["api", "v1", "roles"]).answer().await
    }

    /// Creates a key. Its text is in this answer only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_key(&self, request: &NewKeyRequest) -> Result<CreatedKey, ClientError> {
        self.post(&["api", "v1", "auth", "keys"])
            .json(request)?
            .answer()
            .await
    }

    /// Replaces a key in force by a new one. Its text is in this answer only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rotate_key(
        &self,
        id: KeyId,
        request: &RotateKeyRequest,
    ) -> Result<CreatedKey, ClientError> {
        self.post(&["api", "v1", "auth", "keys", &id.to_string(), "rotate"])
            .json(request)?
            .answer()
            .await
    }

    /// Returns one key.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn key(&self, id: KeyId) -> Result<KeyInfo, ClientError> {
        self.get(&["api", "v1", "auth", "keys", &id.to_string()])
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
