//! Users.

use deia_ledger::{AccessLimits, AddUser, ChangeUser, DeleteUser, Idempotency, NewUser, Rejection};
use deia_model::{ApiKey, Principal, Role, User, UserChange, Violation};

use super::AccessApi;
use crate::{HiveError, config::Config};

impl AccessApi {
    /// All users, by name.
    ///
    /// # Errors
    /// What keeps the store from reading.
    pub async fn users(&self) -> Result<Vec<User>, HiveError> {
        Ok(self.ledger.users().await?)
    }

    /// One user.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn user(&self, name: &str) -> Result<User, HiveError> {
        let found = self.ledger.user(name.to_owned()).await?;
        Ok(found.ok_or_else(|| Rejection::NoSuchUser(name.to_owned()))?)
    }

    /// Makes a user, who has no key yet.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], [`HiveError::MayNotGive`]; that there is such a
    /// user, or as many as may be, or tasks of an earlier one of that name; an
    /// idempotency mismatch.
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

    /// Changes a user; it holds for all keys from the next request on.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::MayNotGive`]; that the stored
    /// version is another, or that it would leave nobody who can make keys.
    pub async fn change_user(
        &self,
        who: &Principal,
        name: &str,
        change: UserChange,
        if_version: Option<u64>,
    ) -> Result<User, HiveError> {
        // Who is active again has the role again.
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
            // Not with another role than was judged here.
            if_version: if_version.or(seen),
            actor: who.user.to_string(),
        };
        self.change_access(who, command).await
    }

    /// Removes a user with all keys. What they have submitted stays until it is past
    /// its retention, and nobody gets the name before.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; that the stored version is another, or that it
    /// would leave nobody who can make keys.
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

/// Nobody gives what they do not have.
fn may_give(who: &Principal, role: Role) -> Result<(), HiveError> {
    match who.may_not_give(role.permissions()) {
        Some(lacking) => Err(HiveError::MayNotGive(lacking)),
        None => Ok(()),
    }
}

/// How many users and keys there may be.
pub(crate) fn limits(config: &Config) -> AccessLimits {
    AccessLimits {
        max_users: config.auth.max_users,
        max_keys: config.auth.max_keys,
    }
}
