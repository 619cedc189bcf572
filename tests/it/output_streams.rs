//! Journeys of clients who follow the output of a task as Server-Sent Events, through its attempts,
//! or read parts of it.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::{
    outputs::shell,
    support::{TestApp, task},
};

/// An event of a stream.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    kind: String,
    id: String,
    data: Value,
}

impl Sent {
    fn new(kind: &str, id: &str, data: Value) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
            data,
        }
    }

    fn piece(id: &str, attempt: u32, offset: u64, output: &str) -> Self {
        let data = json!({"attempt": attempt, "offset": offset, "output": output});
        Self::new("output", id, data)
    }
}

/// A stream of events.
struct Live {
    response: Response,
    bytes: Vec<u8>,
    heartbeats: Vec<String>,
}

fn path(id: &str, query: &str) -> String {
    format!("/api/v1/tasks/{id}/output{query}")
}

fn request(app: &TestApp, id: &str, query: &str, last: Option<&str>) -> RequestBuilder {
    let request = app
        .request_as(&app.admin, Method::GET, &path(id, query))
        .header("Accept", "text/event-stream");
    match last {
        Some(last) => request.header("Last-Event-ID", last),
        None => request,
    }
}

impl Live {
    async fn of(app: &TestApp, id: &str, query: &str, last: Option<&str>) -> Self {
        let response = request(app, id, query, last).send().await.unwrap();
        let status = response.status();
        assert_eq!(status, 200, "{:?}", response.text().await);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            bytes: Vec::new(),
            heartbeats: Vec::new(),
        }
    }

    /// Returns the next event; `None` at the end.
    async fn try_next(&mut self) -> reqwest::Result<Option<Sent>> {
        loop {
            let end = self.bytes.windows(2).position(|pair| pair == b"\n\n");
            let Some(end) = end else {
                match self.response.chunk().await? {
                    Some(chunk) => self.bytes.extend(chunk),
                    None => return Ok(None),
                }
                continue;
            };
            let rest = self.bytes.split_off(end + 2);
            let block = String::from_utf8(std::mem::replace(&mut self.bytes, rest)).unwrap();
            let field = |name: &str| {
                let mut lines = block.lines().filter_map(|line| line.strip_prefix(name));
                lines.next().unwrap_or_default().to_owned()
            };
            if block.starts_with(": heartbeat\n") {
                self.heartbeats.push(field("id: "));
            }
            if block.contains("data: ") {
                return Ok(Some(Sent {
                    kind: field("event: "),
                    id: field("id: "),
                    data: serde_json::from_str(&field("data: ")).unwrap(),
                }));
            }
        }
    }

    async fn next(&mut self) -> Sent {
        self.try_next().await.unwrap().expect("an event")
    }

    /// Returns all events up to the end of the stream, and the whole text of their pieces.
    async fn rest(mut self) -> (Vec<Sent>, String) {
        let (mut events, mut text) = (Vec::new(), String::new());
        while let Some(event) = self.try_next().await.unwrap() {
            text.push_str(event.data["output"].as_str().unwrap_or_default());
            events.push(event);
        }
        (events, text)
    }
}

async fn until_running(app: &TestApp, id: &str) {
    app.until("it runs", async |app| {
        let path = format!("/api/v1/tasks/{id}/status");
        app.get(&path).await.body["status"] == "running"
    })
    .await;
}

fn go(app: &TestApp, bot: &str, file: &str) {
    std::fs::write(app.data_dir().join(format!("work/{bot}/{file}")), "").unwrap();
}

const UNTIL: &str = "until_there() { until [ -e $1 ]; do sleep 0.02; done; };";

