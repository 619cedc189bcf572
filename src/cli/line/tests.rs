use super::*;
use crate::cli::definition;

fn words(line: &[&str]) -> Line {
    let words = ["deia"].iter().chain(line).map(OsString::from).collect();
    prepare(&definition::command(), words)
}

#[test]
fn values_are_joined_to_their_options() {
    for (line, expected) in [
        (
            &["task", "submit", "--wait", "hello"][..],
            &["task", "submit", "--wait", "hello"][..],
        ),
        (
            &["task", "submit", "--wait", "5s", "x"],
            &["task", "submit", "--wait=5s", "x"],
        ),
        (
            &["task", "show", "--watch", "ID"],
            &["task", "show", "--watch", "ID"],
        ),
        (
            &["bot", "list", "--watch", "1s"],
            &["bot", "list", "--watch=1s"],
        ),
        (
            &["queue", "pause", "--reason", "-5 %"],
            &["queue", "pause", "--reason=-5 %"],
        ),
        (
            &["queue", "pause", "--reason", "--type", "a"],
            &["queue", "pause", "--reason", "--type", "a"],
        ),
        (
            &["queue", "pause", "--reason", "why", "--type", "a"],
            &["queue", "pause", "--reason", "why", "--type", "a"],
        ),
        (
            &["-o", "json", "task", "list", "-n", "3"],
            &["-o", "json", "task", "list", "-n", "3"],
        ),
        (&["task", "list", "-n", "-3"], &["task", "list", "-n=-3"]),
        (
            &["bot", "add", "b", "--", "--wait", "5s"],
            &["bot", "add", "b", "--", "--wait", "5s"],
        ),
    ] {
        let got = words(line).words.into_iter().skip(1);
        let got: Vec<_> = got.map(|word| word.into_string().unwrap()).collect();
        assert_eq!(got, expected, "{line:?}");
    }
}

#[test]
fn words_that_are_no_commands_lead_to_those_that_are_meant() {
    for (words, tip) in [
        (&["logs"][..], "deia bot logs NAME or deia task logs ID"),
        (&["--data-dir", "d", "system", "stop"], "SIGTERM stops"),
        (&["task", "sbmit"], "'submit'"),
        (&["bot", "kill"], "deia bot stop NAME"),
        (&["secrets", "list"], "deia secret list"),
        (&["queue", "clear", "--type", "x"], "deia queue purge"),
    ] {
        let words = ["deia"].iter().chain(words).map(OsString::from);
        let error = parse(definition::command(), words).unwrap_err().to_string();
        assert!(error.contains(tip), "{error}");
        assert_eq!(error.matches("tip:").count(), 1, "{error}");
    }
}

#[test]
fn words_that_lead_elsewhere_are_no_commands_and_lead_to_commands() {
    for (at, names, meant) in MEANT {
        let mut command = &definition::command();
        for name in *at {
            command = command.find_subcommand(name).unwrap();
        }
        for name in *names {
            assert!(command.find_subcommand(name).is_none(), "{at:?} {name}");
        }
        let root = definition::command();
        for advised in meant.split("deia ").skip(1) {
            let mut at = &root;
            for word in advised.split([' ', ',', ';']) {
                match at.find_subcommand(word) {
                    Some(sub) => at = sub,
                    None => break,
                }
            }
            assert!(!at.has_subcommands(), "{meant}");
        }
    }
}

#[test]
fn help_is_a_word_as_well() {
    for (line, expected) in [
        (&["help"][..], "deia task submit"),
        (&["help", "task"], "Usage: deia task"),
        (&["bot", "help"], "Usage: deia bot"),
        (&["bot", "help", "add"], "Usage: deia bot add"),
        (&["help", "serve"], "Usage: deia serve"),
        (&["help", "nosuch"], "unrecognized subcommand"),
    ] {
        let words = ["deia"].iter().chain(line).map(OsString::from);
        let shown = parse(definition::command(), words).unwrap_err().to_string();
        assert!(shown.contains(expected), "{line:?}: {shown}");
    }
    let content = words(&["task", "submit", "help"]).words;
    assert_eq!(content.last().unwrap(), "help");
}

#[test]
fn health_alone_is_its_check() {
    for (line, expected) in [
        (&["health"][..], &["health", "check"][..]),
        (
            &["-o", "json", "health", "--watch"],
            &["-o", "json", "health", "check", "--watch"],
        ),
        (&["health", "check"], &["health", "check"]),
        (&["health", "--help"], &["health", "--help"]),
        (&["health", "chekc"], &["health", "chekc"]),
    ] {
        let got = words(line).words.split_off(1);
        assert_eq!(got, expected, "{line:?}");
    }
}

#[test]
fn nearest_command_comes_first() {
    let words = ["deia", "serv"].map(OsString::from);
    let error = parse(definition::command(), words).unwrap_err().to_string();
    let tip = error.lines().find(|line| line.contains("tip:")).unwrap();
    let (first, _) = tip.split_once("',").unwrap_or((tip, ""));
    assert!(first.contains("'serve"), "{tip}");
}

#[test]
fn usage_names_no_option_that_is_not_needed() {
    for (words, expected) in [
        (
            &["--url", "http://h", "--data-dir", "d", "task", "show"][..],
            "Usage: deia task show [OPTIONS] <ID>",
        ),
        (
            &["--url", "http://h", "bot", "launch", "--wait"],
            "Usage: deia bot launch [OPTIONS] <NAME>",
        ),
        (
            &["--url", "http://h", "tsk"],
            "Usage: deia [OPTIONS] <COMMAND>",
        ),
    ] {
        let words = ["deia"].iter().chain(words).map(OsString::from);
        let error = parse(definition::command(), words).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_text_that_begins_with_a_dash_is_content_and_a_typo_is_not() {
    for (content, taken) in [
        ("- first item", true),
        ("-5", true),
        ("---\ntitle: x", true),
        ("-", true),
        ("--no such option", true),
        ("--wati", false),
        ("--wati=5s", false),
        ("-x", false),
    ] {
        let words = ["deia", "task", "submit", content, "--type", "a"];
        let parsed = parse(definition::command(), words.map(OsString::from));
        assert_eq!(parsed.is_ok(), taken, "{content}");
    }
}
