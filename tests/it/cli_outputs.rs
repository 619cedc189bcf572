//! Journeys of somebody who reads what programs print with `deia-admin task output`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    cli_support::{CliHive, Said},
    support::block_until,
};

/// A command that goes on until it is told to end, or its task ends.
struct Follower {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Follower {
    fn of(hive: &CliHive, args: &[&str]) -> Self {
        let mut child = hive
            .command(&[&["task", "output", "--follow"], args].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The next line, as soon as it comes.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// Waits for the end. Returns the exit code, the rest of the data, and the messages.
    fn ended(mut self) -> (Option<i32>, Vec<u8>, String) {
        let mut rest = Vec::new();
        self.out.read_to_end(&mut rest).unwrap();
        let ended = self.child.wait_with_output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        (ended.status.code(), rest, err)
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(killed.success());
    }
}

/// A bot for tasks of type `chatty` whose program does this, in a shell that
/// knows `until_there FILE`.
fn with_chatty(hive: &CliHive, script: &str) {
    let here = hive.path("");
    let script = format!(
        "until_there() {{ until [ -e {}/$1 ]; do sleep 0.02; done; }}; {script}",
        here.display()
    );
    let add = ["bot", "add", "chatty", "--specialize", "chatty", "--launch"];
    hive.admin(&[&add[..], &["--wait=60s", "--", "sh", "-c", &script]].concat())
        .ok();
}

fn prints(hive: &CliHive, id: &str, expected: &str) -> Said {
    let what = format!("{id} has printed {expected:?}");
    let output = || Some(hive.admin(&["task", "output", id]));
    block_until(&what, || output().filter(|said| said.out == expected)).ok()
}

#[test]
fn an_output_is_shown_by_now_and_followed_to_its_end() {
    let hive = CliHive::start(&[]);
    with_chatty(
        &hive,
        r"echo one; until_there go; printf 'tw\303\244\377'; cat",
    );
    let id = hive.submit(&["three", "--type", "chatty"]);
    let said = prints(&hive, &id, "one\n");
    assert!(said.err.contains("--attempt 1 --offset 4"), "{said:?}");
    assert_eq!(
        hive.json(&["task", "output", &id, "--offset", "1"]),
        json!({
            "task_id": id, "attempt": 1, "offset": 1, "next_offset": 4, "complete": false,
            "output": "ne\n",
        })
    );
    hive.admin(&["task", "output", &id, "--offset", "5"])
        .exits(2)
        .only_tells("beyond_output");
    hive.admin(&["task", "output", &id, "--attempt", "2"])
        .exits(6)
        .only_tells("no_output");
    hive.admin(&["task", "output", &id, "--range", "0-1"])
        .exits(2)
        .only_tells("still runs");

    let mut follower = Follower::of(&hive, &[&id]);
    assert_eq!(follower.line(), "one\n");
    let mut lines = Follower::of(&hive, &[&id, "--output", "jsonl", "--offset", "1"]);
    let piece: Value = serde_json::from_str(&lines.line()).unwrap();
    assert_eq!(piece, json!({"attempt": 1, "offset": 1, "output": "ne\n"}));
    lines.interrupt();
    let (code, rest, err) = lines.ended();
    assert_eq!((code, rest), (Some(130), vec![]), "{err}");
    let go_on = format!("task output {id} --attempt 1 --offset 4 --follow");
    assert!(err.contains(&go_on), "{err}");

    fs::write(hive.path("go"), "").unwrap();
    let (code, rest, err) = follower.ended();
    assert_eq!((code, &*rest), (Some(0), &b"tw\xc3\xa4\xffthree"[..]));
    assert!(err.contains("is completed"), "{err}");
    // As the hint said.
    let args = go_on.strip_prefix("task output ").unwrap();
    let args: Vec<_> = args.strip_suffix(" --follow").unwrap().split(' ').collect();
    let (code, rest, _) = Follower::of(&hive, &args).ended();
    assert_eq!((code, &*rest), (Some(0), &b"tw\xc3\xa4\xffthree"[..]));

    let whole = hive.command(&["task", "output", &id]).output().unwrap();
    assert_eq!(whole.stdout, b"one\ntw\xc3\xa4\xffthree");
    assert_eq!(whole.stderr, b"");
    let document = hive.json(&["task", "output", &id]);
    assert_eq!(
        (&document["complete"], &document["output"]),
        (&json!(true), &json!("one\ntw\u{e4}\u{fffd}three"))
    );
    let part = |range: &str| hive.admin(&["task", "output", &id, range]);
    assert_eq!(part("--range=4-5").ok().out, "tw");
    assert_eq!(part("--range=9-").ok().out, "three");
    assert_eq!(part("--range=-3").ok().out, "ree");
    let document = hive.json(&["task", "output", &id, "--range", "11-12"]);
    assert_eq!(
        (
            &document["offset"],
            &document["next_offset"],
            &document["output"]
        ),
        (&json!(11), &json!(13), &json!("re"))
    );
    part("--range=14-").exits(2).only_tells("beyond_output");
    part("--range=5-4").exits(2);
    hive.admin(&["task", "output", &id, "--range=0-1", "--follow"])
        .exits(2);
}

#[test]
fn following_goes_on_with_the_next_attempt() {
    let hive = CliHive::start(&[]);
    with_chatty(
        &hive,
        "echo try $DEIA_ATTEMPT; until_there go; test $DEIA_ATTEMPT = 2",
    );
    let id = hive.submit(&["x", "--type", "chatty", "--retry-min", "1s"]);
    let mut follower = Follower::of(&hive, &[&id]);
    assert_eq!(follower.line(), "try 1\n");
    fs::write(hive.path("go"), "").unwrap();
    assert_eq!(follower.line(), "try 2\n");
    let (code, rest, err) = follower.ended();
    assert_eq!((code, rest), (Some(0), vec![]), "{err}");
    assert!(err.contains("attempt 2\n"), "{err}");
    // The first attempt is kept: one who left off there goes on from there.
    let args = [&*id, "--attempt", "1", "--offset", "3"];
    let (code, rest, err) = Follower::of(&hive, &args).ended();
    assert_eq!((code, &*rest), (Some(0), &b" 1\ntry 2\n"[..]), "{err}");
    let first = hive.admin(&["task", "output", &id, "--attempt", "1"]).ok();
    assert_eq!(first.out, "try 1\n");
    fs::remove_file(hive.path("data").join(format!("outputs/{id}/1"))).unwrap();
    let (code, rest, err) = Follower::of(&hive, &args).ended();
    assert_eq!((code, &*rest), (Some(0), &b"try 2\n"[..]), "{err}");
    assert!(err.contains("attempt 1 after byte 3 is gone"), "{err}");
    hive.admin(&["task", "output", &id, "--attempt", "1"])
        .exits(4)
        .only_tells("output_missing");
}

#[test]
fn failure_is_told_once_with_the_end_of_stderr_and_where_the_rest_is() {
    let hive = CliHive::start(&[]);
    with_chatty(
        &hive,
        "for n in 1 2 3 4 5 6 7; do echo said $n >&2; done; exit 4",
    );
    let args = ["--type", "chatty", "--max-attempts", "1", "--wait=60s"];
    let said = hive.admin(&[&["task", "submit", "x"][..], &args].concat());
    assert_eq!(said.err.matches("exit code 4").count(), 1, "{said:?}");
    assert!(
        said.err.contains("said 3") && said.err.contains("said 7"),
        "{said:?}"
    );
    assert!(!said.err.contains("said 2"), "{said:?}");
    let id = said.err.split_once("task logs ").unwrap().1;
    let id = id.split([';', '\n']).next().unwrap().to_owned();
    let logs = hive.admin(&["task", "logs", &id]).ok();
    assert!(logs.out.contains("attempt 1 stderr said 1\n"), "{logs:?}");
    assert_eq!(logs.out.lines().count(), 8, "{logs:?}");
    let followed = hive.admin(&["task", "logs", &id, "--follow", "--attempt", "1"]);
    assert_eq!(followed.ok().out, logs.out);
    let none = hive.admin(&["task", "logs", &id, "--attempt", "2"]).ok();
    assert_eq!(none.out, "");
}

#[test]
fn following_outlives_a_restart_of_the_server() {
    let hive = CliHive::start(&["server.drain_timeout=1s"]);
    with_chatty(&hive, "echo try $DEIA_ATTEMPT; until_there go; echo end");
    let id = hive.submit(&["x", "--type", "chatty"]);
    let mut follower = Follower::of(&hive, &[&id]);
    assert_eq!(follower.line(), "try 1\n");
    // The running task is given back, and begins again.
    hive.admin(&["system", "restart", "--yes"]).ok();
    assert_eq!(follower.line(), "try 2\n");
    fs::write(hive.path("go"), "").unwrap();
    assert_eq!(follower.line(), "end\n");
    let (code, rest, err) = follower.ended();
    assert_eq!((code, rest), (Some(0), vec![]), "{err}");
    assert!(err.contains("attempt 2\n"), "{err}");
}

#[test]
fn where_there_is_no_output() {
    let hive = CliHive::start(&[]);
    let unknown = "task_01h455vb4pex5vsknk084sn02q";
    hive.admin(&["task", "output", unknown])
        .exits(4)
        .only_tells("not_found");
    hive.admin(&["task", "output", unknown, "--follow"])
        .exits(4)
        .only_tells("not_found");
    let id = hive.submit(&["x", "--type", "quiet"]);
    hive.admin(&["task", "output", &id])
        .exits(6)
        .only_tells("--follow");
    hive.admin(&["task", "cancel", &id]).ok();
    hive.admin(&["task", "output", &id, "--follow"])
        .ok()
        .only_tells("is cancelled");
    let nobody = ["--url", "http://127.0.0.1:1", "task", "output", &id];
    hive.admin(&[&nobody[..], &["--follow"]].concat()).exits(7);
}
