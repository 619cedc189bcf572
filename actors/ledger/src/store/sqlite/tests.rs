//! The store, and properties specific to a SQLite file.

mod faults;
mod shipping;
mod unreadable_rows;

use std::num::NonZero;

use deia_model::{Event, Position, Priority};

use super::*;
use crate::{
    Advance, Apply, CancelTask, ClaimTasks, Demand, EraseTask, EventReads, FinishAttempts,
    FollowerName, MarkRunning, Prune, Rejection, RetryTask, RunDue, Submission, Submit,
    store::conformance, testing::until,
};

pub(super) fn options(dir: &std::path::Path) -> SqliteOptions {
    SqliteOptions::for_tests(dir)
}

/// The process owns the file: both handles are of one store.
fn empty_store() -> (conformance::Handles, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    (conformance::Handles::same(Arc::new(store)), dir)
}

mod conforms {
    crate::store::conformance::conformance_tests!(crate::store::sqlite::tests::empty_store);
}

#[tokio::test]
async fn the_next_start_knows_how_this_run_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut clean = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for stops_cleanly in [true, false, true] {
        let store = SqliteStore::open(options(dir.path())).unwrap();
        let _serving = store.serve().unwrap();
        clean.push(store.previous_shutdown_clean());
        ids.insert(store.hive_id());
        store.apply(MarkRunning(true)).await.unwrap();
        if stops_cleanly {
            store.apply(MarkRunning(false)).await.unwrap();
        }
        store.close().await;
    }
    assert_eq!(clean, [true, true, false]);
    assert_eq!(ids.len(), 1, "the hive keeps its name");
}

#[tokio::test]
async fn nothing_erased_is_left_in_the_file() {
    const SAID: &str = "hunter2 was here";
    let dir = tempfile::tempdir().unwrap();
    let store: crate::Ledger = Arc::new(SqliteStore::open(options(dir.path())).unwrap());
    let _serving = store.serve().unwrap();
    let mut ids = Vec::new();
    for copies in [1, 100, 10_000] {
        let task = deia_model::NewTask::new("general".parse().unwrap(), SAID.repeat(copies));
        let command = Submit {
            tasks: vec![task; 20],
            submitter: "ada".into(),
            role: deia_model::Role::Admin,
            idempotency: None,
        };
        let submission = store.apply(command).await.unwrap();
        ids.extend(submission.tasks.iter().map(|task| task.id));
    }
    for id in &ids {
        let cancel = CancelTask {
            task: *id,
            actor: "ada".into(),
            only_waiting: true,
        };
        store.apply(cancel).await.unwrap();
    }
    let holding = |file: &str| {
        let bytes = std::fs::read(dir.path().join(file)).unwrap_or_default();
        let places = bytes.windows(SAID.len()).enumerate();
        let found = places.filter(|(_, at)| *at == SAID.as_bytes());
        found.map(|(place, _)| place).collect::<Vec<_>>()
    };
    let both = ["deia.db", "deia.db-wal"];
    assert!(both.into_iter().any(|file| !holding(file).is_empty()));
    for id in ids {
        let erase = EraseTask {
            task: id,
            actor: "ada".into(),
        };
        store.apply(erase).await.unwrap();
    }
    store.close().await;
    drop(store);
    // The log goes with the last connection.
    for file in both {
        assert_eq!(holding(file), Vec::<usize>::new(), "places in {file}");
    }
}

#[tokio::test]
async fn the_log_is_checkpointed() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    let _serving = store.serve().unwrap();
    let task = deia_model::NewTask::new("general".parse().unwrap(), "x".repeat(1_000));
    for _ in 0..60 {
        let command = Submit {
            tasks: vec![task.clone(); 20],
            submitter: "ada".into(),
            role: deia_model::Role::Operator,
            idempotency: None,
        };
        store.apply(command).await.unwrap();
    }
    store.close().await;
    let wal = dir.path().join("deia.db-wal").metadata().unwrap().len();
    assert!(wal < 3_000_000, "the log grew to {wal} bytes");
}

/// Deleted rows make the file shorter, not only emptier.
#[tokio::test]
async fn file_shrinks_in_idle_moments_after_a_large_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    let _serving = store.serve().unwrap();
    let mut ids = Vec::new();
    for _ in 0..20 {
        let submission = submit(&store, 1 << 20).await.unwrap();
        ids.extend(submission.tasks.iter().map(|task| task.id));
    }
    let size = || std::fs::metadata(dir.path().join("deia.db")).unwrap().len();
    until("the content is in the file", async || size() > 16 << 20).await;
    for task in ids.clone() {
        let cancel = CancelTask {
            task,
            actor: "ada".into(),
            only_waiting: true,
        };
        store.apply(cancel).await.unwrap();
    }
    until("all is forgotten", async || {
        let pruned = store.apply(Prune { tasks: ids.clone() }).await.unwrap();
        ids.retain(|id| !pruned.tasks.contains(id));
        ids.is_empty()
    })
    .await;
    until("the file is short", async || size() < 8 << 20).await;
    store.close().await;
}