#[tokio::test]
async fn an_output_is_followed_to_its_end_and_resumed_in_its_middle() {
    let app = TestApp::start_with(&["bots.seed=[]", "stream.heartbeat=100ms"]).await;
    let script = format!("{UNTIL} printf 'one\\r\\n'; until_there go; echo two; cat");
    app.bot("patient", shell(&script), &[]).await;
    let id = app.submit(&task("three")).await;
    until_running(&app, &id).await;
    let mut live = Live::of(&app, &id, "", None).await;
    assert_eq!(live.next().await, Sent::piece("1.5", 1, 0, "one\r\n"));
    let mut other = Live::of(&app, &id, "?last_event_id=1.5", Some("1.2")).await;
    assert_eq!(other.next().await, Sent::piece("1.5", 1, 2, "e\r\n"));
    let late = Live::of(&app, &id, "?offset=3&last_event_id=1.5", None).await;
    // A stream that waits says so.
    app.until("heartbeats", async |_| {
        let waited = std::time::Duration::from_millis(20);
        let next = tokio::time::timeout(waited, live.try_next()).await;
        assert!(next.is_err(), "{next:?}");
        live.heartbeats.len() >= 2
    })
    .await;
    assert_eq!(live.heartbeats[0], "1.5");
    go(&app, "patient", "go");
    for live in [live, other, late] {
        let (events, text) = live.rest().await;
        assert_eq!(text, "two\nthree");
        let end = json!({
            "attempt": 1, "length": 14, "outcome": "succeeded", "status": "completed",
            "last": true,
        });
        assert_eq!(events.last().unwrap(), &Sent::new("end", "1.14", end));
    }
    // Later it is the same, and a client that has all of it gets the end again.
    let (events, text) = Live::of(&app, &id, "?offset=5", None).await.rest().await;
    assert_eq!((text.as_str(), events.len()), ("two\nthree", 2));
    let (events, _) = Live::of(&app, &id, "", Some("1.14")).await.rest().await;
    assert_eq!((events[0].kind.as_str(), events.len()), ("end", 1));
}

#[tokio::test]
async fn a_character_is_never_divided_and_bytes_are_had_as_they_are() {
    let app = TestApp::start_with(&["bots.seed=[]"]).await;
    let script = format!(
        "{UNTIL} printf 'a\\342\\202'; until_there go; printf '\\254\\377b'; until_there end; printf '\\303'"
    );
    app.bot("patient", shell(&script), &[]).await;
    let id = app.submit(&task("x")).await;
    until_running(&app, &id).await;
    let mut live = Live::of(&app, &id, "", None).await;
    let mut bytes = Live::of(&app, &id, "?encoding=base64", None).await;
    assert_eq!(live.next().await, Sent::piece("1.1", 1, 0, "a"));
    let piece = |id: &str, offset, base64: &str| {
        let data = json!({"attempt": 1, "offset": offset, "base64": base64});
        Sent::new("output", id, data)
    };
    assert_eq!(bytes.next().await, piece("1.3", 0, "YeKC"));
    go(&app, "patient", "go");
    let euro = Sent::piece("1.6", 1, 1, "\u{20ac}\u{fffd}b");
    assert_eq!(live.next().await, euro);
    assert_eq!(bytes.next().await, piece("1.6", 3, "rP9i"));
    // A client that left off before the divided character gets it whole.
    let mut again = Live::of(&app, &id, "", Some("1.1")).await;
    assert_eq!(again.next().await, euro);
    go(&app, "patient", "end");
    for live in [live, again] {
        let (events, _) = live.rest().await;
        assert_eq!(events[0], Sent::piece("1.7", 1, 6, "\u{fffd}"));
        assert_eq!((events[1].id.as_str(), events.len()), ("1.7", 2));
    }
}

#[tokio::test]
async fn a_follower_goes_on_with_the_next_attempt() {
    let app = TestApp::start_with(&["bots.seed=[]", "tasks.retry.min=200ms"]).await;
    // A task that waits is followed from its first attempt on.
    let id = app.submit(&task("x")).await;
    let mut live = Live::of(&app, &id, "", None).await;
    let script = format!("{UNTIL} echo try $DEIA_ATTEMPT; until_there go; test $DEIA_ATTEMPT = 2");
    app.bot("second", shell(&script), &[]).await;
    assert_eq!(live.next().await, Sent::piece("1.6", 1, 0, "try 1\n"));
    let only = Live::of(&app, &id, "?attempt=1", None).await;
    go(&app, "second", "go");
    let end = |attempt: u32, outcome: &str, length| {
        let last = attempt == 2;
        json!({"attempt": attempt, "length": length, "outcome": outcome, "last": last})
    };
    let told = |event: &Sent| {
        let mut data = event.data.clone();
        data.as_object_mut().unwrap().remove("status");
        (event.kind.clone(), event.id.clone(), data)
    };
    let (events, _) = live.rest().await;
    let events: Vec<_> = events.iter().map(told).collect();
    let piece = json!({"attempt": 2, "offset": 0, "output": "try 2\n"});
    assert_eq!(
        events,
        [
            ("end".into(), "1.6".into(), end(1, "failed", json!(6))),
            ("output".into(), "2.6".into(), piece),
            ("end".into(), "2.6".into(), end(2, "succeeded", json!(6))),
        ]
    );
    // The stream of one attempt ends with it.
    let (events, text) = only.rest().await;
    assert_eq!(text, "try 1\n");
    assert_eq!(events.last().unwrap().data["last"], true);

    // Missing output is told, and the rest follows.
    std::fs::remove_file(app.data_dir().join(format!("outputs/{id}/1"))).unwrap();
    let (events, text) = Live::of(&app, &id, "", Some("1.3")).await.rest().await;
    assert_eq!((events[0].kind.as_str(), text.as_str()), ("gap", "try 2\n"));
    let gap = &events[0].data;
    assert_eq!((&gap["attempt"], &gap["offset"]), (&json!(1), &json!(3)));
    let why = gap["reason"].as_str().unwrap();
    assert!(why.contains("was not kept"), "{why}");
    assert_eq!(events[1].data["length"], Value::Null);
    let gone = request(&app, &id, "?attempt=1", Some("1.3"));
    app.send(gone).await.refuses(404, "output_missing");
}

