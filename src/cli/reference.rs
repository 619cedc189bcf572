//! `docs/CLI-REFERENCE.md`, written from the definitions of the commands.

use clap::{Arg, Command};

use super::{definition, error::Exit};

const HEAD: &str = "\
# The command line

Written from the definitions of the commands; a test fails when it is stale.
`DEIA_BLESS=1 cargo test --lib cli::reference` generates it.

`deia` runs a hive and operates it. `deia-admin` is a second name that serves only with
the command `serve`.

Data goes to standard output, messages to standard error. `NO_COLOR` turns
colours off; they are only used on a terminal.

A key is never an argument: it is read from `--key-file` or `DEIA_KEY_FILE`,
otherwise, for a hive on this machine, from `admin.key` in `--data-dir` or
`DEIA_DATA_DIR`. It is only sent over `https`, or to this machine.
";

/// Returns the reference, as Markdown.
pub fn reference() -> String {
    let mut command = definition::command();
    command.build();
    let mut out = HEAD.to_owned();
    out.push_str("\n| exit code | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        out.push_str(&format!("| {} | {} |\n", exit as u8, exit.meaning()));
    }
    out.push_str("\n## Global options\n\nOptions of every command.\n\n");
    let is_global = |arg: &&Arg| arg.is_global_set() && !arg.is_hide_set();
    options(&mut out, command.get_arguments().filter(is_global));
    let mut server = crate::app::command();
    server.build();
    out.push_str("\n## Options of the server\n\n`deia`, `deia serve`, `deia check` and `deia admin-key` have these options.\n\n");
    options(&mut out, server.get_arguments().filter(is_global));
    let shown = |sub: &&Command| !sub.is_hide_set() && sub.get_name() != "help";
    for sub in server.get_subcommands().filter(shown) {
        write_command(&mut out, sub, "deia", 2);
    }
    let of_server = |name: &str| server.find_subcommand(name).is_some();
    let nouns = command.get_subcommands();
    for noun in nouns.filter(|noun| !of_server(noun.get_name())) {
        write_command(&mut out, noun, "deia", 2);
    }
    out
}

fn write_command(out: &mut String, command: &Command, parent: &str, level: usize) {
    let path = format!("{parent} {}", command.get_name());
    out.push_str(&format!("\n{} {path}\n\n", "#".repeat(level)));
    if let Some(about) = command.get_about() {
        out.push_str(&format!("{about}.\n\n"));
    }
    if let Some(examples) = command.get_before_help() {
        let lines = examples.to_string();
        let lines = lines.lines().skip(1).map(|line| line.trim_start());
        out.push_str(&fenced(&lines.collect::<Vec<_>>().join("\n")));
    }
    if command.has_subcommands() {
        for sub in command.get_subcommands() {
            write_command(out, sub, &path, level + 1);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let lines = usage.trim_start_matches("Usage: ").lines();
    let usage = lines.map(str::trim).collect::<Vec<_>>().join("\n");
    out.push_str(&format!("\n{}", fenced(&usage)));
    let own: Vec<_> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
        .collect();
    if !own.is_empty() {
        out.push('\n');
        options(out, own.into_iter());
    }
}

fn fenced(text: &str) -> String {
    format!("```sh\n{text}\n```\n")
}

fn options<'a>(out: &mut String, args: impl Iterator<Item = &'a Arg>) {
    out.push_str("| argument | meaning |\n|---|---|\n");
    for arg in args {
        let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
        if !meaning.ends_with('.') {
            meaning.push('.');
        }
        let values: Vec<_> = arg
            .get_possible_values()
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() && arg.get_action().takes_values() {
            meaning.push_str(&format!(" One of {}.", values.join(", ")));
        }
        if let [default] = arg.get_default_values()
            && arg.get_action().takes_values()
        {
            meaning.push_str(&format!(" Default: `{}`.", default.display()));
        }
        if let Some(name) = arg.get_env() {
            meaning.push_str(&format!(" Environment: `{}`.", name.display()));
        }
        let shown = arg.to_string().replace('|', "\\|");
        let short = arg
            .get_short()
            .map(|c| format!("`-{c}`, "))
            .unwrap_or_default();
        out.push_str(&format!(
            "| {short}`{shown}` | {} |\n",
            meaning.replace('|', "\\|")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CLI-REFERENCE.md");
        let fresh = reference();
        if std::env::var_os("DEIA_BLESS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == fresh,
            "docs/CLI-REFERENCE.md is stale; DEIA_BLESS=1 cargo test --lib cli::reference writes it"
        );
    }
}
