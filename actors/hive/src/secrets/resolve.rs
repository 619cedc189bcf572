//! Resolves the references of a bot to the values that its program gets.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use deia_ledger::AccessReads;
use deia_model::{SecretName, SecretPlaces, SecretRef, SecretRefs};
use rustix::fs::{Mode, OFlags};

use super::{SealingKeys, SecretValue};
use crate::host::descriptors;

/// Maximum size of a secret, in bytes: the kernel allows 128 KiB in one variable. Fact:
/// execve(2): MAX_ARG_STRLEN is 32 pages.
const MAX_BYTES: u64 = 64 << 10;

/// The reason why a program does not get one of its secrets. The value is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    variable: String,
    reference: SecretRef,
    reason: String,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            variable,
            reference,
            reason,
        } = self;
        write!(f, "the secret {variable} ({reference}): {reason}")
    }
}

/// Variables of a program, and their values.
pub(crate) type Variables = Vec<(OsString, OsString)>;

/// Looks secrets up where the settings allow it.
pub(crate) struct SecretResolver {
    places: SecretPlaces,
    data_dir: PathBuf,
    ledger: Arc<dyn AccessReads>,
    keys: Arc<SealingKeys>,
}

impl SecretResolver {
    pub(crate) fn new(
        places: SecretPlaces,
        data_dir: PathBuf,
        ledger: Arc<dyn AccessReads>,
        keys: Arc<SealingKeys>,
    ) -> Self {
        Self {
            places,
            data_dir,
            ledger,
            keys,
        }
    }

    /// Looks up the values of these secrets. Files are read off the arbiter.
    ///
    /// # Errors
    /// The error of the first secret that is not available.
    pub(crate) async fn resolve(&self, secrets: &SecretRefs) -> Result<Variables, Unresolved> {
        let mut found = Vec::with_capacity(secrets.len());
        for (variable, reference) in secrets {
            let value = match self.value(reference).await {
                Ok(value) => value.into_bytes(),
                Err(reason) => {
                    return Err(Unresolved {
                        variable: variable.clone(),
                        reference: reference.clone(),
                        reason,
                    });
                }
            };
            found.push((variable.into(), OsString::from_vec(value)));
        }
        Ok(found)
    }

    async fn value(&self, reference: &SecretRef) -> Result<SecretValue, String> {
        let bytes = match reference {
            SecretRef::Env(name) => self.variable(name)?,
            SecretRef::Store(name) => self.stored(name).await?,
            SecretRef::File(path) => {
                let place = self.places.place_of(path);
                let place = place.ok_or("it is in no place that bots.secret_files allows")?;
                let (path, place) = (PathBuf::from(path), PathBuf::from(place));
                let data_dir = self.data_dir.clone();
                let reading =
                    tokio::task::spawn_blocking(move || read_file(&path, &place, &data_dir));
                reading.await.map_err(|error| error.to_string())??
            }
        };
        fit(bytes)
    }

    fn variable(&self, name: &str) -> Result<Vec<u8>, String> {
        // The settings may have changed since the bot was created.
        if !self.places.env.iter().any(|allowed| allowed == name) {
            return Err("it is not a variable that bots.secret_env allows".into());
        }
        let value = std::env::var_os(name).ok_or("the server was started without it")?;
        Ok(value.as_bytes().to_vec())
    }

    async fn stored(&self, name: &str) -> Result<Vec<u8>, String> {
        let name = SecretName::of_bots(name)?;
        let stored = self.ledger.secret(name.clone()).await;
        let stored = stored.map_err(|error| error.to_string())?;
        let stored = stored.ok_or("there is no stored secret of that name")?;
        let opened = self.keys.open(&name, &stored.sealed);
        Ok(opened.map_err(|error| error.to_string())?.into_bytes())
    }
}

/// Returns the value if a program's environment can hold it.
fn fit(bytes: Vec<u8>) -> Result<SecretValue, String> {
    match bytes.is_empty() {
        true => Err("it is empty".into()),
        false if bytes.contains(&0) => Err("it has a NUL character".into()),
        false if bytes.len() as u64 > MAX_BYTES => {
            Err(format!("it is longer than {MAX_BYTES} bytes"))
        }
        false => Ok(SecretValue::new(bytes)),
    }
}

