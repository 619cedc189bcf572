//! `kill -9`, again and again, under load: nothing that was acknowledged is
//! lost, nothing is done twice, and no program is left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use deia_ledger::{
    CommandLog as _, EventReads as _, FollowerName, TaskReads as _, store::SqliteStore,
};
use deia_model::{Action, PageRequest, Task, TaskFilter, TaskStatus, Visibility};
use nix::sys::signal::{Signal, kill};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestApp, all_events, command, store_in, until};

/// Points at which the server is ended, and on which pass.
const POINTS: &[(&str, u64)] = &[
    ("before_commit", 3),
    ("before_commit", 40),
    ("after_commit_before_answer", 5),
    ("after_commit_before_answer", 50),
    ("after_claim_before_run", 2),
    ("before_report", 2),
    ("before_report", 9),
    ("before_advance", 3),
    ("after_advance", 2),
];

/// Times that a point is armed for a later pass, when the server passed it while it
/// started: what is to be tested is its end under load.
const LATER_PASSES: u32 = 6;

/// Rounds that end at a random moment.
const RANDOM_ROUNDS: u64 = 6;

/// Work that the clients want done, and the promises that they were given.
struct Load {
    next: AtomicUsize,
    stop: AtomicBool,
    acknowledged: Mutex<BTreeMap<usize, String>>,
}

impl Load {
    /// Sends one task after the other, as one client; a task that was not
    /// acknowledged is sent again, with the same key, to the next server.
    async fn client(&self, app: &TestApp, unanswered: &Mutex<Vec<usize>>) {
        loop {
            let again = unanswered.lock().unwrap().pop();
            let stopped = self.stop.load(Ordering::Relaxed);
            let n = match again {
                Some(n) => n,
                None if stopped => return,
                None => self.next.fetch_add(1, Ordering::Relaxed),
            };
            let task = json!({"type": "work", "content": format!("task {n}")});
            let request = app.request_as(&app.admin, Method::POST, "/api/v1/tasks/submit");
            let sent = request
                .header("Idempotency-Key", format!("load-{n}"))
                .json(&task)
                .send()
                .await;
            let answer = match sent {
                Ok(answer) => {
                    assert_eq!(answer.status(), 202, "{:?}", answer.text().await);
                    answer.json::<Value>().await.ok()
                }
                Err(_) => None,
            };
            let Some(answer) = answer else {
                // The server is gone. What became of this task is not known.
                unanswered.lock().unwrap().push(n);
                return;
            };
            let id = answer["id"].as_str().unwrap().to_owned();
            let before = self.acknowledged.lock().unwrap().insert(n, id.clone());
            assert!(
                before.is_none_or(|before| before == id),
                "task {n} has two ids"
            );
        }
    }
}

/// Repeatable draws.
struct Draws(u64);

impl Draws {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A server that is to end at that point, if any.
fn armed(data_dir: &Path, point: Option<&str>) -> Command {
    let settings = [
        "bots.seed=[]",
        "bots.restart.min=1ms",
        "bots.restart.restarts=1000",
        // The endless task runs at each of the kills.
        "tasks.poison_after_hive_deaths=100",
        "tasks.retry.min=1ms",
    ];
    let mut command = command(data_dir, &settings);
    if let Some(point) = point {
        command.env("DEIA_FAILPOINT", point);
    }
    command
}

async fn put_bots(app: &TestApp, marker: &str) {
    app.bot(
        "quick",
        json!({"kind": "simulated", "latency_ms": {"min": 0, "max": 3}}),
        &["work"],
    )
    .await;
    app.bot(
        "real",
        json!({"kind": "command", "command": ["cat"]}),
        &["work"],
    )
    .await;
    // A program that forks and leaves its group, and never ends.
    let script = format!("sleep {marker} & setsid sleep {marker} & exec sleep {marker}");
    app.bot(
        "forks",
        json!({"kind": "command", "command": ["sh", "-c", script]}),
        &["endless"],
    )
    .await;
    app.submit(&json!({"type": "endless", "content": "", "timeout_seconds": 3600}))
        .await;
}

/// Processes that are `sleep <marker>`.
fn left_behind(marker: &str) -> usize {
    let wanted = format!("sleep\0{marker}\0");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|entry| {
            std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
        })
        .count()
}

async fn no_program_is_left(marker: &str) {
    let what = "programs end with the server";
    until(what, async || left_behind(marker) == 0).await;
}

/// End of a server.
#[derive(Debug, PartialEq)]
enum End {
    /// The server passed its point while it started.
    AtStart,
    /// The server passed its point under load.
    AtPoint,
    /// The server was killed from outside.
    Killed,
}

/// Runs one server under load until it ends: at its point, or after `time`.
async fn round(
    data_dir: &Path,
    point: Option<&str>,
    time: Duration,
    load: &Load,
    unanswered: &Mutex<Vec<usize>>,
) -> End {
    let Ok(mut app) = TestApp::try_start(armed(data_dir, point), data_dir).await else {
        assert!(point.is_some(), "it did not start");
        return End::AtStart;
    };
    load.stop.store(false, Ordering::Relaxed);
    // The clients end when the server has.
    let clients = futures_util::future::join_all((0..8).map(|_| load.client(&app, unanswered)));
    if let Some(point) = point {
        let ended = tokio::time::timeout(PATIENCE, clients).await;
        assert!(ended.is_ok(), "{point} was never passed");
        let status = app.wait();
        assert_eq!(
            status.signal(),
            Some(Signal::SIGKILL as i32),
            "{point}: {status}"
        );
        End::AtPoint
    } else {
        let killer = async {
            // Sleeps: a random moment of the end, wherever the server is.
            tokio::time::sleep(time).await;
            kill(app.pid(), Signal::SIGKILL).unwrap();
        };
        tokio::join!(clients, killer);
        app.kill_9();
        End::Killed
    }
}

