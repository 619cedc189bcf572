//! Journeys of operators who follow the events from the command line.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{cli_support::CliHive, support::block_until};

/// A command that follows the events.
struct Follower {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    said: Arc<Mutex<String>>,
}

impl Follower {
    /// Starts the command, and waits until it is connected.
    fn of(hive: &CliHive, args: &[&str]) -> Self {
        let clients = || hive.metric("deia_stream_clients");
        let before = clients();
        let mut child = hive
            .command(&[&["events", "--follow"], args].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut err = child.stderr.take().unwrap();
        let said = Arc::<Mutex<String>>::default();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(n @ 1..) = err.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]);
                heard.lock().unwrap().push_str(&text);
            }
        });
        block_until("the client is connected", || {
            (clients() > before).then_some(())
        });
        Self { child, out, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    fn says(&self, words: &str) {
        block_until(&format!("it says {words:?}"), || {
            let said = self.said.lock().unwrap();
            said.contains(words).then_some(())
        });
    }

    fn interrupted(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code()
    }
}

#[test]
fn events_are_followed_through_a_restart() {
    let hive = CliHive::start(&["server.drain_timeout=0s"]);
    let filter = ["--action", "task", "--type", "general", "--tag", "followed"];
    let mut table = Follower::of(&hive, &filter);
    let mut lines = Follower::of(&hive, &[&filter[..], &["--output", "jsonl"]].concat());
    hive.submit(&["not this one", "--type", "general"]);
    let id = hive.submit(&["hello", "--type", "general", "--tag", "followed"]);
    for action in ["task.submitted", "task.started", "task.completed"] {
        let line = table.line();
        assert!(line.contains(action) && line.contains(&id), "{line}");
        let event: Value = serde_json::from_str(&lines.line()).unwrap();
        assert_eq!(event["action"], action);
        assert_eq!(event["target"]["id"], id.as_str());
    }
    hive.admin(&["system", "restart", "--yes", "--wait"]).ok();
    let id = hive.submit(&["again", "--type", "general", "--tag", "followed"]);
    for follower in [&mut table, &mut lines] {
        assert!(follower.line().contains(&id));
        follower.says("connecting again");
        follower.says("connected again");
    }
    assert_eq!(lines.interrupted(), Some(130));
    assert_eq!(table.interrupted(), Some(130));
}

#[test]
fn following_has_no_pages_and_says_when_it_is_suspended() {
    let hive = CliHive::start(&[]);
    hive.admin(&["events", "--follow", "--since", "1h"])
        .exits(2);
    hive.admin(&["events", "--follow", "--limit", "3"]).exits(2);
    hive.admin(&["supervisors", "suspend", "hive/services/stream", "--yes"])
        .ok();
    let refused = hive.admin(&["events", "--follow"]);
    assert!(refused.err.contains("feature_suspended"), "{refused:?}");
}
