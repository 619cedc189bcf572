//! Keys.

mod rules;

use std::time::Duration;

use deia_ledger::{AddKey, Idempotency, Rejection, RevokeKey, RotateKey};
use deia_model::{
    ApiKey, KeyGrant, KeyId, KeyInfo, Permission, Principal, Role, Timestamp, within_scopes,
};

use self::rules::{ALLOW_IPS, beyond, capped, rotation_violations, successor_expiry, violations};
use super::{AccessApi, NewKey, limits};
use crate::HiveError;

/// Options for rotating a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRotation {
    /// Time for which both keys are in force; `None`: `auth.rotation_overlap`.
    pub overlap: Option<Duration>,
    /// Time from which on the new key is refused; `None`: it lives as long as the old one was
    /// meant to, or until the old one expires if that rotates itself.
    pub expires_at: Option<Timestamp>,
}

impl AccessApi {
    /// Creates a key. Its text is in the answer and nowhere else. A user who does not exist is
    /// created if the caller may create users and `new_user` does not forbid it; with a key of
    /// the role admin only if it says so.
    ///
    /// # Errors
    /// [`HiveError::Invalid`] with a pointer to each fault; [`HiveError::MayNotGive`] if the key
    /// could do more than the caller's; a conflict if the maximum number is reached, or if the
    /// same request created its key already.
    pub async fn create_key(
        &self,
        who: &Principal,
        mut grant: KeyGrant,
        new_user: Option<bool>,
        idempotency: Option<Idempotency>,
    ) -> Result<NewKey, HiveError> {
        if grant.role == Role::Bot && grant.bot.is_none() {
            grant.bot = grant.user.parse().ok();
        }
        let mut violations = violations(&grant, Timestamp::now());
        match capped(grant.expires_at, self.life_of_keys_by(who)) {
            Ok(expires_at) => grant.expires_at = expires_at,
            Err(violation) => violations.push(violation),
        }
        if let Some(own) = who.key().and_then(|own| self.known_key(own)) {
            violations.extend(beyond(&own, grant.expires_at, &grant.allow_ips));
        }
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let may_make_user =
            who.may(Permission::AdminUsers) && who.may_not_give(grant.role.permissions()).is_none();
        let permissions = within_scopes(grant.role, grant.scopes.as_deref());
        if let Some(lacking) = who.may_not_give(permissions) {
            return Err(HiveError::MayNotGive(lacking));
        }
        let key = ApiKey::generate()?;
        let grant_role = grant.role;
        let command = AddKey {
            key: key.record(grant),
            new_user: may_make_user && new_user.unwrap_or(grant_role != Role::Admin),
            idempotency,
            actor: who.user.to_string(),
            limits: limits(&self.config()),
        };
        let added = self.change_access(who, command).await?;
        Ok(NewKey {
            info: added.info,
            text: key.reveal(),
            user_created: added.user_created,
        })
    }

    /// Replaces a key in force by a new one; the old key stays valid for a while.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::Invalid`]; a conflict if the key is not in force, or
    /// is being rotated already; [`HiveError::MayNotGive`].
    pub async fn rotate_key(
        &self,
        who: &Principal,
        id: KeyId,
        rotation: KeyRotation,
        idempotency: Option<Idempotency>,
    ) -> Result<NewKey, HiveError> {
        let settings = &self.config().auth;
        let overlap = rotation.overlap.unwrap_or(settings.rotation_overlap);
        let violations = rotation_violations(
            overlap,
            settings.max_rotation_overlap,
            rotation.expires_at,
            Timestamp::now(),
        );
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let all = self.ledger.keys().await?;
        let old = all.iter().find(|key| key.info.id == id);
        let old = &old.ok_or(Rejection::NoSuchKey(id))?.info;
        // Includes permissions that become valid again if the user gets back another role.
        let permissions = within_scopes(old.role, old.scopes.as_deref());
        if let Some(lacking) = who.may_not_give(permissions) {
            return Err(HiveError::MayNotGive(lacking));
        }
        let own = who.key().and_then(|own| self.known_key(own));
        let until = self.life_of_keys_by(who);
        let expires_at =
            match successor_expiry(own.as_ref(), old, rotation.expires_at, Timestamp::now()) {
                // The expiry of the old key is not a wish of the caller.
                again if rotation.expires_at.is_none() => match (again, until) {
                    (Some(again), Some(until)) => Some(again.min(until)),
                    (again, until) => again.or(until),
                },
                asked => capped(asked, until).map_err(|found| HiveError::Invalid(vec![found]))?,
            };
        if let Some(own) = &own {
            let (addresses, expiry): (Vec<_>, Vec<_>) = beyond(own, expires_at, &old.allow_ips)
                .into_iter()
                .partition(|found| found.pointer == ALLOW_IPS);
            if !addresses.is_empty() {
                return Err(HiveError::BeyondOwnKey(id));
            }
            if !expiry.is_empty() {
                return Err(HiveError::Invalid(expiry));
            }
        }
        let key = ApiKey::generate()?;
        let command = RotateKey {
            old: id,
            new: key.id(),
            secret_sha256: key.secret_sha256(),
            expires_at,
            overlap,
            idempotency,
            actor: who.user.to_string(),
            limits: limits(&self.config()),
        };
        Ok(NewKey {
            info: self.change_access(who, command).await?,
            text: key.reveal(),
            user_created: false,
        })
    }

    /// Returns the latest expiry of a key that this caller makes; `None`: forever, as far as the
    /// caller's own key is concerned.
    fn life_of_keys_by(&self, who: &Principal) -> Option<Timestamp> {
        let lifetime = self.config().auth.token_key_lifetime;
        let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let by_key = who.key().is_some();
        (!by_key).then(|| Timestamp::now().plus_millis(millis))
    }

    /// Returns all keys, oldest first.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, HiveError> {
        let keys = self.ledger.keys().await?;
        let known = |mut info: KeyInfo| {
            info.last_used_at = self.state.keyring.last_used(info.id).or(info.last_used_at);
            info
        };
        Ok(keys.into_iter().map(|key| known(key.info)).collect())
    }

    /// Returns a key from the memory of this process, without a read of the store.
    pub fn known_key(&self, id: KeyId) -> Option<KeyInfo> {
        self.state.keyring.info(id)
    }

    /// Returns a key.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn key(&self, id: KeyId) -> Result<KeyInfo, HiveError> {
        let keys = self.keys().await?;
        let found = keys.into_iter().find(|key| key.id == id);
        Ok(found.ok_or(Rejection::NoSuchKey(id))?)
    }

    /// Revokes a key, which is refused from the next effect on.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or a conflict if the key is the last admin key in force.
    pub async fn revoke_key(&self, who: &Principal, id: KeyId) -> Result<KeyInfo, HiveError> {
        let command = RevokeKey {
            key: id,
            actor: who.user.to_string(),
        };
        self.change_access(who, command).await
    }
}
