//! Journeys of clients who follow the events: what they get, what they are told when events
//! are missing, and how a stream ends.

use std::{collections::BTreeSet, path::Path};

use deia_ledger::{Apply as _, CommandLog as _, PruneEvents};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{TestApp, store_in, task};

const PART: &str = "/api/v1/supervisors/hive/services/stream";

/// An event of a stream.
#[derive(Clone, Debug)]
struct Sent {
    kind: String,
    id: String,
    data: Value,
}

/// A stream of events.
struct Live {
    response: Response,
    text: String,
    /// The last id, also of blocks without data.
    last: String,
}

/// A block of lines: an event, or an id alone.
struct Block {
    is_heartbeat: bool,
    event: Option<Sent>,
}

fn request(app: &TestApp, key: &str, query: &str) -> RequestBuilder {
    let path = format!("/api/v1/events?{query}");
    app.request_as(key, Method::GET, &path)
        .header("Accept", "text/event-stream")
}

impl Live {
    async fn of(app: &TestApp, key: &str, query: &str, last: Option<&str>) -> Self {
        let mut request = request(app, key, query);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        assert_eq!(status, 200, "{:?}", response.text().await);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
            last: String::new(),
        }
    }

    /// Returns the next block of lines; `None` at the end.
    async fn try_block(&mut self) -> reqwest::Result<Option<Block>> {
        loop {
            if let Some((lines, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = lines.lines().filter_map(|line| line.strip_prefix(name));
                    lines.next().map(str::to_owned)
                };
                let id = field("id: ");
                let event = field("data: ").map(|data| Sent {
                    kind: field("event: ").unwrap_or_default(),
                    id: id.clone().unwrap_or_default(),
                    data: serde_json::from_str(&data).unwrap(),
                });
                let is_heartbeat = lines.starts_with(": heartbeat\n");
                self.text = rest.to_owned();
                self.last = id.unwrap_or(std::mem::take(&mut self.last));
                return Ok(Some(Block {
                    is_heartbeat,
                    event,
                }));
            }
            let Some(chunk) = self.response.chunk().await? else {
                return Ok(None);
            };
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Returns the next event; `None` at the end.
    async fn try_next(&mut self) -> reqwest::Result<Option<Sent>> {
        while let Some(block) = self.try_block().await? {
            if block.event.is_some() {
                return Ok(block.event);
            }
        }
        Ok(None)
    }

    async fn next(&mut self) -> Option<Sent> {
        self.try_next().await.unwrap()
    }

    /// Waits for the first block, which has the id to begin with.
    async fn begin(&mut self) -> String {
        let first = self.try_block().await.unwrap().unwrap();
        assert!(first.event.is_none() && !first.is_heartbeat);
        self.last.clone()
    }

    /// Waits for a heartbeat. Returns its id.
    async fn heartbeat(&mut self) -> String {
        let block = self.try_block().await.unwrap().unwrap();
        assert!(block.is_heartbeat && block.event.is_none());
        self.last.clone()
    }

    /// Returns the next `n` events of the log.
    async fn take(&mut self, n: usize) -> Vec<Sent> {
        let mut taken = Vec::new();
        for _ in 0..n {
            let event = self.next().await.expect("an event");
            assert!(!event.kind.starts_with("deia."), "{event:?}");
            taken.push(event);
        }
        taken
    }

    /// Returns the reason for which the stream ends, and the kind of the last event.
    async fn ended(mut self) -> (String, String) {
        let mut last = None;
        while let Some(event) = self.next().await {
            last = Some(event);
        }
        let last = last.expect("a last event");
        (last.kind, last.data["reason"].as_str().unwrap().to_owned())
    }
}

fn seq(event: &Sent) -> u64 {
    event.data["seq"].as_u64().unwrap()
}

#[track_caller]
fn assert_consecutive(events: &[Sent]) {
    for pair in events.windows(2) {
        assert_eq!(seq(&pair[1]), seq(&pair[0]) + 1, "{pair:?}");
    }
}

async fn cut_for(app: &TestApp, reason: &str) -> u64 {
    let metrics = app.get("/metrics").await.is(200).body;
    let name = format!("deia_stream_clients_cut_total{{reason=\"{reason}\"}} ");
    let mut lines = metrics.as_str().unwrap().lines();
    let line = lines.find_map(|line| line.strip_prefix(&*name));
    line.unwrap().parse().unwrap()
}

#[actix_rt::test]
async fn events_are_streamed_as_they_are_recorded_and_filtered() {
    let app = TestApp::start_with(&["bots.seed=[]"]).await;
    let mut all = Live::of(&app, &app.admin, "", None).await;
    let mut tagged = Live::of(&app, &app.admin, "tag=eu&tag=nightly", None).await;
    let mut typed = Live::of(&app, &app.admin, "task_type=other&action=task", None).await;
    let mut bots = Live::of(&app, &app.admin, "action=bot.created&target=bot:b", None).await;
    let plain = app.submit(&task("x")).await;
    let both = json!({"type": "general", "content": "x", "tags": ["nightly", "eu"]});
    let both = app.submit(&both).await;
    let other = app
        .submit(&json!({"type": "other", "content": "x", "tags": ["eu"]}))
        .await;
    let spec = json!({"executor": {"kind": "simulated"}});
    app.put("/api/v1/bots/b", &spec).await.is(201);
    let targets = |events: &[Sent]| -> Vec<String> {
        let target = |event: &Sent| event.data["target"]["id"].as_str().unwrap().to_owned();
        events.iter().map(target).collect()
    };
    let events = all.take(4).await;
    assert_eq!(targets(&events), [&plain, &both, &other, "b"]);
    assert_consecutive(&events);
    for event in &events {
        assert_eq!(event.kind, event.data["action"].as_str().unwrap());
        let position = format!("{}.{}", event.data["timeline"], event.data["seq"]);
        assert_eq!(event.id, position);
    }
    assert_eq!(targets(&tagged.take(1).await), [both.as_str()]);
    assert_eq!(targets(&typed.take(1).await), [other.as_str()]);
    assert_eq!(targets(&bots.take(1).await), ["b"]);
    // The pages have the same filters, and the same events.
    for (query, expected) in [("task_type=other", &other), ("tag=eu&tag=nightly", &both)] {
        let page = app.get(&format!("/api/v1/events?{query}")).await.is(200);
        assert_eq!(page.header("vary"), "accept");
        let items = page.body["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{query}");
        assert_eq!(items[0]["target"]["id"], expected.as_str());
    }
}

#[actix_rt::test]
async fn client_goes_on_after_kill_9_without_gap_or_duplicate() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let settings = ["bots.seed=[]"];
    let mut app = TestApp::start_in(&data_dir, &settings).await;
    app.bot("b", json!({"kind": "simulated"}), &["general"])
        .await;
    let mut live = Live::of(&app, &app.admin, "", None).await;
    live.begin().await;
    let mut events = Vec::new();
    for round in 0..3 {
        let batch: Vec<_> = (0..100).map(|_| task("x")).collect();
        let batch = json!({"tasks": batch});
        app.post("/api/v1/tasks/batch", &batch).await.is(202);
        events.extend(live.take(50 + 20 * round).await);
        app.kill_9();
        // The client reads all that has arrived.
        while let Ok(Some(event)) = live.try_next().await {
            events.push(event);
        }
        app = TestApp::start_in(&data_dir, &settings).await;
        let last = events.last().unwrap().id.clone();
        live = Live::of(&app, &app.admin, "", Some(&last)).await;
    }
    let completed = |events: &[Sent]| {
        let ends = events.iter().filter(|event| event.kind == "task.completed");
        ends.count()
    };
    while completed(&events) < 300 {
        events.extend(live.take(1).await);
    }
    assert_consecutive(&events);
    let tasks: BTreeSet<_> = events
        .iter()
        .filter(|event| event.kind == "task.completed")
        .map(|event| event.data["target"]["id"].to_string())
        .collect();
    assert_eq!(tasks.len(), 300, "each task is completed once");
}

