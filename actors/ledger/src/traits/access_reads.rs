//! Reads of users, keys, web sessions and secrets.

use deia_model::{KeyRecord, SecretInfo, SecretName, User, WebSessionRecord};

use super::{BoxFuture, StoreError};
use crate::StoredSecret;

/// Reads users, credentials and stored secrets.
pub trait AccessReads: Send + Sync + 'static {
    /// Returns all users, by name.
    fn users(&self) -> BoxFuture<'_, Result<Vec<User>, StoreError>>;

    /// Returns one user.
    fn user(&self, name: String) -> BoxFuture<'_, Result<Option<User>, StoreError>>;

    /// Returns all keys, revoked ones included, oldest first.
    fn keys(&self) -> BoxFuture<'_, Result<Vec<KeyRecord>, StoreError>>;

    /// Returns all web sessions, including ended ones, oldest first.
    fn web_sessions(&self) -> BoxFuture<'_, Result<Vec<WebSessionRecord>, StoreError>>;

    /// Returns descriptions of all stored secrets, by name.
    fn secrets(&self) -> BoxFuture<'_, Result<Vec<SecretInfo>, StoreError>>;

    /// Returns one stored secret.
    fn secret(&self, name: SecretName) -> BoxFuture<'_, Result<Option<StoredSecret>, StoreError>>;
}
