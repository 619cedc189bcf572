//! Which hive, with which key, and how to show what it says.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgMatches, Args, parser::ValueSource};
use deia_hive::{auth::ApiKey, config::without_mark};

use super::{
    error::CliError,
    interrupt::Interrupt,
    output::{Format, Output},
    parse,
    profile::{self, Profile, Profiles},
};
use crate::client::{Client, ClientError, DEFAULT_URL, Secret};

const MAX_KEY_BYTES: u64 = 16 << 10;
const MAX_CA_BYTES: u64 = 4 << 20;
const HEADING: &str = "Global options";

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(super) struct GlobalArgs {
    /// How data is written to standard output. `json` and `yaml` are what the
    /// API answers; `jsonl` is one item a line. `table` unless the profile says otherwise.
    #[arg(long, short, global = true, value_enum, help_heading = HEADING)]
    output: Option<Format>,
    /// Where the hive is. http://127.0.0.1:8000 unless the profile says otherwise.
    #[arg(long, global = true, env = "DEIA_URL", hide_env_values = true, help_heading = HEADING)]
    url: Option<String>,
    /// The file that holds the API key.
    #[arg(long, global = true, env = "DEIA_KEY_FILE", hide_env_values = true, value_name = "FILE", help_heading = HEADING)]
    key_file: Option<PathBuf>,
    /// The authorities (certificates in PEM) that the certificate of the hive must
    /// come from, instead of those that this machine trusts.
    #[arg(long, global = true, env = "DEIA_CA_FILE", hide_env_values = true, value_name = "FILE", help_heading = HEADING)]
    ca_file: Option<PathBuf>,
    /// The profile to use instead of the current one: see deia profile.
    #[arg(long, global = true, env = "DEIA_PROFILE", hide_env_values = true, value_name = "NAME", help_heading = HEADING)]
    profile: Option<String>,
    /// The data directory of a hive on this machine. Its admin.key is used when
    /// no key file is given.
    #[arg(long, global = true, env = "DEIA_DATA_DIR", hide_env_values = true, value_name = "DIR", default_value = "data", help_heading = HEADING)]
    data_dir: PathBuf,
    /// How long one request may take.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = parse::duration, help_heading = HEADING)]
    request_timeout: Duration,
}

/// Returns whether the word after this global option is its value.
pub(crate) fn takes_value(word: &str) -> bool {
    let options = GlobalArgs::augment_args(clap::Command::new("deia"));
    let is = |arg: &clap::Arg| match word.strip_prefix("--") {
        Some(name) => arg.get_long() == Some(name),
        None => {
            let short = arg.get_short().map(|short| format!("-{short}"));
            short.as_deref() == Some(word)
        }
    };
    options.get_arguments().any(is)
}

/// What was said for every command, and which of it on the command line itself.
#[derive(Clone, Debug)]
pub(super) struct Globals {
    args: GlobalArgs,
    typed: Typed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Typed {
    url: bool,
    key_file: bool,
    profile: bool,
}

/// Where a command goes.
#[derive(Debug, PartialEq, Eq)]
struct Destination {
    url: String,
    key_file: Option<PathBuf>,
}

impl Globals {
    pub(super) fn new(args: GlobalArgs, matches: &ArgMatches) -> Self {
        let typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let typed = Typed {
            url: typed("url"),
            key_file: typed("key_file"),
            profile: typed("profile"),
        };
        Self { args, typed }
    }

    /// Where data and messages go.
    pub(super) fn output(&self, profile: Option<&Profile>) -> Output {
        let preferred = || profile.and_then(|profile| profile.output);
        Output::of_this_process(self.args.output.or_else(preferred).unwrap_or_default())
    }

    /// `--url`, if it was said on the command line.
    pub(super) fn typed_url(&self) -> Option<&str> {
        self.args.url.as_deref().filter(|_| self.typed.url)
    }

    /// `--key-file`, if it was said on the command line.
    pub(super) fn typed_key_file(&self) -> Option<&Path> {
        self.args
            .key_file
            .as_deref()
            .filter(|_| self.typed.key_file)
    }

    /// `--output`.
    pub(super) fn typed_output(&self) -> Option<Format> {
        self.args.output
    }

