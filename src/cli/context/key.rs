//! The key of a command, and the file that contains it.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use deia_client::Secret;
use deia_hive::config::without_mark;
use deia_model::ApiKey;

use crate::cli::error::CliError;

/// Maximum size of a file with a key, in bytes. Fixed: of the command line, which has no
/// settings.
const MAX_KEY_BYTES: u64 = 16 << 10;

/// The key of a command, or the reason why it has none.
#[derive(Debug)]
pub(super) enum Found {
    Key { key: Secret, path: PathBuf },
    None { reason: String },
}

/// Returns the key that was named; otherwise the first admin key of a hive on this
/// machine, which is never sent to another machine.
pub(super) fn find_key(
    named: Option<&Path>,
    data_dir: &Path,
    local: bool,
) -> Result<Found, CliError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None if local && data_dir.exists() && !data_dir.is_dir() => {
            return Err(CliError::Input {
                what: format!("--data-dir {}", data_dir.display()),
                reason: "is not a directory".into(),
            });
        }
        None if local => data_dir.join("admin.key"),
        None => {
            return Ok(Found::None {
                reason: "admin.key is only used for a hive on this machine".into(),
            });
        }
    };
    match read_key(&path) {
        Ok(key) => Ok(Found::Key { key, path }),
        Err(CliError::File { error, .. })
            if named.is_none() && error.kind() == io::ErrorKind::NotFound =>
        {
            Ok(Found::None {
                reason: format!("{} does not exist", path.display()),
            })
        }
        Err(CliError::File { path, error }) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(CliError::KeyFileDenied { path, error })
        }
        Err(CliError::File { path, error }) => Err(CliError::KeyFile {
            path,
            reason: error.to_string(),
        }),
        Err(other) => Err(other),
    }
}

fn read_key(path: &Path) -> Result<Secret, CliError> {
    let failed = |error| CliError::File {
        path: path.to_owned(),
        error,
    };
    let refuse = |reason: String| CliError::KeyFile {
        path: path.to_owned(),
        reason,
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    match file.take(MAX_KEY_BYTES + 1).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(refuse("holds something that is not text".into()));
        }
        read => read.map_err(failed)?,
    };
    let key = without_mark(&text).trim();
    if key.is_empty() || text.len() as u64 > MAX_KEY_BYTES || key.contains(char::is_whitespace) {
        return Err(refuse("must hold one key and nothing else".into()));
    }
    if key.starts_with("deia_") {
        ApiKey::parse(key).map_err(|error| refuse(error.to_string()))?;
    }
    Ok(Secret::new(key))
}

/// Returns whether users other than the owner may read the file.
pub(super) fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;

    fn exit(found: Result<Found, CliError>) -> Exit {
        found.err().map_or(Exit::Ok, |error| error.exit())
    }

    #[test]
    fn where_the_key_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let key = ApiKey::generate().unwrap().reveal();
        fs::write(at("admin.key"), format!("{key}\n")).unwrap();
        fs::write(at("other.key"), "some.jwt.token").unwrap();
        fs::write(at("cut.key"), &key[..key.len() - 3]).unwrap();
        fs::write(at("two.key"), format!("{key}\n{key}\n")).unwrap();
        fs::write(at("empty.key"), " \n").unwrap();
        fs::write(at("binary.key"), [0xff, 0xfe]).unwrap();

        let found = |named: Option<&str>, dir: &Path, local| {
            find_key(named.map(at).as_deref(), dir, local).map(|found| match found {
                Found::Key { key, .. } => Some(key.reveal().to_owned()),
                Found::None { .. } => None,
            })
        };
        assert_eq!(found(None, dir.path(), true).unwrap(), Some(key.clone()));
        assert_eq!(found(None, dir.path(), false).unwrap(), None);
        assert_eq!(found(None, &at("nowhere"), true).unwrap(), None);
        let jwt = found(Some("other.key"), dir.path(), false).unwrap();
        assert_eq!(jwt.as_deref(), Some("some.jwt.token"));
        for name in ["missing", "cut.key", "two.key", "empty.key", "binary.key"] {
            let result = find_key(Some(&at(name)), dir.path(), true);
            if let Err(error) = &result {
                assert!(!error.to_string().contains(&key[..20]), "{error}");
            }
            assert_eq!(exit(result), Exit::Usage, "{name}");
        }
    }
}
