//! Five hundred bots on one hive, all of them busy: simulated ones, remote ones and programs.
//!
//! The short form runs 2,050 tasks at a time. `DEIA_SCALE=long` runs 20,000: 18,000 simulated or
//! at workers, and 2,000 programs; it is for an optimized build, and prints what it measured.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use deia_ledger::{TaskReads as _, store::SqliteStore};
use deia_model::{PageRequest, Task, TaskFilter, TaskStatus, Visibility};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::support::{TestApp, store_in};

/// Requests at a time, other than those of workers that wait.
const AT_A_TIME: usize = 32;
/// Tasks a request.
const BATCH: usize = 1_000;
/// Most tasks that one request of a worker leases.
const LEASE_MAX: usize = 100;

/// Bots of a kind, each as busy as it can be.
#[derive(Clone, Copy)]
struct Fleet {
    kind: &'static str,
    bots: usize,
    tasks_a_bot: usize,
}

impl Fleet {
    const fn of(kind: &'static str, bots: usize, tasks_a_bot: usize) -> Self {
        Self {
            kind,
            bots,
            tasks_a_bot,
        }
    }

    fn tasks(self) -> usize {
        self.bots * self.tasks_a_bot
    }

    fn executor(self) -> Value {
        match self.kind {
            "simulated" => json!({"kind": "simulated", "behavior": "offline"}),
            "remote" => json!({"kind": "remote", "heartbeat_seconds": 3_600}),
            _ => json!({"kind": "command", "command": ["sleep", "86400"]}),
        }
    }

    fn names(self) -> impl Iterator<Item = String> {
        (0..self.bots).map(move |n| format!("{}-{n}", self.kind))
    }
}

/// The fleets of a run, and the time that each step may take.
struct Scale {
    simulated: Fleet,
    remote: Fleet,
    programs: Fleet,
    patience: Duration,
}

impl Scale {
    fn wanted() -> Self {
        let is_long = std::env::var_os("DEIA_SCALE").is_some_and(|it| it == "long");
        match is_long {
            true => Self {
                simulated: Fleet::of("simulated", 200, 45),
                remote: Fleet::of("remote", 250, 36),
                programs: Fleet::of("command", 50, 40),
                patience: Duration::from_secs(600),
            },
            false => Self {
                simulated: Fleet::of("simulated", 200, 5),
                remote: Fleet::of("remote", 250, 4),
                programs: Fleet::of("command", 50, 1),
                patience: Duration::from_secs(60),
            },
        }
    }

    fn fleets(&self) -> [Fleet; 3] {
        [self.simulated, self.remote, self.programs]
    }

    fn bots(&self) -> usize {
        self.fleets().iter().map(|fleet| fleet.bots).sum()
    }

    fn tasks(&self) -> usize {
        self.fleets().iter().map(|fleet| fleet.tasks()).sum()
    }
}

#[actix_rt::test]
async fn five_hundred_bots_are_busy_at_once_and_stop_in_order() {
    let scale = Scale::wanted();
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let settings = [
        "bots.seed=[]",
        "limits.enabled=false",
        "logging.filter=warn",
    ];
    let mut app = TestApp::start_in(&data_dir, &settings).await;

    let begun = Instant::now();
    launch(&app, &scale).await;
    said("launched", begun);

    let begun = Instant::now();
    let (submitted, leased) = tokio::join!(submit(&app, &scale), work(&app, scale.remote));
    assert_eq!(submitted.len(), scale.tasks());
    assert_all_given_once(&leased, scale.remote);
    until_running(&app, &scale, scale.tasks()).await;
    said("all tasks running", begun);

    assert_answers(&app, &scale).await;
    let half = leased.len() / 2;
    complete(&app, &leased[..half]).await;
    until_running(&app, &scale, scale.tasks() - half).await;
    println!("memory: {} MB", resident_mb(app.pid().as_raw()));

    let begun = Instant::now();
    assert!(app.stop().success());
    said("stopped", begun);
    let log = app.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_nothing_lost(&store_in(&data_dir), &submitted, &leased[..half]).await;
}

fn said(what: &str, begun: Instant) {
    println!("{what} after {:.1?}", begun.elapsed());
}

/// Puts all bots in place, and launches them.
async fn launch(app: &TestApp, scale: &Scale) {
    let bots = scale.fleets().into_iter().flat_map(|fleet| {
        let spec = json!({
            "executor": fleet.executor(),
            "capabilities": {"specializations": [fleet.kind],
                "max_concurrent_tasks": fleet.tasks_a_bot},
        });
        fleet.names().map(move |name| (name, spec.clone()))
    });
    stream::iter(bots)
        .for_each_concurrent(AT_A_TIME, async |(name, spec)| {
            let path = format!("/api/v1/bots/{name}");
            app.put(&path, &spec).await.is(201);
            app.post(&format!("{path}/launch"), &Value::Null)
                .await
                .is(202);
        })
        .await;
}

/// Submits as many tasks as all bots together take. Returns their ids.
async fn submit(app: &TestApp, scale: &Scale) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for fleet in scale.fleets() {
        let mut left = fleet.tasks();
        while left > 0 {
            let count = left.min(BATCH);
            left -= count;
            let task = json!({"type": fleet.kind, "content": "x", "timeout_seconds": 86_400});
            let batch = json!({"tasks": vec![task; count]});
            let answer = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
            let accepted = answer["ids"].as_array().unwrap().iter();
            ids.extend(accepted.map(|id| id.as_str().unwrap().to_owned()));
        }
    }
    ids
}