#[tokio::test]
async fn a_follower_outlives_the_death_of_the_hive() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = ["bots.seed=[]", "tasks.max_output_bytes=1KiB"];
    let mut app = TestApp::start_in(&data, &settings).await;
    let script = format!("{UNTIL} echo try $DEIA_ATTEMPT; cat; until_there go; echo end");
    app.bot("slow", shell(&script), &[]).await;
    // The output of one is in memory, that of the other in a file.
    let (small, large) = (
        app.submit(&task("x\n")).await,
        app.submit(&task(&"y\n".repeat(2_000))).await,
    );
    let mut lasts = Vec::new();
    for (id, length) in [(&small, 8), (&large, 4_006)] {
        app.until("it prints", async |app| {
            let shown = app.request_as(&app.admin, Method::GET, &path(id, "?follow=false"));
            let shown = shown.send().await.unwrap().bytes().await.unwrap();
            shown.len() == length
        })
        .await;
        let mut live = Live::of(&app, id, "", None).await;
        let mut last = live.next().await.id;
        while last != format!("1.{length}") {
            last = live.next().await.id;
        }
        lasts.push((live, last));
    }
    app.kill_9();
    for (live, _) in &mut lasts {
        assert!(live.try_next().await.is_err(), "the answer is not whole");
    }
    let app = TestApp::start_in(&data, &settings).await;
    go(&app, "slow", "go");
    let (events, text) = Live::of(&app, &small, "", Some(&lasts[0].1))
        .await
        .rest()
        .await;
    assert_eq!((events[0].kind.as_str(), &*events[0].id), ("gap", "1.8"));
    assert_eq!(events[1].data["outcome"], "hive_died");
    assert_eq!(text, "try 2\nx\nend\n");
    let (events, text) = Live::of(&app, &large, "", Some(&lasts[1].1))
        .await
        .rest()
        .await;
    assert_eq!((events[0].kind.as_str(), &*events[0].id), ("end", "1.4006"));
    assert!(text.starts_with("try 2\n") && text.ends_with("y\nend\n"));
}

#[tokio::test]
async fn ids_that_lead_nowhere_are_refused() {
    let app = TestApp::start_with(&["bots.seed=[]", "server.max_streams=8"]).await;
    app.bot("echo", shell("cat"), &["general"]).await;
    let id = app.submit(&task("four")).await;
    app.result(&id).await;
    for (query, last, status, code) in [
        ("", Some("x"), 422, "bad_event_id"),
        ("", Some("01.4"), 422, "bad_event_id"),
        ("", Some("0.0"), 422, "bad_event_id"),
        ("?last_event_id=1.", None, 422, "bad_event_id"),
        ("", Some("2.0"), 422, "bad_event_id"),
        ("?attempt=2", Some("1.0"), 422, "bad_event_id"),
        ("", Some("1.5"), 416, "beyond_output"),
        ("?offset=5", None, 416, "beyond_output"),
        ("?attempt=2", None, 404, "output_missing"),
        ("?follow=false", None, 422, "invalid_parameter"),
        ("?encoding=utf16", None, 422, "invalid_parameter"),
    ] {
        let refused = app.send(request(&app, &id, query, last)).await;
        refused.refuses(status, code);
    }
    app.get(&path(&id, "?last_event_id=1.0"))
        .await
        .refuses(422, "invalid_parameter");
    app.get(&path(&id, "?encoding=utf8"))
        .await
        .refuses(422, "invalid_parameter");
    let ada = app.key("ada", "external").await;
    let of_another = app
        .request_as(&ada, Method::GET, &path(&id, ""))
        .header("Accept", "text/event-stream");
    app.send(of_another).await.refuses(404, "not_found");
    // Followers share the streams with all others: one caller has a part of them.
    app.bot("endless", shell("sleep 600"), &["endless"]).await;
    let endless = json!({"type": "endless", "content": "x"});
    let endless = app.submit(&endless).await;
    let _one = Live::of(&app, &endless, "", None).await;
    let _two = Live::of(&app, &endless, "", None).await;
    let refused = app.send(request(&app, &endless, "", None)).await;
    refused.refuses(503, "overloaded");
}