pub(super) async fn submit(store: &SqliteStore, bytes: usize) -> Result<Submission, StoreError> {
    let content = "x".repeat(bytes);
    let command = Submit {
        tasks: vec![deia_model::NewTask::new(
            "general".parse().unwrap(),
            content,
        )],
        submitter: "ada".into(),
        idempotency: None,
        role: deia_model::Role::Operator,
    };
    store.apply(command).await
}

#[tokio::test]
async fn a_log_that_a_reader_holds_is_not_written_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let most = 2 << 20;
    let options = SqliteOptions {
        wal_max_bytes: most,
        ..options(dir.path())
    };
    let store = SqliteStore::open(options).unwrap();
    let _serving = store.serve().unwrap();
    submit(&store, 10).await.unwrap();
    let reader = connection::readable(&dir.path().join("deia.db")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM tasks")
        .unwrap();
    let refused = loop {
        if let Err(error) = submit(&store, 100_000).await {
            break error;
        }
    };
    assert!(matches!(refused, StoreError::Busy), "{refused}");
    // Commands about past events are kept, in order.
    let kept = store.apply_deferred(MarkRunning(true));
    let length = dir.path().join("deia.db-wal").metadata().unwrap().len();
    assert!((most..most + (1 << 20)).contains(&length), "{length}");
    assert_eq!(
        store.counts().await.unwrap().queued,
        store.ready_count().await
    );

    reader.execute_batch("COMMIT").unwrap();
    kept.await.unwrap();
    submit(&store, 100_000).await.unwrap();
    let length = dir.path().join("deia.db-wal").metadata().unwrap().len();
    assert!(length < most, "{length}");
}

impl SqliteStore {
    async fn ready_count(&self) -> u64 {
        let query = ReadyQuery {
            demand: Demand::of_type("general".parse().unwrap()),
            priority: deia_model::Priority::default(),
            after: 0,
            limit: 10_000,
        };
        self.ready(query).await.unwrap().len() as u64
    }
}

#[tokio::test]
async fn the_hive_does_not_wait_for_reads_of_callers() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    let _serving = store.serve().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let released = released.clone();
            store
                .readers
                .read(move |_| Ok(released.lock().unwrap().recv().is_err()))
        })
        .collect();
    store.ready_lanes().await.unwrap();
    store.next_due().await.unwrap();
    store.keys().await.unwrap();
    assert_eq!(store.ready_count().await, 0);
    drop(release);
    for busy in busy {
        assert!(busy.await.unwrap());
    }
}

#[tokio::test]
async fn slow_reads_of_callers_end_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        read_timeout: std::time::Duration::from_millis(200),
        ..options(dir.path())
    };
    let store = SqliteStore::open(options).unwrap();
    let _serving = store.serve().unwrap();
    let endless = |db: &rusqlite::Connection| {
        let sql =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        db.query_row(sql, [], |row| row.get::<_, i64>(0))
    };
    let begun = std::time::Instant::now();
    let slow: Vec<_> = (0..4).map(|_| store.readers.read(endless)).collect();
    for slow in slow {
        let ended = slow.await;
        assert!(matches!(ended, Err(StoreError::ReadTimeout)), "{ended:?}");
    }
    // Two at a time.
    assert!(begun.elapsed() >= std::time::Duration::from_millis(400));
    // The connections still work.
    assert_eq!(store.counts().await.unwrap().queued, 0);
}

/// A row of `submitters`.
type Counters = (String, i64, i64, i64, i64, i64);

