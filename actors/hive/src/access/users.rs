//! Users.

use deia_ledger::{AccessLimits, AddUser, ChangeUser, DeleteUser, Idempotency, NewUser, Rejection};
use deia_model::{ApiKey, Principal, Role, User, UserChange, Violation};

use super::AccessApi;
use crate::{HiveError, config::Config};

impl AccessApi {
    /// Returns all users, by name.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be read.
    pub async fn users(&self) -> Result<Vec<User>, HiveError> {
        Ok(self.ledger.users().await?)
    }

    /// Returns a user.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn user(&self, name: &str) -> Result<User, HiveError> {
        let found = self.ledger.user(name.to_owned()).await?;
        Ok(found.ok_or_else(|| Rejection::NoSuchUser(name.to_owned()))?)
    }

    /// Creates a user, who has no key yet.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], [`HiveError::MayNotGive`]; a conflict if the user exists, the
    /// maximum number is reached or tasks of an earlier user of that name remain; an idempotency
    /// mismatch.
    pub async fn create_user(
        &self,
        who: &Principal,
        name: String,
        role: Role,
        active: bool,
        idempotency: Option<Idempotency>,
    ) -> Result<NewUser, HiveError> {
        let holds_key = ApiKey::is_within(&name).then_some("has a key in it");
        if let Some(fault) = User::name_fault(&name).or(holds_key) {
            return Err(HiveError::Invalid(vec![Violation {
                pointer: "/id".into(),
                detail: fault.into(),
            }]));
        }
        may_give(who, role)?;
        let command = AddUser {
            name,
            role,
            active,
            idempotency,
            actor: who.user.to_string(),
            limits: limits(&self.config()),
        };
        self.change_access(who, command).await
    }

    /// Changes a user, with effect on all its keys from the next request on.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::MayNotGive`]; a conflict if the stored version is
    /// another, or if nobody who can make keys would be left.
    pub async fn change_user(
        &self,
        who: &Principal,
        name: &str,
        change: UserChange,
        if_version: Option<u64>,
    ) -> Result<User, HiveError> {
        // Activating a user gives the role again.
        let (given, seen) = match (change.role, change.active) {
            (Some(role), _) => (Some(role), None),
            (None, Some(true)) => {
                let user = self.user(name).await?;
                (Some(user.role), Some(user.version))
            }
            (None, _) => (None, None),
        };
        given.map_or(Ok(()), |role| may_give(who, role))?;
        let command = ChangeUser {
            name: name.to_owned(),
            change,
            // Refuse the change if the role is not the one that was checked here.
            if_version: if_version.or(seen),
            actor: who.user.to_string(),
        };
        self.change_access(who, command).await
    }

    /// Removes a user with all keys. Tasks that the user submitted stay until they are past their
    /// retention, and the name is not available before.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; a conflict if the stored version is another, or if nobody who can
    /// make keys would be left.
    pub async fn delete_user(
        &self,
        who: &Principal,
        name: &str,
        if_version: Option<u64>,
    ) -> Result<User, HiveError> {
        let command = DeleteUser {
            name: name.to_owned(),
            if_version,
            actor: who.user.to_string(),
        };
        self.change_access(who, command).await
    }
}

/// Refuses to give a role that the principal does not have.
fn may_give(who: &Principal, role: Role) -> Result<(), HiveError> {
    match who.may_not_give(role.permissions()) {
        Some(lacking) => Err(HiveError::MayNotGive(lacking)),
        None => Ok(()),
    }
}

/// Returns the maximum numbers of users and keys.
pub(crate) fn limits(config: &Config) -> AccessLimits {
    AccessLimits {
        max_users: config.auth.max_users,
        max_keys: config.auth.max_keys,
    }
}
