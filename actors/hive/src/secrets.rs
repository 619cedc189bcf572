//! Secrets: their storage, and their way to the programs of bots.

mod api;
mod key_file;
mod resolve;
mod seal;

use std::sync::Arc;

pub use api::SecretsApi;
use deia_ledger::{Ledger, StoreError};
pub(crate) use key_file::load_or_make;
use key_file::unopened;
pub use key_file::{SecretRotation, check_secrets_key, rotate_secrets_key};
pub(crate) use resolve::{BotSecrets, SecretResolver};
pub use seal::SealError;
pub(crate) use seal::{SealingKeys, SecretValue};

use crate::{
    access::AccessApi,
    subsystem::{Deps, Subsystem},
};

/// The subsystem of secrets. It has no actors.
pub(crate) struct Secrets {
    api: SecretsApi,
    resolver: Arc<SecretResolver>,
    sealing: Arc<SealingKeys>,
}

impl Secrets {
    pub(crate) fn new(deps: &Deps, access: &AccessApi, sealing: Arc<SealingKeys>) -> Self {
        let config = deps.settings.get();
        let resolver = SecretResolver::new(
            config.bots.secret_places(),
            config.data_dir.clone(),
            deps.ledger.clone(),
            sealing.clone(),
        );
        Self {
            api: SecretsApi::new(deps, access, sealing.clone()),
            resolver: Arc::new(resolver),
            sealing,
        }
    }

    pub(crate) fn api(&self) -> &SecretsApi {
        &self.api
    }

    /// Returns the resolver of the references of bots.
    pub(crate) fn resolver(&self) -> &Arc<SecretResolver> {
        &self.resolver
    }

    /// Logs the stored secrets that cannot be opened: the hive works without them, and only a
    /// person can restore the key or the secrets.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn look_for_lost(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let lost = unopened(&**ledger, &self.sealing).await?;
        if let Some(first) = lost.first() {
            tracing::error!(
                secrets = lost.len(),
                first = %first,
                "stored secrets cannot be opened: add the lines of their keys to secrets.key, or put the secrets again"
            );
        }
        Ok(())
    }
}

impl Subsystem for Secrets {}