/// Has a worker of each bot ask until it has as many tasks as the bot takes.
async fn work(app: &TestApp, fleet: Fleet) -> Vec<Value> {
    let worker = async |name: String| {
        let mut tasks: Vec<Value> = Vec::new();
        while tasks.len() < fleet.tasks_a_bot {
            let max = (fleet.tasks_a_bot - tasks.len()).min(LEASE_MAX);
            let ask = json!({"max": max, "wait_ms": 20_000, "worker": "w"});
            let answer = app
                .post(&format!("/api/v1/bots/{name}/lease"), &ask)
                .await
                .is(200);
            tasks.extend(answer.body["tasks"].as_array().unwrap().iter().cloned());
        }
        Ok::<_, std::convert::Infallible>(tasks)
    };
    let workers = stream::iter(fleet.names()).map(worker);
    let of_each: Vec<Vec<Value>> = workers
        .buffer_unordered(fleet.bots)
        .try_collect()
        .await
        .unwrap();
    of_each.into_iter().flatten().collect()
}

fn assert_all_given_once(leased: &[Value], fleet: Fleet) {
    let ids: BTreeSet<&str> = leased.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!((leased.len(), ids.len()), (fleet.tasks(), fleet.tasks()));
}

/// Waits until so many tasks run, according to the queue and according to the bots.
async fn until_running(app: &TestApp, scale: &Scale, expected: usize) {
    let begun = Instant::now();
    loop {
        let totals = app.get("/api/v1/queue").await.is(200).body["totals"].take();
        let at_bots: u64 = bots(app)
            .await
            .iter()
            .map(|bot| bot["running_tasks"].as_u64().unwrap())
            .sum();
        if totals["running"] == expected && at_bots == expected as u64 {
            return;
        }
        assert!(
            begun.elapsed() < scale.patience,
            "{totals}, {at_bots} at the bots, instead of {expected}"
        );
        // Sleeps: between two looks.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Returns all bots, as the list has them.
async fn bots(app: &TestApp) -> Vec<Value> {
    let list = app.get("/api/v1/bots").await.is(200).body;
    list["items"].as_array().unwrap().clone()
}

/// Asserts that lists and single reads say what is so, while everything runs.
async fn assert_answers(app: &TestApp, scale: &Scale) {
    let begun = Instant::now();
    let all = bots(app).await;
    said("list of all bots", begun);
    assert_eq!(all.len(), scale.bots());
    for fleet in scale.fleets() {
        let of_kind = all
            .iter()
            .filter(|bot| bot["executor"]["kind"] == fleet.kind);
        let mut count = 0;
        for bot in of_kind {
            assert_eq!(bot["running_tasks"], fleet.tasks_a_bot, "{bot}");
            assert_eq!((&bot["restarts"], &bot["fault"]), (&json!(0), &Value::Null));
            assert_ne!(bot["status"], "failing", "{bot}");
            count += 1;
        }
        assert_eq!(count, fleet.bots, "{}", fleet.kind);
    }
    let begun = Instant::now();
    app.get("/api/v1/system/status").await.is(200);
    said("status of the system", begun);
    app.get("/readyz").await.is(200);
}

/// Reports the success of tasks at workers.
async fn complete(app: &TestApp, leased: &[Value]) {
    stream::iter(leased)
        .for_each_concurrent(AT_A_TIME, async |task| {
            let id = task["id"].as_str().unwrap();
            let report = json!({"attempt": task["attempt"],
                "lease_token": task["lease_token"], "output": id});
            let path = format!("/api/v1/tasks/{id}/complete");
            app.post(&path, &report).await.is(200);
        })
        .await;
}

/// Asserts that the store has every task: those reported as completed, those of workers running,
/// as a restart does not end them, and the others waiting, uncounted.
async fn assert_nothing_lost(
    store: &SqliteStore,
    submitted: &BTreeSet<String>,
    completed: &[Value],
) {
    let tasks = all_tasks(store).await;
    let ids: BTreeSet<String> = tasks.iter().map(|task| task.id.to_string()).collect();
    assert_eq!(&ids, submitted);
    let completed: BTreeSet<&str> = completed
        .iter()
        .map(|task| task["id"].as_str().unwrap())
        .collect();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for task in tasks {
        let id = task.id.to_string();
        let expected = match task.task_type.as_str() {
            "remote" if completed.contains(id.as_str()) => TaskStatus::Completed,
            "remote" => TaskStatus::Running,
            _ => TaskStatus::Queued,
        };
        let case = format!("{} {id}", task.task_type);
        assert_eq!((task.status, task.failures), (expected, 0), "{case}");
        *ends.entry(format!("{:?}", task.status)).or_default() += 1;
    }
    println!("in the store: {ends:?}");
}

async fn all_tasks(store: &SqliteStore) -> Vec<Task> {
    let (mut tasks, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest {
            limit: 1_000,
            cursor,
        };
        let filter = TaskFilter::default();
        let page = store.tasks(Visibility::All, filter, page).await.unwrap();
        tasks.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return tasks;
        }
    }
}

fn resident_mb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap() / 1_024
}
