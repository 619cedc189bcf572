//! Tests of the definition of the command line.

use super::*;

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn every_command_says_what_it_does_and_has_an_example() {
    fn check(command: &Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(command.get_about().is_some(), "{path} has no description");
        let examples = command.get_before_help().map(ToString::to_string);
        assert!(
            examples.is_some_and(|text| text.starts_with("Examples:\n  deia")),
            "{path} has no example"
        );
        for sub in command.get_subcommands() {
            check(sub, &path);
        }
    }
    check(&command(), "");
}

/// A command with an argument of the same name would set the option of every command.
#[test]
fn no_argument_has_the_name_of_a_global_option() {
    fn check(command: &Command, global: &[clap::Id], path: &str) {
        let path = format!("{path} {}", command.get_name());
        for arg in command.get_arguments().filter(|arg| !arg.is_global_set()) {
            assert!(!global.contains(arg.get_id()), "{path}: {}", arg.get_id());
        }
        for sub in command.get_subcommands() {
            check(sub, global, &path);
        }
    }
    let command = command();
    let global = command.get_arguments().filter(|arg| arg.is_global_set());
    let global: Vec<_> = global.map(|arg| arg.get_id().clone()).collect();
    for noun in command.get_subcommands() {
        // Commands that run a hive have options of their own.
        if crate::app::command()
            .find_subcommand(noun.get_name())
            .is_none()
        {
            check(noun, &global, "deia");
        }
    }
}

#[test]
fn examples_parse() {
    fn lines(command: &Command, into: &mut Vec<String>) {
        let text = command.get_before_help().map(ToString::to_string);
        into.extend(text.unwrap_or_default().lines().map(str::to_owned));
        command.get_subcommands().for_each(|sub| lines(sub, into));
    }
    let mut all = Vec::new();
    lines(&command(), &mut all);
    for line in all.iter().filter_map(|l| l.strip_prefix("  deia ")) {
        let args: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        if crate::app::is_of_server(&args) {
            continue;
        }
        let words = crate::cli::parse::shell_words(line);
        let args = std::iter::once("deia".to_owned()).chain(words);
        if let Err(error) = line::parse(command(), args.map(OsString::from)) {
            panic!("{line}: {error}");
        }
    }
}
