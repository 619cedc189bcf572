//! Key files in the archive: encrypted to `recovery.key`, an age recipient, or not there.

use std::{fs, io, path::Path};

use age::{Identity, x25519};
use deia_archive::{FilesPlan, Stamp, Storage};
use deia_model::ArchivedKeys;

use super::offline::RestoreError;
use crate::{config::Config, data_dir::write_secret};

/// Directory of the key files in the archive.
pub(super) const KEYS: &str = "keys";
/// Extension of encrypted files. Fact: the convention of age.
const EXTENSION: &str = "age";
/// Maximum size of a key file and of a file of identities, in bytes. Fixed: far above any real
/// file, so that a wrong one does not fill the memory.
const MAX_BYTES: u64 = 64 << 10;

/// Reads a recipient.
///
/// # Errors
/// The reason why it is none.
fn recipient(text: &str) -> Result<x25519::Recipient, String> {
    text.parse().map_err(|reason: &str| reason.to_owned())
}

/// Returns the way in which key files are in the archive.
pub(super) fn key_files(config: &Config) -> ArchivedKeys {
    match config.recovery.key.is_empty() {
        true => ArchivedKeys::LeftOut,
        false => ArchivedKeys::Encrypted,
    }
}

/// Returns the parts of the data that the archive does not have.
pub(super) fn not_included(config: &Config) -> Vec<String> {
    let keys = match key_files(config) {
        ArchivedKeys::LeftOut => "key files (admin.key, audit.key, secrets.key)",
        ArchivedKeys::Encrypted => "admin.key",
    };
    [keys, "files that settings name", "logs of bots"]
        .map(str::to_owned)
        .to_vec()
}

/// A key file of the hive, encrypted.
pub(super) struct Sealed {
    /// Name in the archive.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) stamp: Stamp,
    /// The recipient and the stamp of the file: another one is encrypted again.
    pub(super) tag: String,
}

/// Names of the key files in the data directory that the archive has. `admin.key` is not among
/// them: a restore makes a new one.
fn paths(config: &Config) -> [std::path::PathBuf; 2] {
    [config.secrets_key_path(), config.audit_key_path()]
}

/// Encrypts the key files that the archive does not have as they are. `known` returns the mark of a
/// file in the archive. Returns those to ship, and the names of all.
///
/// # Errors
/// A file cannot be read or encrypted.
pub(super) fn seal(
    config: &Config,
    known: impl Fn(&str) -> Option<String>,
) -> io::Result<(Vec<Sealed>, Vec<String>)> {
    let text = config.recovery.key.as_str();
    if text.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let recipient = recipient(text).map_err(io::Error::other)?;
    let (mut sealed, mut names) = (Vec::new(), Vec::new());
    for path in paths(config) {
        let stamp = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => Stamp::of(&metadata?),
        };
        let file = path.file_name().and_then(|it| it.to_str());
        let name = format!("{KEYS}/{}.{EXTENSION}", file.unwrap_or_default());
        let tag = format!("{text} {} {}", stamp.modified, stamp.bytes);
        names.push(name.clone());
        if known(&name).as_deref() == Some(&tag) {
            continue;
        }
        let bytes = age::encrypt(&recipient, &read(&path)?).map_err(io::Error::other)?;
        sealed.push(Sealed {
            name,
            bytes,
            stamp,
            tag,
        });
    }
    Ok((sealed, names))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(io::Error::other("it is too large for a file of keys")),
        false => Ok(bytes),
    }
}

/// Key files that were decrypted, and are not written yet.
#[derive(Default)]
pub(super) struct Opened {
    files: Vec<(String, Vec<u8>)>,
    /// Sentences for the report.
    pub(super) notes: Vec<String>,
}

