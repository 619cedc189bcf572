//! The options of every command, and the destination that results from them, the
//! environment and the profiles.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgMatches, Args, parser::ValueSource};
use deia_client::DEFAULT_URL;

use crate::cli::{
    error::CliError,
    output::{Format, Output},
    parse, profile,
    profile::{Profile, Profiles},
};

const HEADING: &str = "Global options";

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct GlobalArgs {
    /// Format of the data on standard output. `json` and `yaml` are the answers of the
    /// API; `jsonl` is one item per line. `table` unless the profile says otherwise.
    #[arg(long, short, global = true, value_enum, help_heading = HEADING)]
    output: Option<Format>,
    /// The URL of the hive. http://127.0.0.1:8000 unless the profile says otherwise.
    #[arg(long, global = true, env = "DEIA_URL", hide_env_values = true, help_heading = HEADING)]
    url: Option<String>,
    /// The file with the API key.
    #[arg(long, global = true, env = "DEIA_KEY_FILE", hide_env_values = true, value_name = "FILE", help_heading = HEADING)]
    key_file: Option<PathBuf>,
    /// The certificate authorities (in PEM) that must have issued the certificate of
    /// the hive, instead of those that this machine trusts.
    #[arg(long, global = true, env = "DEIA_CA_FILE", hide_env_values = true, value_name = "FILE", help_heading = HEADING)]
    pub(super) ca_file: Option<PathBuf>,
    /// The profile to use instead of the current one: see deia profile.
    #[arg(long, global = true, env = "DEIA_PROFILE", hide_env_values = true, value_name = "NAME", help_heading = HEADING)]
    profile: Option<String>,
    /// The data directory of a hive on this machine. The admin.key in it is used if no key
    /// file is given.
    #[arg(long, global = true, env = "DEIA_DATA_DIR", hide_env_values = true, value_name = "DIR", default_value = "data", help_heading = HEADING)]
    pub(super) data_dir: PathBuf,
    /// Time-out of one request.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = parse::some_duration, help_heading = HEADING)]
    pub(super) request_timeout: Duration,
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

/// The options of every command, with those that were typed rather than set in the
/// environment.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Globals {
    pub(super) args: GlobalArgs,
    typed: Typed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Typed {
    url: bool,
    key_file: bool,
    profile: bool,
}

/// The hive that a command calls, and the key for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) url: String,
    pub(super) key_file: Option<PathBuf>,
}

impl Globals {
    pub(in crate::cli) fn new(args: GlobalArgs, matches: &ArgMatches) -> Self {
        let typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let typed = Typed {
            url: typed("url"),
            key_file: typed("key_file"),
            profile: typed("profile"),
        };
        Self { args, typed }
    }

    /// Returns the output of this process, for data and messages.
    pub(in crate::cli) fn output(&self, profile: Option<&Profile>) -> Output {
        let preferred = || profile.and_then(|profile| profile.output);
        Output::of_this_process(self.args.output.or_else(preferred).unwrap_or_default())
    }

    /// Returns the environment variables that the destination comes from: that of its
    /// URL and that of its key file.
    pub(super) fn variables(&self, to: &Destination) -> [Option<&'static str>; 2] {
        let url = !self.typed.url && self.args.url.as_ref() == Some(&to.url);
        let key =
            !self.typed.key_file && to.key_file.is_some() && self.args.key_file == to.key_file;
        [url.then_some("DEIA_URL"), key.then_some("DEIA_KEY_FILE")]
    }

    /// Returns `--url`, if it was typed.
    pub(in crate::cli) fn typed_url(&self) -> Option<&str> {
        self.args.url.as_deref().filter(|_| self.typed.url)
    }

    /// Returns `--key-file`, if it was typed.
    pub(in crate::cli) fn typed_key_file(&self) -> Option<&Path> {
        self.args
            .key_file
            .as_deref()
            .filter(|_| self.typed.key_file)
    }

    /// Returns `--output`, if it was typed.
    pub(in crate::cli) fn typed_output(&self) -> Option<Format> {
        self.args.output
    }

    /// Returns the profile that was named, otherwise the one in use, otherwise none.
    pub(super) fn profile(&self) -> Result<Option<Profile>, CliError> {
        let profiles = match profile::place() {
            Some(path) => Profiles::load(&path)?,
            None => Profiles::default(),
        };
        match &self.args.profile {
            Some(name) => profiles.named(name).cloned().map(Some),
            None => Ok(profiles.current()?.cloned()),
        }
    }

    /// Determines the destination. Options take precedence over a profile named by an
    /// option, that over the environment, and the environment over any other profile.
    /// The key of a profile only goes to the URL of the profile, never to another hive.
    pub(super) fn destination(&self, profile: Option<&Profile>) -> Destination {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
