//! Which hive, with which key, and how to show what it says.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use deia_hive::auth::ApiKey;

use super::{
    error::CliError,
    output::{Format, Output},
    parse,
};
use crate::client::{Client, ClientError, DEFAULT_URL, Secret};

const MAX_KEY_BYTES: u64 = 16 << 10;
const HEADING: &str = "Global options";

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(super) struct GlobalArgs {
    /// How data is written to standard output. `json` and `yaml` are what the
    /// API answers; `jsonl` is one item a line.
    #[arg(long, short, global = true, value_enum, default_value_t, help_heading = HEADING)]
    output: Format,
    /// Where the hive is.
    #[arg(long, global = true, env = "DEIA_URL", hide_env_values = true, default_value = DEFAULT_URL, help_heading = HEADING)]
    url: String,
    /// The file that holds the API key.
    #[arg(long, global = true, env = "DEIA_KEY_FILE", hide_env_values = true, value_name = "FILE", help_heading = HEADING)]
    key_file: Option<PathBuf>,
    /// The data directory of a hive on this machine. Its admin.key is used when
    /// no key file is given.
    #[arg(long, global = true, env = "DEIA_DATA_DIR", hide_env_values = true, value_name = "DIR", default_value = "data", help_heading = HEADING)]
    data_dir: PathBuf,
    /// How long one request may take.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = parse::duration, help_heading = HEADING)]
    request_timeout: Duration,
}

/// What a command works with.
#[derive(Debug)]
pub(super) struct Context {
    /// The hive.
    pub(super) client: Client,
    /// Where data and messages go.
    pub(super) out: Output,
    key: Found,
}

impl Context {
    /// Finds the key and prepares the client. Nothing is sent yet.
    ///
    /// # Errors
    /// A URL that is not of a hive, a key file that cannot be read.
    pub(super) fn new(args: GlobalArgs) -> Result<Self, CliError> {
        let out = Output::of_this_process(args.output);
        let mut builder = Client::builder(args.url).timeout(args.request_timeout);
        let key = find_key(args.key_file.as_deref(), &args.data_dir, builder.is_local())?;
        if let Found::Key { key, path } = &key {
            if others_can_read(path) {
                let path = path.display();
                out.note(&format!(
                    "warning: others can read the key file; run: chmod 600 {path}"
                ));
            }
            builder = builder.key(key.clone());
        }
        Ok(Self {
            client: builder.build()?,
            out,
            key,
        })
    }

    /// Says where the key came from, or why there was none, when the hive
    /// refuses it.
    pub(super) fn explain(&self, error: CliError) -> CliError {
        let refused = |error: &ClientError| error.problem().is_some_and(|p| p.status == 401);
        match (error, &self.key) {
            (CliError::Client(error), Found::Key { path, .. }) if refused(&error) => {
                CliError::KeyRefused {
                    path: path.clone(),
                    error,
                }
            }
            (CliError::Client(error), Found::None { reason }) if refused(&error) => {
                CliError::NoKey {
                    url: self.client.url().to_owned(),
                    reason: reason.clone(),
                }
            }
            (error, _) => error,
        }
    }
}

#[derive(Debug)]
enum Found {
    Key { key: Secret, path: PathBuf },
    None { reason: String },
}

/// The key that was named; else the first admin key of a hive on this machine.
/// That one is never sent to another machine.
fn find_key(named: Option<&Path>, data_dir: &Path, local: bool) -> Result<Found, CliError> {
    let path = match named {
        Some(path) => path.to_owned(),
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
    let key = text.trim();
    if key.is_empty() || text.len() as u64 > MAX_KEY_BYTES || key.contains(char::is_whitespace) {
        return Err(refuse("must hold one key and nothing else".into()));
    }
    if key.starts_with("deia_") {
        ApiKey::parse(key).map_err(|error| refuse(error.to_string()))?;
    }
    Ok(Secret::new(key))
}

/// The text in a file, or of standard input when the path is `-`.
///
/// # Errors
/// It cannot be read, is longer than `limit` bytes, or is not UTF-8.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, CliError> {
    let from_stdin = path == Path::new("-");
    let mut bytes = Vec::new();
    let read = if from_stdin {
        io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
    };
    let name = || match from_stdin {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
    let refuse = |reason: String| CliError::Input {
        what: name(),
        reason,
    };
    read.map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(refuse(format!(
            "is over {} long",
            super::human::bytes(limit)
        )));
    }
    String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text".into()))
}

fn others_can_read(path: &Path) -> bool {
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
