//! Everything that a command works with: the hive, the key, and the output.

mod globals;
mod key;

use std::{fs, io, io::Read as _, path::Path};

use deia_hive::config::without_mark;

pub(crate) use self::globals::takes_value;
pub(super) use self::globals::{GlobalArgs, Globals};
use self::key::{Found, find_key, others_can_read};
use super::{error::CliError, interrupt::Interrupt, output::Output};
use crate::client::{Client, ClientError};

const MAX_CA_BYTES: u64 = 4 << 20;

/// The client, the output and the key of a command.
#[derive(Debug)]
pub(super) struct Context {
    /// The hive.
    pub(super) client: Client,
    /// Output for data and messages.
    pub(super) out: Output,
    /// Record of effects that stay when the command is interrupted.
    pub(super) interrupt: Interrupt,
    key: Found,
}

impl Context {
    /// Finds the profile and the key, and prepares the client. Nothing is sent yet.
    ///
    /// # Errors
    /// A profile that is not there, a URL that is not of a hive, a key file that
    /// cannot be read.
    pub(super) fn new(globals: &Globals) -> Result<Self, CliError> {
        let profile = globals.profile()?;
        let out = globals.output(profile.as_ref());
        let to = globals.destination(profile.as_ref());
        let args = &globals.args;
        let mut builder = Client::builder(to.url).timeout(args.request_timeout);
        if let Some(path) = &args.ca_file {
            let pem = read_text(path, MAX_CA_BYTES)?;
            builder = builder.authorities(pem.into_bytes());
        }
        let key = find_key(to.key_file.as_deref(), &args.data_dir, builder.is_local())?;
        if let Found::Key { key, path } = &key {
            if others_can_read(path) {
                let path = path.display();
                out.note(&format!(
                    "warning: others can read the key file; run: chmod 600 {path}"
                ));
            }
            builder = builder.key(key.clone());
        }
        let client = builder.build()?;
        let interrupt = Interrupt::default();
        interrupt
            .listen(Some(client.clone()))
            .map_err(CliError::Runtime)?;
        Ok(Self {
            client,
            out,
            interrupt,
            key,
        })
    }

    /// Adds the origin of the key, or the reason why there was none, when the hive
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

/// Returns the text in a file, or of standard input when the path is `-`.
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
    let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text".into()))?;
    Ok(without_mark(&text).to_owned())
}
