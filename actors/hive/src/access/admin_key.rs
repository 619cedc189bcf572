//! A lost admin key, replaced on the machine of the hive itself.

use std::path::PathBuf;

use deia_ledger::{Apply, RecoverAdmin};
use deia_model::{ApiKey, KeyGrant, KeyId, Role, Timestamp};

use super::{
    HiveStartError,
    data_dir::{DataDir, SecretDraft},
    start::open_store,
};
use crate::config::Config;

/// The user that the keys of the hive's own machine belong to.
pub(super) const ADMIN: &str = "admin";

/// What came of a reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminKeyReset {
    /// Where the new key is.
    pub path: PathBuf,
    /// The new key.
    pub key: KeyId,
    /// The keys that are refused from now on.
    pub revoked: Vec<KeyId>,
}

/// Makes a new admin key, writes it where the first one was written, and revokes
/// the admin keys that its user had. Whoever may write the data directory may do
/// everything anyway: no key is asked for. It is recorded as a critical event.
///
/// # Errors
/// A hive runs on the data directory, there is none in it, or it cannot be written.
pub async fn reset_admin_key(config: &Config) -> Result<AdminKeyReset, HiveStartError> {
    let path = config.admin_key_path();
    let failed = |reason: String| HiveStartError::AdminKey {
        path: path.clone(),
        reason,
    };
    if !config.database_path().exists() {
        let why = "there is no hive yet; its first start makes an admin key";
        return Err(failed(why.to_owned()));
    }
    let _locked = DataDir::open(&config.data_dir)?;
    let key = ApiKey::generate().map_err(|error| failed(error.to_string()))?;
    // On disk before the old keys are refused, and in its place after that.
    let draft = SecretDraft::write(&path, &key.reveal()).map_err(|e| failed(e.to_string()))?;
    let revoked = replace(config, &key).await?;
    draft.publish().map_err(|error| failed(error.to_string()))?;
    Ok(AdminKeyReset {
        key: key.id(),
        path,
        revoked,
    })
}

/// The keys that were revoked for it.
async fn replace(config: &Config, key: &ApiKey) -> Result<Vec<KeyId>, HiveStartError> {
    let store = open_store(config)?;
    let _serving = store.serve()?;
    let before = store.keys().await?;
    let command = RecoverAdmin {
        key: key.record(KeyGrant::new(ADMIN, Role::Admin)),
        reason: "deia admin-key --reset",
    };
    let applied = store.apply(command).await;
    let after = store.keys().await;
    store.close().await;
    applied?;
    let now = Timestamp::now();
    let in_force = |id: &KeyId| {
        let was = |key: &&deia_model::KeyRecord| key.info.id == *id;
        before
            .iter()
            .find(was)
            .is_some_and(|key| key.info.is_in_force(now))
    };
    let revoked = after?
        .into_iter()
        .filter(|key| key.info.revoked_at.is_some());
    Ok(revoked.map(|key| key.info.id).filter(in_force).collect())
}
