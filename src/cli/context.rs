//! Everything that a command works with: the hive, the key, and the output.

mod globals;
mod key;

use std::{fs, io, io::Read as _, path::Path};

use deia_client::{Client, ClientError};
use deia_hive::config::without_mark;

pub(crate) use self::globals::takes_value;
pub(super) use self::globals::{GlobalArgs, Globals};
use self::key::{Found, find_key, others_can_read};
use super::{error::CliError, interrupt::Interrupt, output::Output};

/// Maximum size of a file of authorities, in bytes. Fixed: of the command line, which has
/// no settings.
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
    /// The environment variables that the URL and the key file come from.
    variables: [Option<&'static str>; 2],
}

impl Context {
    /// Finds the profile and the key, and prepares the client. Sends nothing.
    ///
    /// # Errors
    /// A profile that does not exist, a URL that is not of a hive, a key file that
    /// cannot be read.
    pub(super) fn new(globals: &Globals) -> Result<Self, CliError> {
        let profile = globals.profile()?;
        let out = globals.output(profile.as_ref());
        let to = globals.destination(profile.as_ref());
        let variables = globals.variables(&to);
        let args = &globals.args;
        let mut builder = Client::builder(to.url).timeout(args.request_timeout);
        if let Some(path) = &args.ca_file {
            let pem = read_text("--ca-file", path, MAX_CA_BYTES)?;
            builder = builder.authorities(pem.into_bytes());
        }
        let key = find_key(to.key_file.as_deref(), &args.data_dir, builder.is_local());
        let key = key.map_err(|error| of_variable(error, variables[1]))?;
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
            variables,
        })
    }

    /// Adds the origin of the key, or the reason why there was none, if the hive
    /// refuses it.
    pub(super) fn explain(&self, error: CliError) -> CliError {
        let refused = |error: &ClientError| error.problem().is_some_and(|p| p.status == 401);
        let [url_from, key_from] = self.variables;
        match (error, &self.key) {
            (CliError::Client(ClientError::Unreachable { url, reason }), _) => {
                let from = url_from.map(|name| format!("; the URL is that of {name}"));
                let reason = reason + &from.unwrap_or_default();
                ClientError::Unreachable { url, reason }.into()
            }
            (CliError::Client(error), _)
                if error.has_code("route_not_found") && self.client.has_path() =>
            {
                ClientError::Invalid {
                    what: format!("the URL {}", self.client.url()),
                    reason: "has a path below which there is no hive; leave the path out".into(),
                }
                .into()
            }
            (CliError::Client(error), Found::Key { path, .. }) if refused(&error) => {
                CliError::KeyRefused {
                    path: path.clone(),
                    variable: key_from,
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

/// Adds the environment variable that names a key file to an error about the file.
fn of_variable(error: CliError, variable: Option<&str>) -> CliError {
    match (error, variable) {
        (CliError::KeyFile { path, reason }, Some(name)) => CliError::KeyFile {
            path,
            reason: format!("{reason} (the path is that of {name})"),
        },
        (error, _) => error,
    }
}

/// Returns the text in the file of an option, or of standard input when the path is `-`.
///
/// # Errors
/// The text cannot be read, is longer than `limit` bytes, or is not UTF-8.
pub(super) fn read_text(option: &str, path: &Path, limit: u64) -> Result<String, CliError> {
    let from_stdin = path == Path::new("-");
    let mut bytes = Vec::new();
    let read = if from_stdin {
        io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
    };
    let name = || match from_stdin {
        true => "standard input".to_owned(),
        false => format!("{option} {}", path.display())
            .trim_start()
            .to_owned(),
    };
    let refuse = |reason: String| CliError::Input {
        what: name(),
        reason,
    };
    read.map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(refuse(format!(
            "is over {} long",
            super::format::bytes(limit)
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text".into()))?;
    Ok(without_mark(&text).to_owned())
}