/// Submits tasks whose events are long.
async fn flood(app: &TestApp, batches: usize) {
    let tags: Vec<_> = (0..10).map(|i| format!("{i}{}", "t".repeat(60))).collect();
    let task = json!({"type": "general", "content": "x", "tags": tags});
    let batch = json!({"tasks": vec![task; 1_000]});
    for _ in 0..batches {
        app.post("/api/v1/tasks/batch", &batch).await.is(202);
    }
}

#[actix_rt::test]
async fn slow_client_is_told_and_cut_and_nobody_else_notices() {
    const BATCHES: usize = 10;
    let settings = [
        "bots.seed=[]",
        "stream.slow_client_after=300ms",
        "stream.client_bytes=16KiB",
        "stream.buffer_bytes=64KiB",
    ];
    let app = TestApp::start_with(&settings).await;
    let mut slow = Live::of(&app, &app.admin, "", None).await;
    let mut quick = Live::of(&app, &app.admin, "", None).await;
    let reading = tokio::task::spawn_local(async move { quick.take(1_000 * BATCHES).await });
    flood(&app, BATCHES).await;
    let seen = reading.await.unwrap();
    assert_consecutive(&seen);
    app.until("the slow client is cut", async |app| {
        cut_for(app, "slow").await == 1
    })
    .await;
    let mut events = Vec::new();
    let last_words = loop {
        let event = slow.next().await.expect("last words");
        if event.kind == "deia.behind" {
            break event;
        }
        events.push(event);
    };
    assert_eq!(last_words.data["reason"], "slow");
    assert!(slow.next().await.is_none(), "the stream is over");
    assert!(events.len() < seen.len());
    let mut again = Live::of(&app, &app.admin, "", Some(&slow.last)).await;
    events.extend(again.take(seen.len() - events.len()).await);
    assert_consecutive(&events);
    let numbers = |events: &[Sent]| events.iter().map(seq).collect::<Vec<_>>();
    assert_eq!(numbers(&events), numbers(&seen));
}

