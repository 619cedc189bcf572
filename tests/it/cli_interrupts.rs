//! Ctrl-C while the command line waits for its user.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    cli_support::{Said, admin_command},
    evidence::has_script,
    support::block_until,
};

/// Arguments with a URL where nothing listens: any output precedes the first request.
const NOWHERE: [&str; 4] = ["--url", "http://127.0.0.1:9", "--data-dir", "none"];

/// Waits until the process handles SIGINT.
fn until_it_listens(child: &Child) {
    let status = format!("/proc/{}/status", child.id());
    block_until("it listens for SIGINT", || {
        let text = std::fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        caught & (1 << (Signal::SIGINT as i32 - 1)) != 0
    });
}

/// Presses Ctrl-C while standard input is open and has nothing.
fn interrupted_reading(args: &[&str]) -> Said {
    let mut command = admin_command(&[&NOWHERE[..], args].concat());
    let (reader, writer) = std::io::pipe().unwrap();
    let child = command
        .stdin(reader)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_it_listens(&child);
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    drop(writer);
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn ctrl_c_ends_a_command_that_reads_standard_input() {
    for args in [
        &["task", "submit", "-"][..],
        &["task", "submit", "--file", "-"],
        &["secret", "put", "x", "--from", "-"],
        &["config", "check", "-"],
    ] {
        interrupted_reading(args)
            .exits(130)
            .only_tells("interrupted; nothing was done");
    }
}

#[test]
fn ctrl_c_at_a_question_ends_the_command() {
    if !has_script() {
        eprintln!("skipped: script (util-linux) is not installed");
        return;
    }
    let plain = admin_command(&[&NOWHERE[..], &["bot", "remove", "upper-1"]].concat());
    let words: Vec<_> = std::iter::once(plain.get_program())
        .chain(plain.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut in_terminal = Command::new("script");
    in_terminal
        .args(["-qefc", &format!("exec {}", words.join(" ")), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => in_terminal.env(name, value),
            None => in_terminal.env_remove(name),
        };
    }
    let mut script = in_terminal.spawn().unwrap();
    let mut screen = script.stdout.take().unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains("[y/N]") {
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{seen:?}");
        seen.extend(byte);
    }
    let mut keyboard = script.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    keyboard.flush().unwrap();
    screen.read_to_end(&mut seen).unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert_eq!(script.wait().unwrap().code(), Some(130), "{seen}");
    assert!(
        seen.contains("\nerror: interrupted; nothing was done"),
        "{seen:?}"
    );
}
