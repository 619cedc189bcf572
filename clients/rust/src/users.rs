//! Users.

use deia_model::{Page, User};
use reqwest::Method;

use super::{Client, ClientError, NewUserRequest, PutIf, UserChangeRequest};

impl Client {
    /// Lists all users, by name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn users(&self) -> Result<Page<User>, ClientError> {
        self.get(&["api", "v1", "users"]).answer().await
    }

    /// Returns one user.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn user(&self, name: &str) -> Result<User, ClientError> {
        self.get(&["api", "v1", "users", name]).answer().await
    }

    /// Creates a user.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict if the user exists.
    pub async fn create_user(&self, request: &NewUserRequest) -> Result<User, ClientError> {
        self.post(&["api", "v1", "users"])
            .json(request)?
            .answer()
            .await
    }

    /// Changes a user, if `when` holds.
    ///
    /// # Errors
    /// A problem with status 412 if `when` does not hold.
    pub async fn change_user(
        &self,
        name: &str,
        request: &UserChangeRequest,
        when: PutIf,
    ) -> Result<User, ClientError> {
        self.call(Method::PATCH, &["api", "v1", "users", name])
            .put_if(when)
            .json(request)?
            .answer()
            .await
    }

    /// Deletes a user with all keys.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict if it is the last admin.
    pub async fn delete_user(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["api", "v1", "users", name])
            .done()
            .await
    }
}
