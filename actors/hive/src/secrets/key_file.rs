//! The file of the keys that seal the stored secrets.

use std::{
    io::{self, Read},
    path::Path,
};

use deia_ledger::{AccessReads, Apply, Ledger, ResealSecrets, Resealed, StoreError};
use deia_model::{SecretInfo, SecretName};
use rustix::fs::{Mode, OFlags};

use super::SealingKeys;
use crate::{
    HiveStartError,
    config::Config,
    data_dir::{DataDir, write_secret},
    store_options::open_store,
};

/// Maximum size of the file of keys, in bytes. Fixed: far above any real file, so that a
/// wrong one does not fill the memory.
const MAX_KEY_FILE_BYTES: u64 = 64 << 10;

/// Outcome of sealing all secrets with a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRotation {
    /// Name of the new key.
    pub key: String,
    /// Number of secrets that were sealed with the new key.
    pub resealed: u64,
    /// Secrets that no key in the file opens. They stay as they are.
    pub lost: Vec<SecretName>,
}

fn failed(path: &Path, reason: impl ToString) -> HiveStartError {
    HiveStartError::SecretsKey {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Reads the keys that secrets are sealed with. `None` if there is no file.
fn load(path: &Path) -> Result<Option<SealingKeys>, HiveStartError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(failed(path, "it is a symbolic link")),
        Err(error) => return Err(failed(path, io::Error::from(error))),
    };
    let mut text = String::new();
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| failed(path, error))?;
    let keys = SealingKeys::parse(&text).map_err(|error| failed(path, error))?;
    Ok(Some(keys))
}

/// Reads the keys that secrets are sealed with, and creates the first one if there is none. An
/// unreadable file is never replaced.
pub(crate) fn load_or_make(config: &Config) -> Result<SealingKeys, HiveStartError> {
    let path = config.secrets_key_path();
    if let Some(keys) = load(&path)? {
        return Ok(keys);
    }
    let keys = SealingKeys::generate().map_err(|error| failed(&path, error))?;
    write_secret(&path, &keys.to_text()).map_err(|error| failed(&path, error))?;
    Ok(keys)
}

/// Checks that the keys that secrets are sealed with can be read. Returns `false` if a start
/// would create the first one.
///
/// # Errors
/// An error that would keep a hive from starting.
pub fn check_secrets_key(config: &Config) -> Result<bool, HiveStartError> {
    Ok(load(&config.secrets_key_path())?.is_some())
}

/// Finds the stored secrets that no key opens.
pub(crate) async fn unopened(
    ledger: &dyn AccessReads,
    keys: &SealingKeys,
) -> Result<Vec<SecretName>, StoreError> {
    let mut lost = Vec::new();
    // Secrets are read one at a time: they may be many and long.
    for SecretInfo { name, .. } in ledger.secrets().await? {
        let stored = ledger.secret(name.clone()).await?;
        if stored.is_some_and(|stored| keys.open(&name, &stored.sealed).is_err()) {
            lost.push(name);
        }
    }
    Ok(lost)
}

/// Seals all secrets of a hive that does not run with a new key, and drops the old keys unless a
/// secret needs them. An interrupted rotation can be repeated: until all secrets are sealed
/// again, the file has the old keys as well.
///
/// # Errors
/// A hive runs on the data directory, there is none in it, or it cannot be written.
pub async fn rotate_secrets_key(config: &Config) -> Result<SecretRotation, HiveStartError> {
    let path = config.secrets_key_path();
    if !config.database_path().exists() {
        return Err(failed(
            &path,
            "there is no hive yet; its first start makes it",
        ));
    }
    let _locked = DataDir::open(&config.data_dir)?;
    let known = load(&path)?.ok_or_else(|| failed(&path, "there is no such file"))?;
    let keys = known.with_new_key().map_err(|error| failed(&path, error))?;
    write_secret(&path, &keys.to_text()).map_err(|error| failed(&path, error))?;
    let store = open_store(config)?;
    let _serving = store.serve()?;
    let done = reseal(&store, &keys).await;
    store.close().await;
    let (resealed, lost) = done?;
    let kept = keys.only_current();
    if lost.is_empty() {
        write_secret(&path, &kept.to_text()).map_err(|error| failed(&path, error))?;
    }
    Ok(SecretRotation {
        key: kept.current_id(),
        resealed,
        lost,
    })
}

async fn reseal(
    store: &Ledger,
    keys: &SealingKeys,
) -> Result<(u64, Vec<SecretName>), HiveStartError> {
    let (mut secrets, mut lost) = (Vec::new(), Vec::new());
    for SecretInfo { name, .. } in store.secrets().await? {
        let Some(stored) = store.secret(name.clone()).await? else {
            continue;
        };
        let sealed = keys.open(&name, &stored.sealed);
        match sealed.and_then(|value| keys.seal(&name, &value)) {
            Ok(sealed) => secrets.push(Resealed {
                name,
                was: stored.sealed,
                sealed,
            }),
            Err(_) => lost.push(name),
        }
    }
    let command = ResealSecrets {
        secrets,
        actor: "deia".into(),
    };
    Ok((store.apply(command).await?, lost))
}
