//! `kill -9`, stops and restarts under load: every event that matched is delivered, always
//! under its one id, and nothing else is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deia_model::Event;
use futures_util::future::{join, join_all};
use nix::sys::signal::{Signal, kill};
use reqwest::Method;
use serde_json::{Value, json};

use super::{IMPATIENT, WEBHOOKS, register};
use crate::{
    support::{TestApp, all_events, command, store_in},
    webhook_support::{LOOPBACK, Manner, Receiver},
};

/// End of a round under load.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    Stopped,
    /// Restarted in place, and killed some time later.
    Restarted,
}

const ROUNDS: [End; 9] = [
    End::Killed,
    End::Killed,
    End::Stopped,
    End::Killed,
    End::Restarted,
    End::Killed,
    End::Stopped,
    End::Restarted,
    End::Killed,
];

/// Tasks of a round: so many that every end of the server finds some under way, and so few that the
/// slowest endpoint catches up however fast the machine is.
const TASKS: usize = 400;

/// An endpoint, and its receiver.
struct Endpoint {
    name: &'static str,
    events: &'static [&'static str],
    receiver: Receiver,
    id: String,
}

impl Endpoint {
    async fn register(
        app: &TestApp,
        name: &'static str,
        events: &'static [&'static str],
        manner: Manner,
    ) -> Self {
        let receiver = Receiver::start(manner);
        let path = register(app, &receiver.url(), events).await;
        Self {
            name,
            events,
            receiver,
            id: path
                .trim_start_matches(WEBHOOKS)
                .trim_start_matches('/')
                .to_owned(),
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let action = event.action.as_str();
        let kind = action.split('.').next().unwrap();
        self.events.iter().any(|it| *it == action || *it == kind)
    }
}

fn server(data_dir: &Path) -> Command {
    let settings = [
        &LOOPBACK[..],
        &IMPATIENT,
        &[
            "webhooks.retry=[1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]",
            "webhooks.pause_after_failures=20",
            "bots.restart.min=1ms",
            "bots.restart.restarts=1000",
            "tasks.poison_after_hive_deaths=100",
            "tasks.retry.min=1ms",
            "server.drain_timeout=1s",
        ],
    ]
    .concat();
    command(data_dir, &settings)
}

/// Submits tasks until the server is gone or `over`, or enough of them were acknowledged.
async fn client(app: &TestApp, over: &AtomicBool, acknowledged: &Mutex<BTreeSet<String>>) {
    let before = acknowledged.lock().unwrap().len();
    let is_enough = || acknowledged.lock().unwrap().len() >= before + TASKS;
    while !over.load(Ordering::Relaxed) && !is_enough() {
        let request = app.request_as(&app.admin, Method::POST, "/api/v1/tasks/submit");
        let sent = request
            .json(&json!({"type": "work", "content": "x"}))
            .send()
            .await;
        let Ok(answer) = sent else {
            return;
        };
        if answer.status() != 202 {
            // A server that stops says so.
            assert_eq!(answer.status(), 503);
            return;
        }
        let Ok(answer) = answer.json::<Value>().await else {
            return;
        };
        let id = answer["id"].as_str().unwrap().to_owned();
        acknowledged.lock().unwrap().insert(id);
    }
}

