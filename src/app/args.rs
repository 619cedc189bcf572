//! The part of the command line of `deia` that runs a hive on this machine. Everything
//! else is a call to a running hive: see [`crate::cli`].

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{CommandFactory as _, Parser, Subcommand};
use deia_hive::config::{Config, ConfigError, Layers, socket_address};
use deia_model::PointId;

use crate::cli::MomentArgs;

/// Runs a hive: bots that work through a durable task queue.
#[derive(Debug, Parser)]
#[command(
    name = "deia",
    version,
    before_help = "Examples:
  deia                                    serve with ./deia.yaml, or else the defaults
  deia --data-dir /var/lib/deia --bind 127.0.0.1:9000
  deia --set server.workers=4 --set logging.filter=debug
  deia check                              check all that a start needs
  deia admin-key --reset                  replace a lost admin key
  deia secrets rotate                     seal the stored secrets with a new key",
    after_help = "Settings are taken from the file, then from the environment (DEIA__SERVER__BIND is server.bind), then from these options.
Exit codes: 0 ended as asked, 1 failed, 2 wrong usage or settings."
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve until SIGTERM or SIGINT. The default.
    #[command(before_help = "Examples:
  deia serve --data-dir /var/lib/deia
  deia --bind 127.0.0.1:0")]
    Serve,
    /// Check everything that a start needs, without starting.
    #[command(before_help = "Examples:
  deia check
  deia check --config /etc/deia.yaml")]
    Check {
        /// Check for a restart in place of the running hive of this data directory: its
        /// lock, and the address of the socket on standard input, belong to it. `deia
        /// system restart` makes the new binary run this.
        #[arg(long, value_name = "DIR")]
        for_restart: Option<PathBuf>,
    },
    /// Replace a lost admin key, while the hive is stopped.
    ///
    /// The new key is written to <data_dir>/admin.key; the previous admin keys of the
    /// user admin are revoked. The next start records a critical event.
    #[command(before_help = "Examples:
  deia admin-key --reset --data-dir /var/lib/deia")]
    AdminKey {
        /// Create a new key in place of the lost one.
        #[arg(long, required = true)]
        reset: bool,
    },
    /// Maintain the keys of the secret store, while the hive is stopped.
    #[command(
        subcommand,
        before_help = "Examples:
  deia secrets rotate --data-dir /var/lib/deia"
    )]
    Secrets(SecretsCommand),
    /// Restore a data directory from an archive. Needs no hive.
    ///
    /// Everything is verified before the directory can be used. A new admin key is made in it.
    /// The restored hive starts with its queue and webhooks paused, until deia backup resume,
    /// unless --go is given. The report says what was lost after the restored moment, which
    /// effects may repeat, and which revoked access is valid again: for that, the newest commit
    /// of the archive is restored as well, and removed again.
    #[command(before_help = "Examples:
  deia restore --from file:///mnt/nas/backups --to /var/lib/deia
  deia restore --from s3://backups/hive-1 --to /var/lib/deia
  deia restore --from file:///mnt/nas/backups --to ./copy --at 2026-11-20T08:30:00Z
  deia restore --from file:///mnt/nas/backups --to /var/lib/deia --identity recovery.txt
  deia restore --from file:///mnt/nas/backups --to ./copy --before-event 1.4711
  deia restore --from file:///mnt/nas/backups --to ./copy --task task_01h455vb4pex5vsknk084sn02q")]
    Restore(RestoreArgs),
    /// Ends the programs of a hive when that hive is gone. Started by deia itself.
    #[command(hide = true)]
    Reaper {
        /// The instance of the hive's data directory.
        instance: String,
        /// The run of the hive.
        run: String,
    },
    /// Starts the programs of bots, and ends all processes that they have started.
    /// Started by deia itself.
    #[command(hide = true)]
    Runner,
}

/// Options of a restore.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// Address of the archive, as in recovery.url.
    #[arg(long, value_name = "URL")]
    pub(super) from: String,
    /// The new data directory: must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub(super) to: PathBuf,
    /// Id of the hive, if the archive has several.
    #[arg(long, value_name = "ID")]
    pub(super) hive: Option<String>,
    /// A restore point; with a moment: the point to go on from.
    #[arg(long, value_name = "ID")]
    pub(super) point: Option<PointId>,
    #[command(flatten)]
    pub(super) moment: MomentArgs,
    /// File with the age identity that opens the key files, if recovery.key was set.
    #[arg(long, value_name = "FILE")]
    pub(super) identity: Option<PathBuf>,
    /// Work at once: do not pause the queue and the webhooks.
    #[arg(long)]
    pub(super) go: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SecretsCommand {
    /// Seal all stored secrets with a new key.
    ///
    /// The new key is written to <data_dir>/secrets.key first, and the old ones are
    /// removed from the file when every secret is sealed with it. If this is
    /// interrupted, run it again.
    #[command(before_help = "Examples:
  deia secrets rotate --data-dir /var/lib/deia")]
    Rotate,
}

