//! Users.

use deia_model::{Page, User};
use reqwest::Method;

use super::{Client, ClientError, NewUserRequest, PutIf, UserChangeRequest};

impl Client {
    /// All users, by name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn users(&self) -> Result<Page<User>, ClientError> {
        self.get(&["api", "v1", "users"]).answer().await
    }

    /// One user.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn user(&self, name: &str) -> Result<User, ClientError> {
        self.get(&["api", "v1", "users", name]).answer().await
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict when there is such a user.
    pub async fn create_user(&self, request: &NewUserRequest) -> Result<User, ClientError> {
        self.post(&["api", "v1", "users"])
            .json(request)?
            .answer()
            .await
    }

    /// Changes a user, as `when` says.
    ///
    /// # Errors
    /// A problem with status 412 when things are not as `when` says.
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

    /// Removes a user with all keys.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict when it is the last admin.
    pub async fn delete_user(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["api", "v1", "users", name])
            .done()
            .await
    }
}