#[actix_rt::test]
async fn external_user_follows_its_own_tasks_alone() {
    let app = TestApp::start_with(&["bots.seed=[]"]).await;
    let ada = app.key("ada", "external").await;
    let bob = app.key("bob", "external").await;
    let submit = async |key: &str| {
        let submitted = app.post_as(key, "/api/v1/tasks/submit", &task("x")).await;
        submitted.is(202).body["id"].as_str().unwrap().to_owned()
    };
    let mut own = Live::of(&app, &ada, "", None).await;
    let begin = own.begin().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        submit(&bob).await;
        ids.push(submit(&ada).await);
    }
    let events = own.take(3).await;
    for (event, id) in events.iter().zip(&ids) {
        assert_eq!(event.data["target"]["id"], id.as_str());
        assert_eq!(seq(event), 1, "within its task");
    }
    let opaque: BTreeSet<_> = events.iter().map(|event| event.id.len()).collect();
    assert_eq!(
        opaque,
        BTreeSet::from([begin.len()]),
        "lengths tell nothing"
    );
    assert!(events.iter().all(|event| !event.id.contains('.')));
    let rest = Live::of(&app, &ada, "", Some(&events[0].id))
        .await
        .take(2)
        .await;
    assert_eq!(rest[0].data, events[1].data);
    // The parameter is for clients that cannot set the header, which has precedence.
    let parameter = format!("last_event_id={}", events[1].id);
    let last = Live::of(&app, &ada, &parameter, None).await.take(1).await;
    assert_eq!(last[0].data, events[2].data);
    let both = Live::of(&app, &ada, &parameter, Some(&events[0].id)).await;
    assert_eq!({ both }.take(1).await[0].data, events[1].data);
    for (key, id) in [
        (&bob, events[0].id.as_str()),
        (&app.admin, &events[0].id),
        (&ada, "1.3"),
        (&app.admin, "1-3"),
        (&app.admin, "x"),
        (&app.admin, ""),
    ] {
        let wrong = request(&app, key, "").header("Last-Event-ID", id);
        app.send(wrong).await.refuses(422, "bad_event_id");
    }
    for query in [
        "limit=3",
        "cursor=x",
        "after=2026-01-01T00:00:00Z",
        "colour=red",
    ] {
        let wrong = request(&app, &ada, query);
        app.send(wrong).await.refuses(422, "invalid_parameter");
    }
    app.get("/api/v1/events?last_event_id=1.3")
        .await
        .refuses(422, "invalid_parameter");
}

/// Deletes the events of a stopped hive, but for the newest.
async fn prune(data_dir: &Path) {
    let store = store_in(data_dir);
    let serving = store.serve().unwrap();
    let prune = PruneEvents {
        upto: u64::MAX,
        max: 1_000_000,
    };
    store.apply(prune).await.unwrap();
    drop(serving);
    store.close().await;
}

#[actix_rt::test]
async fn id_past_retention_or_of_another_history_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mut app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    let ada = app.key("ada", "external").await;
    let of_ada = Live::of(&app, &ada, "", None).await.begin().await;
    app.submit(&task("x")).await;
    assert!(app.stop().success());
    prune(&data_dir).await;
    let app = TestApp::start_in(&data_dir, &["bots.seed=[]"]).await;
    let mut live = Live::of(&app, &app.admin, "", Some("1.2")).await;
    let gap = live.next().await.unwrap();
    assert_eq!(
        (gap.kind.as_str(), &gap.data["forked"]),
        ("deia.gap", &json!(false))
    );
    let missed = gap.data["missed"].as_u64().unwrap();
    assert_eq!(gap.data["next"], format!("1.{}", 2 + missed));
    assert_eq!(gap.id, gap.data["next"].as_str().unwrap());
    let first = live.take(1).await;
    assert_eq!(seq(&first[0]), 3 + missed);
    // Others are told, but not how much happened.
    let mut confined = Live::of(&app, &ada, "", Some(&of_ada)).await;
    let gap = confined.next().await.unwrap();
    assert_eq!(gap.kind, "deia.gap");
    assert_eq!(gap.data.get("missed"), None);
    for id in ["1.99999999", "7.1"] {
        let mut live = Live::of(&app, &app.admin, "", Some(id)).await;
        let gap = live.next().await.unwrap();
        assert_eq!(
            (gap.kind.as_str(), &gap.data["forked"]),
            ("deia.gap", &json!(true))
        );
        app.submit(&task("x")).await;
        live.take(1).await;
    }
}