/// The side of the command line that a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Runs a hive on this machine.
    Server,
    /// Calls a running hive.
    Client,
}

/// Returns the side that these arguments (without the program's name) are for; `None`
/// if they name no command.
///
/// The first word that is not an option decides, since the options before it may belong
/// to either side.
pub(super) fn side(args: &[OsString]) -> Option<Side> {
    let mut rest = args.iter().filter_map(|arg| arg.to_str());
    while let Some(word) = rest.next() {
        match word {
            "--help" | "-h" | "--version" | "-V" => return Some(Side::Client),
            "--" => return None,
            _ if takes_value(word) => drop(rest.next()),
            _ if word.starts_with('-') => {}
            // The stored secrets of a running hive are `secret`; the help of that
            // command says so.
            "secrets" if rest.clone().any(is_of_secret) => return Some(Side::Client),
            _ if is_server_command(word) => return Some(Side::Server),
            _ => return Some(Side::Client),
        }
    }
    None
}

fn is_of_secret(word: &str) -> bool {
    [
        "list", "show", "put", "set", "create", "add", "remove", "delete", "rm",
    ]
    .contains(&word)
}

/// Returns whether the word after this option is its value.
fn takes_value(word: &str) -> bool {
    let server = ["--config", "--data-dir", "--bind", "--set"];
    server.contains(&word) || crate::cli::takes_value(word)
}

fn is_server_command(word: &str) -> bool {
    let commands = Args::command();
    commands.get_subcommands().any(|sub| sub.get_name() == word)
}

/// Sources of the settings.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SettingsArgs {
    /// The settings file. When absent: ./deia.yaml, otherwise ./config/deia.yaml,
    /// otherwise the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for all data (data_dir).
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on (server.bind); port 0 picks a free port.
    #[arg(long, global = true, value_name = "ADDR:PORT", value_parser = socket_address)]
    bind: Option<SocketAddr>,
    /// Any setting, such as tasks.max_batch=100. May be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

