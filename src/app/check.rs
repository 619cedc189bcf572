//! `deia check`: everything that would stop a start, without starting.

use std::{
    fmt::Display,
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use deia_hive::{
    Exposed, check_secrets_key,
    config::{Config, ConfigError},
    exposed,
    host::{descriptors, descriptors::DescriptorNeed},
    is_in_use, refuse_links,
};
use deia_ledger::store::SqliteStore;
use deia_model::BotDesired;
use nix::unistd::{AccessFlags, access};

use super::{
    args::SettingsArgs,
    causes,
    handover::{is_for, socket_on_stdin},
    restart::{MARKER, absolute},
    socket::unavailable,
    source::OwnSettings,
};
use crate::{
    http::Tls,
    telemetry::{self, redact::redact},
};

/// The finding about one subject: its state, or what would stop a start.
type Finding = Result<String, String>;

/// Resources that are still held by the hive which a start would replace.
struct Held {
    data_dir: PathBuf,
    /// Address of that hive's socket; `None` when no socket was handed over.
    address: Option<SocketAddr>,
}

impl Held {
    fn by_hive_on(data_dir: &Path) -> Self {
        let socket = socket_on_stdin();
        Self {
            data_dir: absolute(data_dir),
            address: socket.and_then(|socket| socket.local_addr().ok()),
        }
    }
}

/// Checks everything, prints the findings, and fails if anything would stop a start;
/// with `for_restart`, a start in place of the hive on that directory.
pub(super) fn run(settings: &SettingsArgs, for_restart: Option<&Path>) -> ExitCode {
    let held = for_restart.map(Held::by_hive_on);
    let held = held.as_ref();
    let mut findings = Vec::new();
    let read = settings.read_file();
    let started = read.and_then(|file| OwnSettings::start(settings, &file));
    match started.map(|begun| begun.config().clone()) {
        Err(error) => {
            let faults = faults_of_settings(&error).into_iter();
            findings.extend(faults.map(|fault| ("settings", Err(fault))));
        }
        Ok(config) => {
            findings.push(("settings", logging(settings, &config)));
            findings.push(("data directory", data_dir(&config, held)));
            findings.push(("store", store(&config, held)));
            findings.push(("address", address(&config, held)));
            findings.push(("TLS", tls(&config)));
            findings.push(("admin key", admin_key(&config)));
            findings.push(("secrets key", secrets_key(&config)));
            findings.push(("open files", open_files(&config, held)));
        }
    }
    let mut text = String::new();
    for (what, finding) in &findings {
        let (verdict, detail) = match finding {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("error", detail),
        };
        text += &format!("{verdict:<6} {what:<15} {}\n", redact(detail));
    }
    let all_fine = findings.iter().all(|(_, finding)| finding.is_ok());
    if all_fine && held.is_some() {
        text += MARKER;
        text.push('\n');
    }
    // Without a reader, the exit code is enough.
    let _ = io::stdout().write_all(text.as_bytes());
    match all_fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Returns the errors in the settings, one each.
fn faults_of_settings(error: &anyhow::Error) -> Vec<String> {
    match error.downcast_ref() {
        Some(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        Some(other) => vec![other.to_string()],
        None => vec![causes::told_once(error)],
    }
}

fn logging(settings: &SettingsArgs, config: &Config) -> Finding {
    telemetry::filter(&config.logging).map_err(|error| error.to_string())?;
    telemetry::check(&config.telemetry).map_err(|error| error.to_string())?;
    Ok(match settings.file() {
        Some(file) => file.display().to_string(),
        None => "the defaults".to_owned(),
    })
}

fn data_dir(config: &Config, held: Option<&Held>) -> Finding {
    let dir = &config.data_dir;
    let shown = dir.display();
    if !dir.exists() {
        return match held {
            None => can_be_made(dir),
            Some(_) => Err(format!(
                "{shown} does not exist; a restart in place does not create a new hive: restore the directory, or create it first"
            )),
        };
    }
    if !dir.is_dir() {
        return Err(format!(
            "{shown} is not a directory; choose another with --data-dir"
        ));
    }
    let in_dir = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    access(dir, in_dir).map_err(|error| format!("{shown}: {error}; deia needs to write there"))?;
    let database = config.database_path();
    for file in [
        dir.join("deia.lock"),
        database.with_extension("db-wal"),
        database,
    ] {
        let allowed = access(&file, AccessFlags::R_OK | AccessFlags::W_OK);
        if let Some(error) = allowed.err().filter(|_| file.exists()) {
            return Err(format!(
                "{}: {error}; deia needs to write it",
                file.display()
            ));
        }
    }
    refuse_links(dir).map_err(|error| error.to_string())?;
    let note = private(dir, held)?;
    match (is_in_use(dir), is_held(dir, held)) {
        (true, false) => Err(format!(
            "a hive runs in {shown}; a second one would be refused"
        )),
        (true, true) => Ok(format!("{shown} (of the hive that restarts)")),
        (false, _) => Ok(format!("{shown}{note}")),
    }
}

/// Makes the changes of a start; fails if they are impossible. A restart continues
/// regardless, as a start does, which only warns.
fn private(dir: &Path, held: Option<&Held>) -> Finding {
    let (ours, theirs): (Vec<Exposed>, Vec<Exposed>) =
        exposed(dir).into_iter().partition(|open| open.is_ours);
    match (theirs.first(), ours.first()) {
        (Some(open), _) if held.is_some() => Ok(format!(" ({open})")),
        (Some(open), _) => Err(open.to_string()),
        (None, Some(open)) => Ok(format!(
            " ({} is open to other users; a start makes it private)",
            open.path.display()
        )),
        (None, None) => Ok(String::new()),
    }
}

fn is_held(dir: &Path, held: Option<&Held>) -> bool {
    held.is_some_and(|held| held.data_dir == absolute(dir))
}

fn can_be_made(dir: &Path) -> Finding {
    let existing = dir.ancestors().find(|path| path.exists());
    let above = existing
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let shown = dir.display();
    let failed =
        |error: &dyn Display| format!("{shown} cannot be created in {}: {error}", above.display());
    access(above, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| failed(&error))?;
    // The permissions allow root everything, even in /proc: only an attempt tells.
    let draft = above.join(format!(".deia-check-{}", std::process::id()));
    fs::create_dir(&draft)
        .and_then(|()| fs::remove_dir(&draft))
        .map_err(|error| failed(&error))?;
    Ok(format!("{shown} (will be created)"))
}

fn store(config: &Config, held: Option<&Held>) -> Finding {
    let path = config.database_path();
    if !path.exists() {
        return Ok(format!("{} (will be created)", path.display()));
    }
    let dir = &config.data_dir;
    if is_in_use(dir) && !is_held(dir, held) {
        return Ok(format!("{} (open in the hive that runs)", path.display()));
    }
    SqliteStore::check(&deia_hive::store_options(config))
        .map_err(|error| format!("the store cannot be opened: {error}"))?;
    Ok(path.display().to_string())
}

fn address(config: &Config, held: Option<&Held>) -> Finding {
    let address = config.server.bind;
    let socket = held.and_then(|held| held.address);
    if socket.is_some_and(|socket| is_for(socket, address)) {
        return Ok(format!("{address} (of the hive that restarts)"));
    }
    let bound = TcpListener::bind(address);
    bound.map_err(|error| format!("{}: {error}", unavailable(address)))?;
    Ok(match address.port() {
        0 => format!("{address} (a free port)"),
        _ => address.to_string(),
    })
}

fn tls(config: &Config) -> Finding {
    let settings = &config.server.tls;
    Tls::load(settings).map_err(|error| error.to_string())?;
    if config.server.is_readable_outside() {
        return Ok("off, and keys are sent unencrypted (server.allow_plain_http)".to_owned());
    }
    if !settings.is_on() {
        return Ok("off".to_owned());
    }
    let key = settings.key_file.display();
    let mode = settings
        .key_file
        .metadata()
        .map(|file| file.permissions().mode());
    Ok(match mode {
        Ok(mode) if mode & 0o077 != 0 => format!("on (others may read the key: chmod 600 {key})"),
        _ => "on".to_owned(),
    })
}

/// Compares the limit of this shell with what the settings and the bots need. Too low a
/// limit stops no start, but does not work; a hive that restarts already has it.
fn open_files(config: &Config, held: Option<&Held>) -> Finding {
    let options = deia_hive::store_options(config);
    // An unreadable store is a finding of its own.
    let stored = SqliteStore::bots_of(&options).unwrap_or_default();
    let stored = stored
        .iter()
        .filter(|bot| bot.desired == BotDesired::Launched);
    let seeded = config.bots.seed.iter().filter(|_| !options.path.exists());
    let specs = stored.map(|bot| &bot.spec);
    let specs = specs.chain(seeded.map(|bot| &bot.spec));
    let programs = specs.map(|spec| descriptors::programs(&spec.executor, &spec.capabilities));
    let (connections, readers) = (config.server.max_connections, config.store.readers);
    let need = DescriptorNeed::of(connections, readers, programs.sum());
    let limit = descriptors::limit().hard;
    match need.beyond(limit) {
        None => Ok(format!(
            "{limit} allowed, {} needed at full load",
            need.total()
        )),
        Some(detail) if held.is_some() || need.without_clients() < limit => {
            Ok(format!("too few: {detail}"))
        }
        Some(detail) => Err(detail),
    }
}

fn secrets_key(config: &Config) -> Finding {
    let path = config.secrets_key_path();
    let note = match check_secrets_key(config).map_err(|error| error.to_string())? {
        true => "",
        false => " (will be created)",
    };
    Ok(format!("{}{note}", path.display()))
}

fn admin_key(config: &Config) -> Finding {
    let path = config.admin_key_path();
    let shown = path.display();
    match path.metadata() {
        Err(_) => Ok(format!("{shown} (does not exist)")),
        Ok(file) if file.permissions().mode() & 0o077 == 0 => Ok(shown.to_string()),
        Ok(_) => Ok(format!("{shown} (others may read it: chmod 600 {shown})")),
    }
}