    /// The profile that was named, else the one in use, else none.
    fn profile(&self) -> Result<Option<Profile>, CliError> {
        let profiles = match profile::place() {
            Some(path) => Profiles::load(&path)?,
            None => Profiles::default(),
        };
        match &self.args.profile {
            Some(name) => profiles.named(name).cloned().map(Some),
            None => Ok(profiles.current()?.cloned()),
        }
    }

    /// Options go before the profile that was named by an option, that before the
    /// environment, and that before any other profile. The key of a profile only
    /// goes where the profile says, never to another hive.
    fn destination(&self, profile: Option<&Profile>) -> Destination {
        let of_env = |typed: bool| move |_: &&String| !typed;
        let url = self.args.url.as_ref();
        let env_url = url.filter(of_env(self.typed.url));
        let profile_first = self.typed.profile;
        let from_profile = match (self.typed_url(), env_url) {
            (Some(_), _) => None,
            (None, Some(_)) if !profile_first => None,
            _ => profile,
        };
        let key_of_profile = from_profile.and_then(|profile| profile.key_file.clone());
        let given = self.args.key_file.clone();
        let key_file = match profile_first && !self.typed.key_file {
            true => key_of_profile.or(given),
            false => given.or(key_of_profile),
        };
        let url = match from_profile {
            Some(profile) => profile.url.clone(),
            None => url.cloned().unwrap_or_else(|| DEFAULT_URL.to_owned()),
        };
        Destination { url, key_file }
    }
}

/// What a command works with.
#[derive(Debug)]
pub(super) struct Context {
    /// The hive.
    pub(super) client: Client,
    /// Where data and messages go.
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
            .listen(client.clone())
            .map_err(CliError::Runtime)?;
        Ok(Self {
            client,
            out,
            interrupt,
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
    let key = without_mark(&text).trim();
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
    let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text".into()))?;
    Ok(without_mark(&text).to_owned())
}

fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;

    #[test]
    fn where_a_command_goes() {
        use clap::{Command, FromArgMatches as _};
        let prod = Profile {
            url: "https://prod".into(),
            key_file: Some("prod.key".into()),
            output: None,
        };
        let destination = |words: &[&str], env: &[(&str, &str)], profile: Option<&Profile>| {
            let command = GlobalArgs::augment_args(Command::new("x"));
            let words = std::iter::once("x").chain(words.iter().copied());
            let matches = command.mut_args(|arg| arg.env(None::<&str>));
            let matches = matches.try_get_matches_from(words).unwrap();
            let args = GlobalArgs::from_arg_matches(&matches).unwrap();
            let mut globals = Globals::new(args, &matches);
            for (name, value) in env {
                let args = &mut globals.args;
                match *name {
                    "url" => args.url.get_or_insert((*value).into()).clone(),
                    _ => String::from(args.key_file.get_or_insert(value.into()).to_str().unwrap()),
                };
            }
            let to = globals.destination(profile);
            let key = to.key_file.map(|path| path.display().to_string());
            (to.url, key)
        };
        let env: &[(&str, &str)] = &[("url", "http://env"), ("key_file", "env.key")];
        let local = "http://127.0.0.1:8000";
        for (words, env, profile, url, key) in [
            (&[][..], &[][..], false, local, None),
            (&[], &[], true, "https://prod", Some("prod.key")),
            (&[], env, true, "http://env", Some("env.key")),
            (&[], &env[..1], true, "http://env", None),
            (&[], &env[1..], true, "https://prod", Some("env.key")),
            (
                &["--profile", "p"],
                env,
                true,
                "https://prod",
                Some("prod.key"),
            ),
            (
                &["--profile", "p", "--key-file", "k"],
                env,
                true,
                "https://prod",
                Some("k"),
            ),
            (
                &["--profile", "p", "--url", "http://u"],
                &[],
                true,
                "http://u",
                None,
            ),
            (
                &["--url", "http://u"],
                env,
                true,
                "http://u",
                Some("env.key"),
            ),
        ] {
            let found = destination(words, env, profile.then_some(&prod));
            assert_eq!(
                found,
                (url.to_owned(), key.map(str::to_owned)),
                "{words:?} {env:?}"
            );
        }
    }

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
