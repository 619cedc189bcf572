//! Journeys of whoever follows: logs of bots as they are written.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{TestApp, task};

/// Events as they come.
pub(crate) struct Events {
    response: Response,
    text: String,
}

impl Events {
    pub(crate) async fn of(app: &TestApp, path: &str, last: Option<&str>) -> Self {
        let mut request = app.request_as(&app.admin, Method::GET, path);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event: its kind, its id, its data. `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(String, String, String)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = block.lines();
                    let mut values = lines.filter_map(|line| line.strip_prefix(name));
                    values.next().unwrap_or_default().to_owned()
                };
                let event = (field("event: "), field("id: "), field("data: "));
                self.text = rest.to_owned();
                if event.1.is_empty() {
                    continue;
                }
                return Some(event);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The data of the next line, its time, task and stream cut off; its id.
    async fn line(&mut self) -> (String, String) {
        let (kind, id, data) = self.next().await.unwrap();
        assert_eq!(kind, "", "{data}");
        (data.rsplit(" stderr ").next().unwrap().to_owned(), id)
    }
}

/// A bot that puts the content of its tasks into its log.
fn talker() -> Value {
    json!({"kind": "command", "command": ["sh", "-c", "cat >&2"]})
}

async fn say(app: &TestApp, text: &str) {
    let id = app.submit(&task(text)).await;
    assert_eq!(app.result(&id).await["success"], true);
}

#[tokio::test]
async fn a_log_is_followed_and_gone_on_with() {
    let app = TestApp::start().await;
    app.bot("talker", talker(), &[]).await;
    say(&app, "one\ntwo\nthree\n").await;
    let path = "/api/v1/bots/talker/logs";
    app.until("the lines are there", async |app| {
        let log = app.get(path).await.is(200).body;
        log["lines"].as_array().unwrap().len() == 3
    })
    .await;
    let mut events = Events::of(&app, &format!("{path}?follow=true&lines=2"), None).await;
    assert_eq!(events.line().await.0, "two");
    let (line, after) = events.line().await;
    assert_eq!(line, "three");
    say(&app, "four\nfive\n").await;
    assert_eq!(events.line().await.0, "four");
    drop(events);
    let mut events = Events::of(&app, &format!("{path}?follow=true"), Some(&after)).await;
    for expected in ["four", "five"] {
        assert_eq!(events.line().await.0, expected);
    }
    let mut late = Events::of(&app, &format!("{path}?follow=true"), Some("99999999")).await;
    assert_eq!(late.next().await.unwrap().0, "gap");
    assert_eq!(late.line().await.0, "one");

    app.get("/api/v1/bots/nobody/logs?follow=true")
        .await
        .refuses(404, "not_found");
    app.get(&format!("{path}?follow=perhaps"))
        .await
        .refuses(422, "invalid_parameter");
    let wrong = app
        .request_as(&app.admin, Method::GET, &format!("{path}?follow=true"))
        .header("Last-Event-ID", "x");
    app.send(wrong).await.refuses(400, "invalid_header");
}

#[tokio::test]
async fn followers_are_limited_and_end_with_the_server() {
    let mut app = TestApp::start_with(&["bots.seed=[]", "server.max_streams=5"]).await;
    app.bot("talker", talker(), &[]).await;
    let path = "/api/v1/bots/talker/logs?follow=true";
    let (one, mut other) = (
        Events::of(&app, path, None).await,
        Events::of(&app, path, None).await,
    );
    // A caller has no more than a quarter of the places.
    let refused = app.get(path).await.refuses(503, "overloaded");
    assert_ne!(refused.header("retry-after"), "");
    let (second, third) = (
        app.key("second", "operator").await,
        app.key("third", "operator").await,
    );
    let mut others = Vec::new();
    for key in [&second, &second, &third] {
        let request = app.request_as(key, Method::GET, path);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        others.push(response);
    }
    let refused = app.get_as(&third, path).await;
    refused.refuses(503, "overloaded");
    drop((one, others));
    // A reader that is gone is noticed.
    app.until("there is room again", async |app| {
        let request = app.request_as(&app.admin, Method::GET, path);
        request.send().await.unwrap().status() == 200
    })
    .await;
    let reading = tokio::spawn(async move { other.next().await });
    assert_eq!(app.stop().code(), Some(0));
    assert_eq!(reading.await.unwrap(), None, "it ended in an orderly way");
}

#[tokio::test]
async fn a_bot_that_prints_a_lot_fills_no_disk_and_a_slow_reader_learns_what_it_missed() {
    let app = TestApp::start_with(&["bots.seed=[]", "bots.log_max_bytes=64KiB"]).await;
    let script = "case $(cat) in flood) yes 'a line that is said again and again' |
        head -c 50000000 >&2;; *) echo last >&2;; esac";
    let bot = json!({"kind": "command", "command": ["sh", "-c", script]});
    app.bot("chatty", bot, &[]).await;
    let path = "/api/v1/bots/chatty/logs";
    say(&app, "flood").await;
    app.until("all is written", async |app| {
        // As long as the log cannot keep up, lines are dropped: also this one.
        say(app, "x").await;
        let log = app.get(path).await.is(200).body;
        let lines = log["lines"].as_array().unwrap();
        lines
            .last()
            .is_some_and(|line| line.as_str().unwrap().contains(" stderr last"))
    })
    .await;
    let mut bytes = 0;
    for file in std::fs::read_dir(app.data_dir().join("logs/bots")).unwrap() {
        bytes += file.unwrap().metadata().unwrap().len();
    }
    assert!(bytes < 3 * 65_536, "{bytes}");
    let mut events = Events::of(&app, &format!("{path}?follow=true"), Some("0")).await;
    let (kind, id, data) = events.next().await.unwrap();
    assert_eq!(kind, "gap");
    let missed: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(missed["missed_bytes"].to_string(), id);
    let mut last = id.parse::<u64>().unwrap();
    loop {
        let (kind, id, data) = events.next().await.unwrap();
        let position = id.parse().unwrap();
        assert!(kind.is_empty() && position == last + data.len() as u64 + 1);
        last = position;
        if data.ends_with(" stderr last") {
            break;
        }
    }
}

#[tokio::test]
async fn head_of_a_stream_leaves_the_connection_for_the_next_request() {
    let app = TestApp::start().await;
    app.bot("talker", talker(), &[]).await;
    let head = app.request_as(
        &app.admin,
        Method::HEAD,
        "/api/v1/bots/talker/logs?follow=true",
    );
    let head = app.send(head).await.is(200);
    assert_eq!(head.header("content-type"), "text/event-stream");
    // The client has one connection, and keeps it.
    app.get("/api/v1/bots/talker").await.is(200);
}
