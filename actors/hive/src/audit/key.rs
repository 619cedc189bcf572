//! The file of the keys that sign checkpoints.

use std::{io::Read, path::Path};

use deia_trail::note::{KeyName, SigningKey};
use rustix::fs::{Mode, OFlags};

use crate::data_dir::write_secret;

/// Maximum size of the file of keys, in bytes. Fixed: far above any real file, so that a
/// wrong one does not fill the memory.
const MAX_BYTES: u64 = 16 << 10;

/// Reads the keys, the one in force last. `None` if there is no file.
pub(super) fn load(path: &Path) -> Result<Option<Vec<SigningKey>>, String> {
    let failed = |reason: String| format!("{} cannot be used: {reason}", path.display());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(std::io::Error::from(error).to_string())),
    };
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| failed(error.to_string()))?;
    let keys = text.lines().filter(|line| !line.trim().is_empty());
    let keys: Vec<_> = keys
        .map(|line| SigningKey::parse(line).map_err(|error| failed(error.to_string())))
        .collect::<Result<_, _>>()?;
    match keys.is_empty() {
        true => Err(failed("it has no key".into())),
        false => Ok(Some(keys)),
    }
}

/// Writes the keys, the one in force last; on disk when this returns.
pub(super) fn store(path: &Path, keys: &[SigningKey]) -> Result<(), String> {
    let lines: Vec<_> = keys.iter().map(SigningKey::to_text).collect();
    write_secret(path, &lines.join("\n"))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Makes a key under that name.
pub(super) fn generate(origin: &str) -> Result<SigningKey, String> {
    let name = KeyName::new(origin).ok_or_else(|| format!("{origin:?} cannot name a log"))?;
    SigningKey::generate(&name).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.key");
        assert!(load(&path).unwrap().is_none());
        let keys = vec![generate("a/b").unwrap(), generate("a/b").unwrap()];
        store(&path, &keys).unwrap();
        let read = load(&path).unwrap().unwrap();
        let verifiers =
            |keys: &[SigningKey]| keys.iter().map(SigningKey::verifier).collect::<Vec<_>>();
        assert_eq!(verifiers(&read), verifiers(&keys));
        for text in ["", "\n", "nonsense"] {
            std::fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err();
            assert!(error.contains("audit.key"), "{error}");
        }
    }
}