#[tokio::test]
async fn parts_of_an_output_that_is_over_are_had_by_range() {
    let settings = ["bots.seed=[]", "tasks.max_output_bytes=4KiB"];
    let app = TestApp::start_with(&settings).await;
    let script = format!("{UNTIL} cat; until_there go");
    app.bot("patient", shell(&script), &[]).await;
    let get = async |id: &str, query: &str, headers: &[(&str, &str)]| {
        let mut request = app.request_as(&app.admin, Method::GET, &path(id, query));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    };
    let header = |answer: &Response, name: &str| {
        let value = answer.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    let texts: Vec<String> = ["0123456789".into(), "0123456789".repeat(1_000)].into();
    let (small, large) = (
        app.submit(&task(&texts[0])).await,
        app.submit(&task(&texts[1])).await,
    );
    until_running(&app, &small).await;
    let growing = get(&small, "?follow=false", &[("Range", "bytes=2-3")]).await;
    assert_eq!(growing.status(), 200, "it may still grow");
    assert_eq!(
        (header(&growing, "etag"), header(&growing, "accept-ranges")),
        Default::default()
    );
    go(&app, "patient", "go");
    for (id, text) in [(&small, &texts[0]), (&large, &texts[1])] {
        app.result(id).await;
        let length = text.len();
        let whole = get(id, "", &[]).await;
        let etag = header(&whole, "etag");
        assert_eq!(etag, format!("\"{id}-1\""));
        assert_eq!(header(&whole, "accept-ranges"), "bytes");
        assert_eq!(header(&whole, "content-length"), length.to_string());
        assert_eq!(&whole.text().await.unwrap(), text);
        for (range, first, last) in [
            ("bytes=2-4".to_owned(), 2, 4),
            ("bytes=7-".to_owned(), 7, length - 1),
            (format!("bytes=3-{length}0"), 3, length - 1),
            ("bytes=-4".to_owned(), length - 4, length - 1),
            (format!("bytes=-{length}0"), 0, length - 1),
        ] {
            let part = get(id, "", &[("Range", &range), ("If-Range", &etag)]).await;
            assert_eq!(part.status(), 206, "{range}");
            let shown = format!("bytes {first}-{last}/{length}");
            assert_eq!(header(&part, "content-range"), shown, "{range}");
            assert_eq!(
                header(&part, "content-length"),
                (last + 1 - first).to_string()
            );
            assert_eq!(header(&part, "etag"), etag);
            assert_eq!(part.text().await.unwrap(), text[first..=last], "{range}");
        }
        for range in ["bytes=0-1,4-5", "bytes=4-2", "bytes=x", "lines=0-1"] {
            let whole = get(id, "", &[("Range", range)]).await;
            assert_eq!(
                (whole.status().as_u16(), &whole.text().await.unwrap()),
                (200, text)
            );
        }
        let other = [("Range", "bytes=0-1"), ("If-Range", "\"other\"")];
        assert_eq!(get(id, "", &other).await.status(), 200);
        let rest = get(id, "?offset=5", &[("Range", "bytes=0-1")]).await;
        assert_eq!(
            (rest.status().as_u16(), rest.text().await.unwrap().len()),
            (200, length - 5)
        );
        for range in [format!("bytes={length}-"), "bytes=-0".to_owned()] {
            let beyond = get(id, "", &[("Range", &range)]).await;
            assert_eq!(
                header(&beyond, "content-range"),
                format!("bytes */{length}")
            );
            assert_eq!(beyond.status(), 416);
            let problem: Value = beyond.json().await.unwrap();
            assert_eq!(problem["code"], "beyond_output");
        }
        let known = get(id, "", &[("If-None-Match", &etag)]).await;
        assert_eq!(known.status(), 304);
        assert_eq!(header(&known, "etag"), etag);
        assert_eq!(known.text().await.unwrap(), "");
        let head = app.request_as(&app.admin, Method::HEAD, &path(id, ""));
        let head = head.header("Range", "bytes=0-1").send().await.unwrap();
        assert_eq!((head.status().as_u16(), header(&head, "etag")), (200, etag));
    }
}
