//! Preparation of the words of a command line, before they are parsed.
//!
//! Two things that a parser of options alone would take wrongly: the word after an
//! option whose value may be left out (`--wait hello`), and a value that begins
//! with a dash (`--reason '-5 %'`, `task submit '- first item'`).

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, Command,
    error::{ContextKind, ContextValue},
};
use deia_hive::config::distance;

use super::parse;

/// Parses the words (the program's name first) with this definition.
///
/// # Errors
/// Wrong usage, or a request for help.
pub(super) fn parse(
    command: Command,
    words: impl IntoIterator<Item = OsString>,
) -> Result<clap::ArgMatches, clap::Error> {
    let line = prepare(&command, words.into_iter().collect());
    let mut command = match line.has_dashed_text {
        true => with_dashed_text(command, &line.path),
        false => command,
    };
    let parsed = command.try_get_matches_from_mut(line.words);
    parsed.map_err(|mut error| {
        suggest(&mut error, &line.path);
        with_own_usage(error, &mut command, &line.path)
    })
}

/// Words that people type instead of a command, and the commands to suggest.
const MEANT: &[(&[&str], &[&str], &str)] = &[
    (
        &[],
        &["logs", "log"],
        "deia bot logs NAME or deia task logs ID",
    ),
    (&[], &["status", "info"], "deia system status"),
    (&[], &["stop", "shutdown"], STOP),
    (
        &[],
        &["restart", "reload"],
        "deia system restart, or deia bot restart NAME",
    ),
    (&[], &["start", "run", "up", "server", "daemon"], START),
    (
        &[],
        &["ps", "ls", "list", "top"],
        "deia bot list or deia task list --status running",
    ),
    (&[], &["submit"], "deia task submit CONTENT"),
    (
        &[],
        &["login", "auth"],
        "deia profile add NAME --url URL --key-file FILE, and then deia profile use NAME",
    ),
    (&[], &["logout"], "deia profile use --none"),
    (&[], &["export"], "deia backup create, or deia audit export"),
    (
        &[],
        &["metrics", "stats"],
        "deia system status; for Prometheus: GET /metrics with a key",
    ),
    (&[], &["event"], "deia events"),
    (
        &[],
        &["permissions"],
        "deia whoami, deia roles or deia can-i PERMISSION",
    ),
    (&["system"], &["stop", "shutdown"], STOP),
    (&["system"], &["start"], START),
    (
        &["system"],
        &["logs", "log"],
        "the server's log goes to its standard error",
    ),
    (&["system"], &["health"], "deia health check"),
    (&["bot"], &["kill", "down"], "deia bot stop NAME"),
    (&["bot"], &["start", "run", "up"], "deia bot launch NAME"),
    (&["bot"], &["delete", "rm"], "deia bot remove NAME"),
    (&["bot"], &["create", "new"], "deia bot add NAME"),
    (
        &["bot"],
        &["get", "status", "describe"],
        "deia bot show NAME",
    ),
    (
        &["bot"],
        &["scale"],
        "deia bot add NAME --replace --max-concurrent N, or add another bot",
    ),
    (
        &["bot"],
        &["update", "edit", "change"],
        "deia bot add NAME --replace",
    ),
    (
        &["task"],
        &["delete", "remove", "rm"],
        "deia task cancel ID, or deia task erase ID",
    ),
    (
        &["task"],
        &["create", "add", "new", "run"],
        "deia task submit CONTENT",
    ),
    (&["task"], &["get", "describe"], "deia task show ID"),
    (&["task"], &["kill", "stop"], "deia task cancel ID"),
    (&["task"], &["wait"], "deia task result ID --wait"),
    (&["key"], &["delete", "remove", "rm"], "deia key revoke ID"),
    (
        &["key"],
        &["add", "new", "make"],
        "deia key create --user NAME --role ROLE",
    ),
    (
        &["user"],
        &["create", "new"],
        "deia user add NAME --role ROLE",
    ),
    (&["user"], &["delete", "rm"], "deia user remove NAME"),
    (&["user"], &["update", "edit"], "deia user change NAME"),
    (
        &["secret"],
        &["set", "create", "add"],
        "deia secret put NAME --from FILE",
    ),
    (&["secret"], &["delete", "rm"], "deia secret remove NAME"),
    (
        &["audit"],
        &["list", "search", "show"],
        "deia audit query, or deia audit tail",
    ),
    (
        &["audit"],
        &["add", "append", "record"],
        "deia audit log ACTION TARGET",
    ),
    (&["audit"], &["statistics"], "deia audit stats"),
    (
        &["secret"],
        &["get", "show"],
        "values are never shown; deia secret list has the names",
    ),
    (&["secrets"], &["list", "show"], "deia secret list"),
    (
        &["secrets"],
        &["put", "set", "create", "add"],
        "deia secret put NAME --from FILE",
    ),
    (
        &["secrets"],
        &["remove", "delete", "rm"],
        "deia secret remove NAME",
    ),
    (
        &["config"],
        &["list"],
        "deia config show; deia config schema lists every key",
    ),
    (
        &["config"],
        &["edit"],
        "deia config set; for keys that take effect at a start edit the settings file",
    ),
    (
        &["queue"],
        &["list", "show"],
        "deia task list --status queued",
    ),
    (
        &["queue"],
        &["clear", "empty", "flush", "delete"],
        "deia queue purge",
    ),
    (&["queue"], &["start", "unpause"], "deia queue resume"),
    (&["queue"], &["stop", "hold"], "deia queue pause"),
    (&["queue"], &["retry"], "deia queue requeue ID"),
    (
        &["profile"],
        &["create", "set", "new"],
        "deia profile add NAME --url URL",
    ),
    (&["profile"], &["delete", "rm"], "deia profile remove NAME"),
];
const START: &str =
    "deia serve runs a hive here; deia bot launch NAME starts a bot of one that runs";