/// Decrypts the key files of a moment with the identities in a file, if there is one.
///
/// # Errors
/// [`RestoreError::Identity`]: the file has no identity, or none that they are encrypted to.
pub(super) fn open(
    storage: &dyn Storage,
    plan: Option<&FilesPlan>,
    identity: Option<&Path>,
) -> Result<Opened, RestoreError> {
    let mut opened = Opened::default();
    let identities = identity.map(identities).transpose()?;
    let names = plan.map_or_else(Vec::new, |plan| plan.names(KEYS));
    let (Some(plan), false) = (plan, names.is_empty()) else {
        opened.notes.push(LEFT_OUT.to_owned());
        return Ok(opened);
    };
    let recipients: Vec<_> = names
        .iter()
        .filter_map(|it| recipient_of(plan, it))
        .collect();
    let to = recipients.first().map_or("another key", String::as_str);
    let Some((path, identities)) = identity.zip(identities) else {
        opened.notes.push(format!(
            "the key files were not restored: they are encrypted to {to}, and --identity names its file. Without secrets.key the stored secrets cannot be read, and the audit trail gets a new key"
        ));
        return Ok(opened);
    };
    for name in names {
        let packed = plan.read(storage, &name)?.unwrap_or_default();
        let bytes = decrypt(&identities, &packed).map_err(|reason| RestoreError::Identity {
            path: path.to_owned(),
            reason: format!("it does not open {name}, which is encrypted to {to} ({reason})"),
        })?;
        let file = name.strip_prefix(KEYS).unwrap_or(&name).trim_matches('/');
        let file = file.strip_suffix(".age").unwrap_or(file).to_owned();
        opened.files.push((file, bytes));
    }
    Ok(opened)
}

/// Sentence of a report on an archive without key files.
const LEFT_OUT: &str = "the archive has no key files: without secrets.key of the old data directory the stored secrets cannot be read, and without its audit.key the audit trail gets a new key";

fn recipient_of(plan: &FilesPlan, name: &str) -> Option<String> {
    let tag = plan.tag(name)?;
    Some(tag.split(' ').next()?.to_owned())
}

/// Identities of a file.
type Identities = Vec<Box<dyn Identity + Send + Sync>>;

fn decrypt(identities: &Identities, packed: &[u8]) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let decryptor = age::Decryptor::new(packed).map_err(|error| error.to_string())?;
    let reader = decryptor.decrypt(identities.iter().map(|it| &**it as &dyn Identity));
    let mut bytes = Vec::new();
    let mut reader = reader.map_err(|error| error.to_string())?;
    let read = reader.read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Reads the identities in a file.
fn identities(path: &Path) -> Result<Identities, RestoreError> {
    let failed = |reason: String| RestoreError::Identity {
        path: path.to_owned(),
        reason,
    };
    let text = read(path).map_err(|error| failed(error.to_string()))?;
    let no_identity = |error: String| {
        failed(format!(
            "it has no identity as age-keygen makes one ({error})"
        ))
    };
    let file = age::IdentityFile::from_buffer(text.as_slice());
    let file = file.map_err(|error| no_identity(error.to_string()))?;
    let identities = file.into_identities();
    let identities = identities.map_err(|error| no_identity(error.to_string()))?;
    match identities.is_empty() {
        true => Err(no_identity("it is empty".to_owned())),
        false => Ok(identities),
    }
}

impl Opened {
    /// Writes the key files to a new data directory, for its owner only.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        for (name, bytes) in &self.files {
            let text = String::from_utf8(bytes.clone()).map_err(io::Error::other)?;
            write_secret(&dir.join(name), text.trim_end_matches('\n'))?;
        }
        Ok(())
    }

    /// Returns the names of the files.
    pub(super) fn names(&self) -> Vec<String> {
        self.files.iter().map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn wrong_recipients_are_refused() {
        let identity = x25519::Identity::generate();
        assert!(recipient(&identity.to_public().to_string()).is_ok());
        for text in ["", "age1", "age1xyz", "ssh-ed25519 AAAA", "/etc/key"] {
            assert!(recipient(text).is_err(), "{text}");
        }
        let secret = identity.to_string();
        assert!(recipient(secret.expose_secret()).is_err());
    }

    #[test]
    fn files_without_an_identity_are_named() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "nonsense", "# a comment\n"] {
            let path = dir.path().join("identity.txt");
            fs::write(&path, text).unwrap();
            let error = identities(&path).err().unwrap().to_string();
            assert!(error.contains("identity.txt"), "{error}");
        }
        let missing = identities(&dir.path().join("none")).err().unwrap();
        assert!(missing.to_string().contains("none"), "{missing}");
    }
}