impl SettingsArgs {
    /// Returns the settings that result from all layers.
    ///
    /// # Errors
    /// The invalid settings, and what is allowed.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        self.load_with(&self.read_file()?)
    }

    /// Returns the text of the settings file; empty if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read_file(&self) -> anyhow::Result<String> {
        let Some(file) = self.file() else {
            return Ok(String::new());
        };
        let read = std::fs::read_to_string(&file);
        let unreadable = |error: std::io::Error| ConfigError::Unreadable {
            reason: format!("it cannot be read: {error}"),
            path: file,
        };
        read.map_err(unreadable)
            .context("the settings cannot be used")
    }

    /// Returns the settings with `file` in place of the text of the settings file.
    ///
    /// # Errors
    /// Like [`Self::load`].
    pub(super) fn load_with(&self, file: &str) -> anyhow::Result<Config> {
        let loaded = self.layers(file)?.load();
        loaded.context("the settings cannot be used")
    }

    /// Returns the path of the settings file, if there is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let usual = || ["deia.yaml", "config/deia.yaml"].map(Path::new).into_iter();
        let found = || usual().find(|path| path.exists()).map(Path::to_owned);
        self.config.clone().or_else(found)
    }

    /// Returns these options as arguments of a command line.
    pub(super) fn to_args(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        let mut option = |name: &str, value: OsString| {
            let mut arg = OsString::from(format!("--{name}="));
            arg.push(value);
            args.push(arg);
        };
        if let Some(file) = &self.config {
            option("config", file.into());
        }
        if let Some(dir) = &self.data_dir {
            option("data-dir", dir.into());
        }
        if let Some(address) = self.bind {
            option("bind", address.to_string().into());
        }
        for (key, value) in &self.set {
            option("set", format!("{key}={value}").into());
        }
        args
    }

    /// Returns the layers of these options, with `file` as the text of the settings file.
    ///
    /// # Errors
    /// An option cannot be written as a setting.
    pub(super) fn layers(&self, file: &str) -> anyhow::Result<Layers> {
        let mut layers = Layers::default();
        // An empty file counts: its content may change later.
        if let Some(place) = self.file() {
            layers = layers.text(place, file);
        } else if !file.trim().is_empty() {
            layers = layers.text("the settings", file);
        }
        layers = layers.environment();
        for (key, value) in &self.set {
            layers = layers.set(key, value);
        }
        if let Some(dir) = &self.data_dir {
            let dir = dir
                .to_str()
                .context("--data-dir: expected a path in UTF-8")?;
            // A JSON string is a valid YAML string, whatever it contains.
            layers = layers.set("data_dir", serde_json::to_string(dir)?);
        }
        if let Some(address) = self.bind {
            layers = layers.set("server.bind", format!("\"{address}\""));
        }
        Ok(layers)
    }
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as server.workers=4"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn settings(args: &[&str]) -> Config {
        let args = Args::try_parse_from([&["deia"], args].concat()).unwrap();
        args.settings.load().unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_override_each_other_in_order() {
        let config = settings(&[
            "serve",
            "--set",
            "server.workers=3",
            "--set",
            "data_dir=x",
            "--data-dir",
            "/tmp/a: \"b\"",
            "--bind",
            "[::1]:0",
        ]);
        assert_eq!(config.server.workers, 3);
        assert_eq!(config.data_dir, Path::new("/tmp/a: \"b\""));
        assert_eq!(config.server.bind.to_string(), "[::1]:0");
        assert_eq!(
            settings(&["--bind", "127.0.0.1:9", "check"])
                .server
                .bind
                .port(),
            9
        );
    }

    #[test]
    fn options_are_written_as_they_were_read() {
        let given = [
            "deia",
            "--bind=[::1]:9",
            "--config=a b.yaml",
            "--data-dir=x",
            "--set=a=b=c",
            "--set=d=",
        ];
        let settings = |args: &[OsString]| Args::try_parse_from(args).unwrap().settings;
        let first = settings(&given.map(OsString::from));
        let mut written = vec!["deia".into(), "serve".into()];
        written.extend(first.to_args());
        assert_eq!(format!("{first:?}"), format!("{:?}", settings(&written)));
        assert_eq!(first.to_args().len(), given.len() - 1);
    }

    #[test]
    fn commands_of_the_unit_and_the_image_in_the_guide_parse() {
        let guide = include_str!("../../docs/OPERATIONS.md");
        let unit = guide
            .lines()
            .filter_map(|line| line.strip_prefix("ExecStart")?.split_once('='))
            .map(|(_, command)| command.split_whitespace().map(OsString::from).collect());
        let image = guide.lines().filter_map(|line| {
            let words: Vec<String> =
                serde_json::from_str(line.strip_prefix("ENTRYPOINT ")?).unwrap();
            Some(words.into_iter().map(OsString::from).collect())
        });
        let commands: Vec<Vec<OsString>> = unit.chain(image).collect();
        assert_eq!(commands.len(), 3, "{commands:?}");
        for words in commands {
            assert_eq!(side(&words[1..]), Some(Side::Server), "{words:?}");
            if let Err(error) = Args::try_parse_from(&words) {
                panic!("{words:?}: {error}");
            }
        }
    }

    #[test]
    fn the_first_word_says_which_side_is_meant() {
        let (server, client) = (Some(Side::Server), Some(Side::Client));
        for (line, expected) in [
            ("", None),
            ("--data-dir x", None),
            ("--data-dir task --bind 127.0.0.1:0", None),
            ("--colour", None),
            ("--bind=127.0.0.1:0 serve", server),
            ("serve", server),
            ("check --data-dir x", server),
            ("admin-key --reset", server),
            ("secrets rotate", server),
            ("secrets list", client),
            ("reaper x", server),
            ("runner", server),
            ("--data-dir check task list", client),
            ("--url serve task list", client),
            ("-o json task list", client),
            ("task submit serve", client),
            ("config check deia.yaml", client),
            ("key list", client),
            ("serv", client),
            ("--help", client),
            ("--version", client),
        ] {
            let args: Vec<_> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(side(&args), expected, "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        for args in [
            &["--set", "novalue"][..],
            &["--set", "=x"],
            &["--bind", "nowhere"],
            &["sing"],
            &["serve", "extra"],
            &["reaper"],
            &["admin-key"],
            &["secrets"],
        ] {
            let args = [&["deia"], args].concat();
            assert_eq!(
                Args::try_parse_from(&args).unwrap_err().exit_code(),
                2,
                "{args:?}"
            );
        }
    }
}
