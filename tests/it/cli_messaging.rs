//! Journeys with sessions and messages on the command line.

use serde_json::Value;

use crate::cli_support::CliHive;

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

#[test]
fn message_is_sent_taken_read_and_shown() {
    let hive = CliHive::start(&[]);
    let sent = hive.json(&[
        "message",
        "send",
        "upper-1",
        "the build is green",
        "--from",
        "sim-1",
        "--priority",
        "p1",
        "--expires",
        "10m",
    ]);
    assert_eq!(sent["sender_bot"], "sim-1");
    let queued = ["message", "list", "--receiver", "upper-1", "--status"];
    let list = hive.admin(&[&queued[..], &["queued"]].concat()).ok();
    assert!(list.out.contains(id(&sent)), "{}", list.out);
    let taken = hive.admin(&["message", "inbox", "upper-1"]).ok();
    for part in [id(&sent), "sim-1", "P1", "the build is green"] {
        assert!(taken.out.contains(part), "{}", taken.out);
    }
    let none = hive.admin(&["message", "inbox", "upper-1"]).ok();
    assert!(none.err.contains("no messages"), "{}", none.err);
    hive.admin(&["message", "read", id(&sent)]).ok();
    let shown = hive.admin(&["message", "show", id(&sent)]).ok();
    for part in ["read", "the build is green"] {
        assert!(shown.out.contains(part), "{}", shown.out);
    }
    let wrong = hive.admin(&["message", "send", "nobody", "x", "--expires", "400days"]);
    assert!(wrong.err.contains("--expires"), "{}", wrong.err);
    let wrong = hive.admin(&["message", "send", "nobody", "x"]);
    assert!(wrong.err.contains("no such bot"), "{}", wrong.err);
    let piped = hive.admin_reading("from a pipe", &["message", "send", "sim-2", "-"]);
    piped.ok();
    let taken = hive.json(&["message", "inbox", "sim-2", "--wait", "1s"]);
    assert_eq!(taken["items"][0]["content"], "from a pipe");
}

#[test]
fn session_is_started_used_listed_and_ended() {
    let hive = CliHive::start(&[]);
    let start = ["session", "start", "--bot", "upper-1", "--idle", "1h"];
    let session = hive.json(&[&start[..], &["--on-bot-death", "fail"]].concat());
    assert_eq!(session["on_bot_death"], "fail");
    assert_eq!(session["idle_ttl_seconds"], 3_600);
    let session = id(&session).to_owned();
    let task = hive.submit(&["hello", "--session", &session]);
    let result = hive.json(&["task", "result", &task, "--wait"]);
    assert_eq!(result["bot_id"], "upper-1");
    let of_session = hive.json(&["task", "list", "--session", &session]);
    assert_eq!(of_session["items"][0]["id"], *task);
    let shown = hive.admin(&["task", "show", &task]).ok();
    assert!(shown.out.contains(&session), "{}", shown.out);
    let active = ["session", "list", "--active", "--bot", "upper-1"];
    let list = hive.admin(&active).ok();
    assert!(list.out.contains(&session), "{}", list.out);
    let ended = hive.admin(&["session", "end", &session, "--cancel-waiting"]);
    let ended = ended.ok();
    assert!(ended.out.contains("ended (ended)"), "{}", ended.out);
    let list = hive.admin(&active).ok();
    assert!(!list.out.contains(&session), "{}", list.out);
    let late = hive.admin(&["task", "submit", "x", "--session", &session]);
    assert!(late.err.contains("--session"), "{}", late.err);
    hive.admin(&["session", "show", "session_01h455vb4pex5vsknk084sn02q"])
        .exits(4);
}