/// Reads a secret from a file that is in `place`, even after following links, and not in the data
/// directory. The end of its last line is left out.
fn read_file(path: &Path, place: &Path, data_dir: &Path) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| error.to_string();
    // The flags avoid waiting for the other end of a pipe and taking over a terminal.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file =
        File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| told(e.into()))?);
    // The check applies to the open file, wherever the path leads now.
    let real = descriptors::path_of(&file).map_err(told)?;
    if !real.starts_with(place.canonicalize().map_err(told)?) {
        return Err("a link leads out of the place that bots.secret_files allows".into());
    }
    if real.starts_with(data_dir.canonicalize().map_err(told)?) {
        return Err("it is in the data directory of the hive".into());
    }
    if !file.metadata().map_err(told)?.is_file() {
        return Err("it is not a file".into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 2)
        .read_to_end(&mut bytes)
        .map_err(told)?;
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    Ok(text.strip_suffix(b"\r").unwrap_or(text).to_vec())
}

/// The secrets of one bot, and the way to their values.
#[derive(Clone, Default)]
pub(crate) struct BotSecrets {
    references: SecretRefs,
    resolver: Option<Arc<SecretResolver>>,
}

impl BotSecrets {
    pub(crate) fn new(references: SecretRefs, resolver: Arc<SecretResolver>) -> Self {
        Self {
            references,
            resolver: Some(resolver),
        }
    }

    /// Resolves the secrets of the bot, as [`SecretResolver::resolve`].
    ///
    /// # Errors
    /// The error of the first secret that is not available.
    pub(crate) async fn resolve(&self) -> Result<Variables, Unresolved> {
        match &self.resolver {
            Some(resolver) => resolver.resolve(&self.references).await,
            None => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_files_in_their_place_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for sub in ["allowed/..data", "outside", "data"] {
            fs::create_dir_all(at(sub)).unwrap();
        }
        for (file, text) in [
            ("allowed/plain", "hunter2\n"),
            ("allowed/..data/mounted", "hunter3\r\n"),
            ("allowed/lines", "one\ntwo\n\n"),
            ("allowed/large", &"x".repeat(70_000)),
            ("outside/theirs", "theirs"),
            ("data/admin.key", "admin"),
        ] {
            fs::write(at(file), text).unwrap();
        }
        symlink("..data/mounted", at("allowed/mounted")).unwrap();
        symlink(at("outside/theirs"), at("allowed/out")).unwrap();
        symlink(at("outside"), at("allowed/dir")).unwrap();
        symlink(at("allowed"), at("place")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("allowed/pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        for (path, place, expected) in [
            ("allowed/plain", "allowed", Ok("hunter2")),
            ("allowed/plain", "allowed/plain", Ok("hunter2")),
            ("place/plain", "place", Ok("hunter2")),
            ("allowed/mounted", "allowed", Ok("hunter3")),
            ("allowed/lines", "allowed", Ok("one\ntwo\n")),
            ("allowed/out", "allowed", Err("link")),
            ("allowed/dir/theirs", "allowed", Err("link")),
            ("allowed/absent", "allowed", Err("No such file")),
            ("allowed/pipe", "allowed", Err("not a file")),
            ("allowed", "allowed", Err("not a file")),
            ("data/admin.key", "data", Err("data directory")),
            ("data/admin.key", "", Err("data directory")),
        ] {
            let found = read_file(&at(path), &at(place), &at("data"));
            match expected {
                Ok(text) => assert_eq!(found.as_deref(), Ok(text.as_bytes()), "{path}"),
                Err(part) => {
                    let reason = found.unwrap_err();
                    assert!(reason.contains(part), "{path}: {reason}");
                }
            }
        }
        let large = read_file(&at("allowed/large"), &at("allowed"), &at("data")).unwrap();
        assert!(fit(large).unwrap_err().contains("longer than 65536"));
    }

    #[test]
    fn value_unfit_for_a_variable_is_refused_without_repeating_it() {
        for (bytes, expected) in [
            (&b""[..], Some("empty")),
            (b"hunter2\0", Some("NUL")),
            (b"hunter2", None),
        ] {
            let found = fit(bytes.to_vec()).map(SecretValue::into_bytes);
            match expected {
                None => assert_eq!(found, Ok(bytes.to_vec())),
                Some(part) => {
                    let reason = found.unwrap_err();
                    assert!(reason.contains(part) && !reason.contains("hunter"));
                }
            }
        }
    }
}