const STOP: &str = "SIGTERM stops the server in order: send it to the process id that deia system status shows, or run systemctl stop deia";

/// Suggests the command for a word that is not one.
fn suggest(error: &mut clap::Error, path: &[String]) {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    let meant = MEANT
        .iter()
        .find(|(at, names, _)| names.contains(&&**word) && path.iter().eq(at.iter()));
    let word = word.clone();
    if let Some(ContextValue::Strings(similar)) = error.get(ContextKind::SuggestedSubcommand) {
        let mut similar = similar.clone();
        similar.sort_by_key(|other| distance(&word, other));
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(similar),
        );
    }
    if let Some((_, _, meant)) = meant {
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![(*meant).into()]),
        );
        error.remove(ContextKind::SuggestedSubcommand);
    }
}

/// Shows the usage of the command alone. That of the parser names every option that has
/// a value, even one from the environment, as if it were required.
fn with_own_usage(
    mut error: clap::Error,
    mut command: &mut Command,
    path: &[String],
) -> clap::Error {
    if error.get(ContextKind::Usage).is_none() {
        return error;
    }
    for name in path {
        match command.find_subcommand_mut(name) {
            Some(sub) => command = sub,
            None => return error,
        }
    }
    let usage = command.render_usage();
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    error
}

/// A command line whose values are joined to their options.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    words: Vec<OsString>,
    /// The named commands, from the root on.
    path: Vec<String>,
    /// True if there is a text that begins with a dash and cannot be an option.
    has_dashed_text: bool,
}