/// Returns the counters of all submitters as stored, and as counted again.
fn counted_twice(db: &rusqlite::Connection) -> [Vec<Counters>; 2] {
    let all = |sql: &str| {
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
            ))
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    [
        all("SELECT name, waiting, waiting_bytes, types, answers, answer_bytes FROM submitters
             WHERE name <> '' ORDER BY name"),
        all("SELECT name, (SELECT count(*) FROM tasks WHERE submitter = name AND status <= 1),
                    (SELECT coalesce(sum(bytes), 0) FROM tasks WHERE submitter = name AND status <= 1),
                    (SELECT count(DISTINCT type) FROM tasks WHERE submitter = name),
                    (SELECT count(*) FROM idempotency WHERE submitter = name),
                    (SELECT coalesce(sum(length(answer)), 0) FROM idempotency WHERE submitter = name)
             FROM (SELECT submitter AS name FROM tasks UNION SELECT submitter FROM idempotency) ORDER BY name"),
    ]
}

#[tokio::test]
async fn counters_of_submitters_are_exact_after_every_command() {
    use deia_model::{AttemptEnd, LeaseToken, NewTask, Role, TaskId, TaskStatus};

    use crate::{AttemptReport, Claim, Idempotency};
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    let _serving = store.serve().unwrap();
    let db = rusqlite::Connection::open(dir.path().join("deia.db")).unwrap();
    let ends = [
        AttemptEnd::Succeeded,
        AttemptEnd::Failed,
        AttemptEnd::BotDied,
        AttemptEnd::GivenBack,
        AttemptEnd::Cancelled,
    ];
    let mut ids: Vec<TaskId> = Vec::new();
    // A walk that is the same in every run and visits all transitions.
    let mut state = 7_u64;
    let mut pick = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % n
    };
    for step in 0..600 {
        let task = ids.get(pick(ids.len().max(1))).copied();
        let task = task.unwrap_or_else(TaskId::new);
        let command: Command = match pick(7) {
            0 | 1 => Submit {
                tasks: vec![
                    NewTask::new(
                        ["a", "b", "brief"][pick(3)].parse().unwrap(),
                        "x".repeat(pick(3_000)),
                    );
                    1 + pick(3)
                ],
                submitter: ["ada", "bob"][pick(2)].into(),
                role: Role::Operator,
                idempotency: (pick(2) == 0).then(|| Idempotency {
                    key: pick(9).to_string(),
                    fingerprint: [0; 32],
                }),
            }
            .into(),
            2 => CancelTask {
                task,
                actor: "ada".into(),
                only_waiting: false,
            }
            .into(),
            3 => RetryTask {
                task,
                actor: "ada".into(),
                only_failed: false,
                role: Role::Operator,
            }
            .into(),
            4 => RunDue { limit: 10 }.into(),
            5 => Prune {
                tasks: store.prunable(0).await.unwrap().tasks,
            }
            .into(),
            _ => {
                let (bot, lease) = ("b".parse().unwrap(), LeaseToken::new());
                let claim = Claim {
                    task,
                    bot,
                    lease,
                    incarnation: 1,
                    expires_after: None,
                    stands_in_for: None,
                };
                let claimed = store.apply(ClaimTasks(vec![claim])).await.unwrap();
                let reports = claimed.tasks.iter().map(|claimed| AttemptReport {
                    task,
                    attempt: claimed.task.attempt,
                    lease,
                    end: ends[pick(ends.len())],
                    output: None,
                    output_bytes: None,
                    error: None,
                    exit_code: None,
                    execution_time_ms: 1,
                    tokens_used: None,
                    cost_cents: None,
                    failure_class: None,
                });
                FinishAttempts(reports.collect()).into()
            }
        };
        match store.execute(command).await {
            Ok(Reply::Submitted(done)) => ids.extend(done.tasks.iter().map(|task| task.id)),
            Ok(_) | Err(StoreError::Refused(_)) => {}
            Err(error) => panic!("{error}"),
        }
        let [kept, counted] = counted_twice(&db);
        assert_eq!(kept, counted, "after step {step}");
        let all: i64 = counted.iter().map(|row| row.1).sum();
        let kept_of_all = db.query_row(
            "SELECT coalesce(sum(waiting), 0) FROM submitters WHERE name = ''",
            [],
            |row| row.get::<_, i64>(0),
        );
        assert_eq!(kept_of_all.unwrap(), all, "after step {step}");
    }
    let mut counts = store.counts().await.unwrap();
    assert!(*counts.slot(TaskStatus::Queued) > 0 && ids.len() > 100);
    store.close().await;
}

/// A restore cuts a history off: cursors after the cut are reset and informed; cursors
/// before it read on.
#[tokio::test]
async fn cursor_in_a_cut_off_history_continues_at_the_fork() {
    const NAME: FollowerName = FollowerName("test");
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    let _serving = store.serve().unwrap();
    for _ in 0..3 {
        submit(&store, 10).await.unwrap();
    }
    let db = rusqlite::Connection::open(dir.path().join("deia.db")).unwrap();
    db.execute("INSERT INTO timelines VALUES (2, 3)", [])
        .unwrap();
    let at = |timeline, seq| Position { timeline, seq };
    let page = async |after| {
        let some = NonZero::new(100).unwrap();
        store.events_after(after, some, u64::MAX).await.unwrap()
    };
    let early = page(at(1, 1)).await;
    let read: Vec<_> = early
        .events
        .iter()
        .map(|it| (it.timeline, it.seq))
        .collect();
    assert_eq!((read, early.forked), (vec![(1, 2), (2, 3)], false));
    assert_eq!((early.next, early.head), (at(2, 3), at(2, 3)));
    let late = page(at(1, 3)).await;
    assert_eq!(
        (late.events, late.forked, late.next),
        (vec![], true, at(2, 2))
    );
    let advance = |from, to| Advance {
        follower: NAME,
        binding: false,
        from,
        to,
        effects: Vec::new(),
    };
    db.execute("INSERT INTO followers VALUES ('test', 1, 3, 0, 0)", [])
        .unwrap();
    drop(db);
    // Only the fork itself.
    for to in [at(1, 3), at(2, 3), at(3, 2)] {
        let refused = store.apply(advance(at(1, 3), to)).await;
        assert!(matches!(
            refused,
            Err(StoreError::Refused(Rejection::CursorMoved { .. }))
        ));
    }
    store.apply(advance(at(1, 3), at(2, 2))).await.unwrap();
    store.apply(advance(at(2, 2), at(2, 3))).await.unwrap();
    assert_eq!(store.cursor(NAME).await.unwrap(), at(2, 3));
    store.close().await;
}
