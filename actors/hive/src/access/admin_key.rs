//! The admin key: made by the first start, and replaced on the hive's own machine when it
//! is lost.

use std::path::PathBuf;

use deia_ledger::{AddKey, Apply, Ledger, RecoverAdmin};
use deia_model::{AdminAccess, ApiKey, KeyGrant, KeyId, Role, Timestamp, admin_access};

use super::limits;
use crate::{
    HiveStartError,
    config::Config,
    data_dir::{DataDir, SecretDraft, write_secret},
    store_options::open_store,
};

/// User that owns the keys of the hive's own machine.
const ADMIN: &str = "admin";

/// Makes an admin key unless there is one in force. `new` is true for a new hive.
///
/// # Errors
/// The key cannot be written to its file or to the store.
pub(crate) async fn ensure_admin_key(
    ledger: &Ledger,
    config: &Config,
    new: bool,
) -> Result<(), HiveStartError> {
    let now = Timestamp::now();
    if admin_access(&ledger.keys().await?, now) > AdminAccess::Lost {
        return Ok(());
    }
    let path = config.admin_key_path();
    let failed = |reason: String| HiveStartError::AdminKey {
        path: path.clone(),
        reason,
    };
    let key = ApiKey::generate().map_err(|error| failed(error.to_string()))?;
    // The file is written first: a key that nobody can read would lock everyone out.
    write_secret(&path, &key.reveal()).map_err(|error| failed(error.to_string()))?;
    let record = key.record(KeyGrant::new(ADMIN, Role::Admin));
    if new {
        let first = AddKey {
            key: record,
            new_user: true,
            idempotency: None,
            actor: "deia".into(),
            limits: limits(config),
        };
        ledger.apply(first).await?;
    } else {
        let recovered = RecoverAdmin {
            key: record,
            reason: "no admin key was in force when the server started",
        };
        ledger.apply(recovered).await?;
    }
    Ok(())
}

/// Result of a reset of the admin key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminKeyReset {
    /// Path of the file with the new key.
    pub path: PathBuf,
    /// Id of the new key.
    pub key: KeyId,
    /// Ids of the keys that are refused from now on.
    pub revoked: Vec<KeyId>,
}

/// Makes a new admin key, writes it where the first one was written, and revokes
/// the admin keys that its user had. No key is required, since a user who may
/// write the data directory may do everything anyway. The reset is recorded as a critical
/// event.
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
    // The draft is on disk before the old keys are refused, and moved to its final path after
    // that.
    let draft = SecretDraft::write(&path, &key.reveal()).map_err(|e| failed(e.to_string()))?;
    let revoked = replace(config, &key).await?;
    draft.publish().map_err(|error| failed(error.to_string()))?;
    Ok(AdminKeyReset {
        key: key.id(),
        path,
        revoked,
    })
}

/// Records the new key, and returns the keys that were revoked for it.
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