/// Runs a server under load, and ends it after `time`.
async fn round(data_dir: &Path, end: End, time: Duration, acknowledged: &Mutex<BTreeSet<String>>) {
    let mut app = TestApp::try_start(server(data_dir), data_dir)
        .await
        .unwrap();
    let over = AtomicBool::new(false);
    let clients = join_all((0..6).map(|_| client(&app, &over, acknowledged)));
    let ending = async {
        // Sleeps: a random moment, whatever the server does then.
        tokio::time::sleep(time).await;
        match end {
            End::Killed => kill(app.pid(), Signal::SIGKILL).unwrap(),
            End::Stopped => kill(app.pid(), Signal::SIGTERM).unwrap(),
            End::Restarted => {
                app.post("/api/v1/system/restart", &Value::Null)
                    .await
                    .is(202);
                // Sleeps: a random moment, in the next start or before it.
                tokio::time::sleep(time + Duration::from_secs(1)).await;
                kill(app.pid(), Signal::SIGKILL).unwrap();
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    join(clients, ending).await;
    let status = app.wait();
    assert_eq!(
        status.success(),
        matches!(end, End::Stopped),
        "{end:?}: {status}"
    );
}

/// Waits until all tasks have ended, and all events are delivered.
async fn everything_is_done(app: &TestApp) {
    app.until("all tasks have ended", async |app| {
        let totals = &app.get("/api/v1/queue").await.is(200).body["totals"];
        totals["queued"] == 0 && totals["pending"] == 0 && totals["running"] == 0
    })
    .await;
    app.until("the dispatcher has read all events", async |app| {
        let status = app.get("/api/v1/system/status").await.is(200).body;
        let followers = status["followers"].as_array().unwrap().iter();
        let mut webhooks = followers.filter(|it| it["name"] == "webhooks");
        webhooks.any(|it| it["lag_events"] == 0)
    })
    .await;
    app.until("all endpoints have caught up", async |app| {
        let all = app.get(WEBHOOKS).await.is(200).body;
        let mut all = all["items"].as_array().unwrap().iter();
        all.all(|it| it["waiting"] == 0 && it["lag_ms"] == 0)
    })
    .await;
}

/// Compares what an endpoint got with the events of the log.
fn check(endpoint: &Endpoint, events: &BTreeMap<u64, Event>) {
    let name = endpoint.name;
    let registered = events
        .values()
        .find(|it| it.action.as_str() == "webhook.registered" && it.target.id == endpoint.id);
    let since = registered.unwrap().seq;
    let (mut ids, mut accepted) = (BTreeMap::new(), BTreeSet::new());
    let received = endpoint.receiver.received();
    for it in &received {
        let seq = it.body["data"]["seq"].as_u64().unwrap();
        let event = events
            .get(&seq)
            .unwrap_or_else(|| panic!("{name} got {it:?}, not recorded"));
        assert!(endpoint.wants(event) && seq > since, "{name} got {it:?}");
        let recorded = serde_json::to_value(event).unwrap();
        let mut data = it.body["data"].clone();
        let extra = data.as_object_mut().unwrap();
        extra.remove("task_id");
        if event.bot_id.is_none() {
            extra.remove("bot_id");
        }
        assert_eq!(data, recorded, "{name} got another event than was recorded");
        let known = ids.entry(seq).or_insert_with(|| it.id().to_owned());
        assert_eq!(known, it.id(), "{name}: event {seq} has two ids");
        if it.is_accepted {
            accepted.insert(seq);
        }
    }
    let different: BTreeSet<_> = ids.values().collect();
    assert_eq!(different.len(), ids.len(), "{name}: two events have one id");
    let wanted = events
        .values()
        .filter(|it| it.seq > since && endpoint.wants(it));
    let wanted: BTreeSet<u64> = wanted.map(|it| it.seq).collect();
    let missing: Vec<_> = wanted.difference(&accepted).collect();
    assert!(
        missing.is_empty(),
        "{name}: {} of {} are missing: {missing:?}",
        missing.len(),
        wanted.len()
    );
    eprintln!(
        "{name}: {} events, {} deliveries",
        wanted.len(),
        received.len()
    );
}

#[actix_rt::test]
async fn every_recorded_event_is_delivered_under_one_id_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let acknowledged = Mutex::default();
    let mut draw = u64::from(std::process::id());
    eprintln!("seed {draw}");
    let mut first = TestApp::try_start(server(&data_dir), &data_dir)
        .await
        .unwrap();
    first
        .bot(
            "quick",
            json!({"kind": "simulated", "latency_ms": {"min": 0, "max": 3}}),
            &["work"],
        )
        .await;
    let slow = Manner::Accepts(Duration::from_millis(30));
    let endpoints = [
        Endpoint::register(&first, "good", &["task"], Manner::Accepts(Duration::ZERO)).await,
        Endpoint::register(
            &first,
            "flaky",
            &["task.completed", "bot"],
            Manner::Fails(40),
        )
        .await,
        Endpoint::register(&first, "slow", &["task.submitted"], slow).await,
    ];
    first.kill_9();
    for end in ROUNDS {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let time = Duration::from_millis(50 + (draw >> 33) % 600);
        round(&data_dir, end, time, &acknowledged).await;
    }

    let mut last = TestApp::try_start(server(&data_dir), &data_dir)
        .await
        .unwrap();
    everything_is_done(&last).await;
    let known = last.get(WEBHOOKS).await.is(200).body["items"].take();
    assert_eq!(known.as_array().unwrap().len(), endpoints.len());
    assert!(last.stop().success());
    let store = store_in(&data_dir);
    let events = all_events(&store).await;
    let events: BTreeMap<u64, Event> = events.into_iter().map(|it| (it.seq, it)).collect();
    for endpoint in &endpoints {
        check(endpoint, &events);
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(
        acknowledged.len() > 100,
        "hardly any load: {}",
        acknowledged.len()
    );
    let slow = endpoints[2].receiver.accepted_tasks();
    let lost: Vec<_> = acknowledged.difference(&slow).collect();
    assert!(
        lost.is_empty(),
        "acknowledged and never delivered: {lost:?}"
    );
}
