//! The secret store as callers see it.

use std::sync::Arc;

use deia_ledger::{DeleteSecret, Ledger, PutSecret};
use deia_model::{Principal, SecretInfo, SecretName, Violation};

use super::{SealError, SealingKeys, SecretValue};
use crate::{HiveError, access::AccessApi, config::Settings, subsystem::Deps};

/// The secret store.
#[derive(Clone)]
pub struct SecretsApi {
    settings: Settings,
    ledger: Ledger,
    access: AccessApi,
    sealing: Arc<SealingKeys>,
}

impl SecretsApi {
    pub(super) fn new(deps: &Deps, access: &AccessApi, sealing: Arc<SealingKeys>) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: access.clone(),
            sealing,
        }
    }

    /// Stores a secret, or replaces its value. Returns true if the secret is new.
    ///
    /// # Errors
    /// [`HiveError::Invalid`] if the value is empty or too long, or there is no room for another.
    pub async fn put(
        &self,
        who: &Principal,
        name: SecretName,
        value: Vec<u8>,
    ) -> Result<bool, HiveError> {
        let config = self.settings.get();
        let limits = &config.secrets;
        let max_bytes = limits.max_bytes.as_u64();
        if value.is_empty() || value.len() as u64 > max_bytes {
            let detail = format!(
                "is {} bytes long; allowed are 1 to {max_bytes} (secrets.max_bytes)",
                value.len()
            );
            return Err(HiveError::Invalid(vec![Violation {
                pointer: "/value".into(),
                detail,
            }]));
        }
        let sealed = self.sealing.seal(&name, &SecretValue::new(value));
        let command = PutSecret {
            name,
            sealed: sealed.map_err(|error: SealError| HiveError::Internal(error.to_string()))?,
            actor: who.user.to_string(),
            max: limits.max,
        };
        Ok(self.access.apply_for(who, command).await?)
    }

    /// Removes a secret from the store.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn delete(&self, who: &Principal, name: SecretName) -> Result<(), HiveError> {
        let command = DeleteSecret {
            name,
            actor: who.user.to_string(),
        };
        self.access.apply_for(who, command).await?;
        Ok(())
    }

    /// Returns the value of a stored secret, for the subsystem that uses it.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or an error if the secret cannot be opened.
    pub async fn value(&self, name: &SecretName) -> Result<Vec<u8>, HiveError> {
        let stored = self.ledger.secret(name.clone()).await?;
        let stored = stored.ok_or_else(|| HiveError::NotFound {
            kind: "secret",
            id: name.to_string(),
        })?;
        let opened = self.sealing.open(name, &stored.sealed);
        let value = opened.map_err(|error| HiveError::Internal(format!("{name}: {error}")))?;
        Ok(value.into_bytes())
    }

    /// Returns all stored secrets without their values, by name.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be read.
    pub async fn list(&self) -> Result<Vec<SecretInfo>, HiveError> {
        Ok(self.ledger.secrets().await?)
    }
}