/// Ends servers at that point until one was under load then.
async fn end_under_load(
    data_dir: &Path,
    (name, first_pass): (&str, u64),
    load: &Load,
    unanswered: &Mutex<Vec<usize>>,
    marker: &str,
) {
    for later in 0..LATER_PASSES {
        let point = format!("{name}:{}", first_pass << (2 * later));
        let end = round(data_dir, Some(&point), PATIENCE, load, unanswered).await;
        no_program_is_left(marker).await;
        if end == End::AtPoint {
            return;
        }
        eprintln!("{point} was passed during the start");
    }
    panic!("{name} was never passed under load");
}

#[actix_rt::test]
async fn nothing_acknowledged_is_lost_or_done_twice() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let marker = format!("86400.{}", std::process::id());
    let load = Arc::new(Load {
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        acknowledged: Mutex::default(),
    });
    let unanswered = Mutex::new(Vec::new());
    let seed = u64::from(std::process::id());
    eprintln!("seed {seed}");
    let mut draws = Draws(seed);

    let mut first = TestApp::try_start(armed(&data_dir, None), &data_dir)
        .await
        .unwrap();
    put_bots(&first, &marker).await;
    first
        .until("the endless program runs", async |_| {
            left_behind(&marker) == 3
        })
        .await;
    first.kill_9();
    no_program_is_left(&marker).await;

    for point in POINTS {
        end_under_load(&data_dir, *point, &load, &unanswered, &marker).await;
    }
    for _ in 0..RANDOM_ROUNDS {
        let time = Duration::from_millis(20 + draws.next(400));
        let end = round(&data_dir, None, time, &load, &unanswered).await;
        assert_eq!(end, End::Killed);
        no_program_is_left(&marker).await;
    }

    // The last server finishes everything.
    let mut last = TestApp::try_start(armed(&data_dir, None), &data_dir)
        .await
        .unwrap();
    load.stop.store(true, Ordering::Relaxed);
    load.client(&last, &unanswered).await;
    last.until("all is done but the endless task", async |app| {
        let totals = &app.get("/api/v1/queue").await.is(200).body["totals"];
        totals["queued"] == 0 && totals["pending"] == 0 && totals["running"] == 1
    })
    .await;
    last.until("the statistics have taken in all events", async |app| {
        let status = app.get("/api/v1/system/status").await.is(200).body;
        status["followers"][0]["lag_events"] == 0
    })
    .await;
    assert!(last.stop().success());
    no_program_is_left(&marker).await;
    check(&data_dir, &load).await;
}

/// Events that the statistics have taken in were counted once each, whichever moment the
/// hive died in.
async fn counted_once(store: &SqliteStore) {
    let cursor = store.cursor(FollowerName("statistics")).await.unwrap();
    assert!(cursor.seq > 1_000, "hardly anything was followed: {cursor}");
    let mut expected = [0_u64; 3];
    for event in all_events(store).await {
        let counts = match event.action.known() {
            Some(Action::TaskSubmitted) => 0,
            Some(Action::TaskStarted) => 1,
            Some(Action::TaskCompleted) => 2,
            _ => continue,
        };
        expected[counts] += u64::from(event.seq <= cursor.seq);
    }
    let mut counted = [0; 3];
    for row in store.statistics(0).await.unwrap().by_type.values() {
        counted[0] += row.submitted;
        counted[1] += row.started;
        counted[2] += row.completed;
    }
    assert_eq!(counted, expected, "submitted, started, completed");
}

/// Compares what the store holds with what was promised.
async fn check(data_dir: &Path, load: &Load) {
    let store = store_in(data_dir);
    assert!(store.previous_shutdown_clean());
    counted_once(&store).await;
    let tasks = all_tasks(&store).await;
    let acknowledged = load.acknowledged.lock().unwrap().clone();
    assert!(
        acknowledged.len() > 100,
        "there was hardly any load: {}",
        acknowledged.len()
    );
    assert_eq!(
        acknowledged.len(),
        load.next.load(Ordering::Relaxed),
        "every task was acknowledged in the end"
    );
    assert_eq!(
        tasks.len(),
        acknowledged.len() + 1,
        "one task for each key, and the endless one"
    );

    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for event in all_events(&store).await {
        if matches!(
            event.action.known(),
            Some(
                Action::TaskCompleted
                    | Action::TaskFailed
                    | Action::TaskDead
                    | Action::TaskCancelled
            )
        ) {
            *ends.entry(event.target.id).or_default() += 1;
        }
    }
    let stored: BTreeMap<String, TaskStatus> = tasks
        .iter()
        .map(|task| (task.id.to_string(), task.status))
        .collect();
    for (n, id) in acknowledged.iter() {
        assert_eq!(
            stored.get(id),
            Some(&TaskStatus::Completed),
            "task {n} ({id})"
        );
        assert_eq!(ends.get(id), Some(&1), "task {n} ({id}) ended exactly once");
        let result = store.result(id.parse().unwrap()).await.unwrap();
        assert!(
            result.is_some_and(|result| result.success),
            "task {n} ({id}) has its result"
        );
    }
}

async fn all_tasks(store: &SqliteStore) -> Vec<Task> {
    let (mut tasks, mut cursor) = (Vec::new(), None);
    loop {
        let page = store
            .tasks(
                Visibility::All,
                TaskFilter::default(),
                PageRequest {
                    limit: 1_000,
                    cursor,
                },
            )
            .await
            .unwrap();
        tasks.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            let ids: BTreeSet<_> = tasks.iter().map(|task| task.id).collect();
            assert_eq!(ids.len(), tasks.len());
            return tasks;
        }
    }
}