#[actix_rt::test]
async fn suspended_stream_ends_and_refuses_while_pages_go_on() {
    let app = TestApp::start_with(&["bots.seed=[]"]).await;
    let live = Live::of(&app, &app.admin, "", None).await;
    app.post(&format!("{PART}/suspend"), &Value::Null)
        .await
        .is(200);
    let (kind, reason) = live.ended().await;
    assert_eq!((kind.as_str(), reason.as_str()), ("deia.end", "suspended"));
    let refused = app.send(request(&app, &app.admin, "")).await;
    let refused = refused.refuses(503, "feature_suspended");
    assert_ne!(refused.header("retry-after"), "");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("live_stream") && detail.contains("page by page"),
        "{detail}"
    );
    app.get("/api/v1/events?limit=1").await.is(200);
    assert_eq!(cut_for(&app, "suspended").await, 1);
    app.post(&format!("{PART}/resume"), &Value::Null)
        .await
        .is(200);
    let mut live = Live::of(&app, &app.admin, "action=task", None).await;
    app.submit(&task("x")).await;
    live.take(1).await;
}

#[actix_rt::test]
async fn quiet_stream_has_heartbeats_that_move_the_id_on() {
    let app = TestApp::start_with(&["bots.seed=[]", "stream.heartbeat=100ms"]).await;
    let mut live = Live::of(&app, &app.admin, "action=queue", None).await;
    let begin = live.begin().await;
    app.submit(&task("x")).await;
    // An id that came with a heartbeat, and no event, is as good as any.
    let mut last = begin.clone();
    while last == begin {
        last = live.heartbeat().await;
    }
    app.post("/api/v1/queue/pause", &json!({})).await.is(200);
    let mut again = Live::of(&app, &app.admin, "", Some(&last)).await;
    assert_eq!(again.take(1).await[0].kind, "queue.paused");
    assert_eq!(live.take(1).await[0].kind, "queue.paused");
}

#[actix_rt::test]
async fn client_that_is_gone_is_noticed() {
    let app = TestApp::start_with(&["bots.seed=[]", "stream.heartbeat=100ms"]).await;
    let head = app.request_as(&app.admin, Method::HEAD, "/api/v1/events");
    let head = app.send(head.header("Accept", "text/event-stream")).await;
    assert_eq!(head.is(200).header("content-type"), "text/event-stream");
    let clients = async |app: &TestApp, n: u64| {
        let metrics = app.get("/metrics").await.is(200).body;
        let line = format!("\ndeia_stream_clients {n}\n");
        metrics.as_str().unwrap().contains(&line)
    };
    app.until("it has no clients", async |app| clients(app, 0).await)
        .await;
    let live = Live::of(&app, &app.admin, "", None).await;
    assert!(clients(&app, 1).await);
    drop(live);
    app.until("the client is gone", async |app| clients(app, 0).await)
        .await;
}

#[actix_rt::test]
async fn streams_end_with_the_access_and_with_the_server() {
    let mut app = TestApp::start_with(&["bots.seed=[]"]).await;
    let key = app.key("vera", "viewer").await;
    let revoked = Live::of(&app, &key, "", None).await;
    let user = Live::of(&app, &app.key("olga", "operator").await, "", None).await;
    let keys = app.get("/api/v1/auth/keys").await.is(200).body;
    let keys = keys["items"].as_array().unwrap();
    let of_vera = keys.iter().find(|key| key["user"] == "vera").unwrap();
    let revoke = format!(
        "/api/v1/auth/keys/{}/revoke",
        of_vera["id"].as_str().unwrap()
    );
    app.post(&revoke, &Value::Null).await.is(200);
    let role = app.request_as(&app.admin, Method::PATCH, "/api/v1/users/olga");
    app.send(role.json(&json!({"role": "viewer"})))
        .await
        .is(200);
    for live in [revoked, user] {
        let (kind, reason) = live.ended().await;
        assert_eq!(
            (kind.as_str(), reason.as_str()),
            ("deia.end", "access_changed")
        );
    }
    assert_eq!(cut_for(&app, "access").await, 2);
    let live = Live::of(&app, &app.admin, "", None).await;
    let reading = tokio::task::spawn_local(live.ended());
    assert_eq!(app.stop().code(), Some(0));
    let (kind, reason) = reading.await.unwrap();
    assert_eq!((kind.as_str(), reason.as_str()), ("deia.end", "stopping"));
}