fn prepare(root: &Command, words: Vec<OsString>) -> Line {
    let mut line = Line::default();
    let mut words = words.into_iter().peekable();
    line.words.extend(words.next());
    let mut command = root;
    let mut help = false;
    // Offset of the end of the word `health`, while only options follow.
    let mut health = None;
    while let Some(word) = words.next() {
        if word == "--" {
            line.words.push(word);
            line.words.extend(words);
            break;
        }
        if let Some(arg) = option_of(root, command, &word) {
            let next = words.next_if(|next| is_value(root, command, arg, next));
            push_with(&mut line.words, arg, word, next);
            continue;
        }
        if is_dashed_text(&word) {
            line.has_dashed_text = true;
        } else if word == "help"
            && command.has_subcommands()
            && command.find_subcommand("help").is_none()
        {
            help = true;
            continue;
        } else if let Some(sub) = word.to_str().and_then(|name| command.find_subcommand(name)) {
            line.path.push(sub.get_name().to_owned());
            command = sub;
            health = (line.path == ["health"]).then_some(line.words.len() + 1);
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            health = None;
        }
        help |= word == "--help" || word == "-h";
        line.words.push(word);
    }
    match health {
        Some(at) if !help => line.words.insert(at, "check".into()),
        _ => {}
    }
    if help
        && !line
            .words
            .iter()
            .any(|word| word == "--help" || word == "-h")
    {
        line.words.push("--help".into());
    }
    line
}

/// Returns the option that this word names, if its value would be the next word.
fn option_of<'a>(root: &'a Command, command: &'a Command, word: &OsStr) -> Option<&'a Arg> {
    let word = word.to_str()?;
    let args = command.get_arguments().chain(root.get_arguments());
    let mut args = args.filter(|arg| arg.get_action().takes_values() && !arg.is_positional());
    match word.strip_prefix("--") {
        Some(name) => args.find(|arg| arg.get_long() == Some(name)),
        None => {
            let name = word.strip_prefix('-')?;
            args.find(|arg| {
                arg.get_short()
                    .is_some_and(|short| name == short.to_string())
            })
        }
    }
}

/// Returns whether the word after an option is its value.
fn is_value(root: &Command, command: &Command, arg: &Arg, next: &OsStr) -> bool {
    let range = arg.get_num_args().unwrap_or_default();
    if range.min_values() == 0 {
        // All of these are spans of time.
        return next
            .to_str()
            .is_some_and(|text| parse::duration(text).is_ok());
    }
    range.max_values() == 1 && !is_known(root, command, next)
}

/// Returns whether a word is an option of this command.
fn is_known(root: &Command, command: &Command, word: &OsStr) -> bool {
    let Some(word) = word.to_str().filter(|word| word.starts_with('-')) else {
        return false;
    };
    let args = || command.get_arguments().chain(root.get_arguments());
    match word.strip_prefix("--") {
        Some("" | "help" | "version") => true,
        Some(rest) => {
            let name = rest.split('=').next();
            args().any(|arg| arg.get_long() == name)
        }
        None => word
            .chars()
            .nth(1)
            .is_some_and(|c| c == 'h' || args().any(|arg| arg.get_short() == Some(c))),
    }
}

fn push_with(words: &mut Vec<OsString>, arg: &Arg, word: OsString, value: Option<OsString>) {
    let Some(value) = value else {
        words.push(word);
        return;
    };
    let dashed = value.as_encoded_bytes().starts_with(b"-");
    let optional = arg
        .get_num_args()
        .is_some_and(|range| range.min_values() == 0);
    if dashed || optional {
        let mut joined = word;
        joined.push("=");
        joined.push(value);
        words.push(joined);
    } else {
        words.extend([word, value]);
    }
}

/// Returns whether a word begins with a dash but is not an option.
fn is_dashed_text(word: &OsStr) -> bool {
    let Some(rest) = word.to_str().and_then(|word| word.strip_prefix('-')) else {
        return false;
    };
    let name = rest.strip_prefix('-').unwrap_or(rest);
    let name = name.split('=').next().unwrap_or_default();
    !rest.is_empty() && !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || name.contains(char::is_whitespace)
}

/// Returns the definition with texts that begin with a dash allowed in one command.
fn with_dashed_text(command: Command, path: &[String]) -> Command {
    match path {
        [] => command.mut_args(|arg| match arg.is_positional() && !arg.is_last_set() {
            true => arg.allow_hyphen_values(true),
            false => arg,
        }),
        [name, rest @ ..] => command.mut_subcommand(name, |sub| with_dashed_text(sub, rest)),
    }
}

#[cfg(test)]
mod tests;
