//! Power loss: acknowledged commands survive, whatever happened to the writes that were
//! not synced. `kill -9` keeps the page cache and proves less.
//!
//! The store runs on a VFS that records a diary (`vfs`); from it the files are made as
//! a power loss at any point leaves them (`disk`), and a store is opened on them. Files
//! of outputs do not go through SQLite: they are not covered here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "power_loss/disk.rs"]
mod disk;
#[path = "power_loss/vfs.rs"]
mod vfs;

use std::{path::Path, sync::Mutex, time::SystemTime};

use deia_ledger::{
    Advance, Apply, AttemptReport, Claim, ClaimTasks, Claimed, CommandLog, Effect, EventReads,
    FinishAttempts, FollowerName, MarkRunning, PauseQueue, SchedulerReads, StatisticsRow,
    StoreError, Submission, Submit, TaskReads,
    store::{SqliteOptions, SqliteStore},
};
use deia_model::{AttemptEnd, LeaseToken, NewTask, Position, TaskId, TaskStatus};
use disk::{Draws, Syncs, Unsynced, after_loss, put};
use vfs::{Diary, Op, Shared};

fn options(dir: &Path) -> SqliteOptions {
    SqliteOptions {
        readers: 1,
        // Checkpoints come often.
        checkpoint_pages: 12,
        reserve_bytes: 0,
        ..SqliteOptions::for_tests(dir)
    }
}

const FOLLOWER: FollowerName = FollowerName("counter");

/// An answer that a caller got.
#[derive(Clone, Debug)]
enum Promise {
    /// The task exists, with at least this progress.
    Task(TaskId, TaskStatus),
    /// The queue is paused.
    Paused,
    /// The event log has at least this length.
    Events(u64),
    /// The follower has processed this event.
    TakenIn(u64),
}

/// A store whose writes and answers are recorded in a diary.
struct Recorded {
    store: SqliteStore,
    diary: Shared,
    promises: Mutex<Vec<Promise>>,
}

impl Recorded {
    fn open(dir: &Path, diary: Shared) -> Self {
        let store = SqliteStore::open(options(dir)).unwrap();
        // The diary ends with the store.
        drop(store.serve().unwrap());
        let promises = Mutex::default();
        Self {
            store,
            diary,
            promises,
        }
    }

    fn promise(&self, made: impl IntoIterator<Item = Promise>) {
        let mut promises = self.promises.lock().unwrap();
        promises.extend(made);
        let mark = Op::Mark(promises.len());
        self.diary.lock().unwrap().ops.push(mark);
    }

    async fn submit(&self, contents: &[String]) -> Result<Vec<TaskId>, StoreError> {
        let new = |content: &String| NewTask::new("general".parse().unwrap(), content.clone());
        let submit = Submit {
            tasks: contents.iter().map(new).collect(),
            submitter: "ada".into(),
            role: deia_model::Role::Operator,
            idempotency: None,
        };
        let Submission { tasks, .. } = self.store.apply(submit).await?;
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        self.promise(ids.iter().map(|id| Promise::Task(*id, TaskStatus::Queued)));
        Ok(ids)
    }

    /// Runs the task to a successful end.
    async fn complete(&self, task: TaskId) {
        let claim = Claim {
            task,
            bot: "b".parse().unwrap(),
            lease: LeaseToken::new(),
            incarnation: 1,
            expires_after: None,
            stands_in_for: None,
        };
        let claim = self.store.apply(ClaimTasks(vec![claim])).await.unwrap();
        let Claimed { tasks, .. } = claim;
        self.promise([Promise::Task(task, TaskStatus::Running)]);
        let report = AttemptReport {
            task,
            attempt: tasks[0].task.attempt,
            lease: tasks[0].lease,
            end: AttemptEnd::Succeeded,
            output: Some("done".into()),
            output_bytes: None,
            error: None,
            exit_code: Some(0),
            execution_time_ms: 1,
            tokens_used: None,
            cost_cents: None,
            failure_class: None,
        };
        let finish = FinishAttempts(vec![report]);
        self.store.apply(finish).await.unwrap();
        self.promise([Promise::Task(task, TaskStatus::Completed)]);
    }

    async fn pause(&self) {
        let pause = PauseQueue {
            task_type: None,
            actor: "ada".into(),
            reason: None,
        };
        self.store.apply(pause).await.unwrap();
        let events = self.store.last_event_seq().await.unwrap();
        self.promise([Promise::Paused, Promise::Events(events)]);
    }

    /// Lets a follower process all events, in two steps, and count each once.
    async fn follow(&self) {
        for part in [2, 1] {
            let from = self.store.cursor(FOLLOWER).await.unwrap();
            let head = self.store.last_event_seq().await.unwrap();
            let to = Position {
                seq: from.seq + (head - from.seq) / part,
                ..from
            };
            let counted = StatisticsRow {
                task_type: "general".into(),
                completed: to.seq - from.seq,
                ..StatisticsRow::default()
            };
            let advance = Advance {
                follower: FOLLOWER,
                binding: false,
                from,
                to,
                effects: vec![Effect::Statistics {
                    rows: vec![counted],
                    keep_from: 0,
                }],
            };
            self.store.apply(advance).await.unwrap();
            self.promise([Promise::TakenIn(to.seq)]);
        }
    }

    async fn close(self) -> (Diary, Vec<Promise>) {
        self.store.close().await;
        drop(self.store);
        let diary = std::mem::take(&mut *self.diary.lock().unwrap());
        (diary, self.promises.into_inner().unwrap())
    }
}

/// Returns the number of promises made before that operation.
fn promised(diary: &Diary, until: usize) -> usize {
    let marks = diary.ops[..until].iter().rev();
    let mut last = marks.filter_map(|op| match op {
        Op::Mark(n) => Some(*n),
        _ => None,
    });
    last.next().unwrap_or(0)
}

/// Opens a store on the remaining files and checks the promises; returns why it breaks
/// them.
async fn verify(dir: &Path, promises: &[Promise]) -> Result<(), String> {
    let path = dir.join("deia.db");
    let store = SqliteStore::open(options(dir)).map_err(|error| error.to_string())?;
    let db = rusqlite::Connection::open(path).map_err(|error| error.to_string())?;
    let whole: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    if whole != "ok" {
        return Err(whole);
    }
    let (events, last, miscounted): (u64, u64, u64) = db
        .query_row(
            "SELECT (SELECT count(*) FROM events), (SELECT coalesce(max(seq), 0) FROM events),
                    (SELECT count(*) FROM (SELECT type, priority, status, count(*) n FROM tasks GROUP BY 1, 2, 3)
                     NATURAL LEFT JOIN (SELECT type, priority, status, n AS counted FROM task_counts)
                     WHERE n IS NOT counted)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(|error| error.to_string())?;
    if events != last || miscounted > 0 {
        return Err(format!(
            "{events} events up to {last}, {miscounted} counters wrong"
        ));
    }
    let cursor = store
        .cursor(FOLLOWER)
        .await
        .map_err(|error| error.to_string())?;
    let statistics = store
        .statistics(0)
        .await
        .map_err(|error| error.to_string())?;
    let counted: u64 = statistics.by_type.values().map(|row| row.completed).sum();
    if counted != cursor.seq {
        return Err(format!(
            "{counted} events are counted, and the cursor is at {cursor}"
        ));
    }
    for promise in promises {
        let kept = match promise {
            Promise::Task(id, least) => {
                let task = store.task(*id).await.map_err(|error| error.to_string())?;
                task.is_some_and(|task| task.status as u8 >= *least as u8 && task.content.is_some())
            }
            Promise::Paused => !store.pauses().await.unwrap_or_default().is_empty(),
            Promise::Events(n) => last >= *n,
            Promise::TakenIn(n) => cursor.seq >= *n,
        };
        if !kept {
            return Err(format!("lost: {promise:?}"));
        }
    }
    Ok(())
}

/// Simulates a power loss just before operation `until`.
async fn lose_power(
    diary: &Diary,
    promises: &[Promise],
    until: usize,
    how: (Unsynced, Syncs),
    seed: u64,
) -> Result<(), String> {
    let left = after_loss(diary, until, how, &mut Draws(seed));
    let dir = tempfile::tempdir().unwrap();
    put(&left, dir.path());
    let promises = &promises[..promised(diary, until)];
    let broken = verify(dir.path(), promises).await;
    broken.map_err(|why| {
        format!(
            "power loss before operation {until} of {}, {how:?}, seed {seed}: {why}",
            diary.ops.len()
        )
    })
}

/// A short workload of every kind, with readers that delay a checkpoint, and a store
/// that is closed and opened again.
async fn small_workload(dir: &Path) -> (Diary, Vec<Promise>) {
    let diary = Diary::of(dir);
    let hive = Recorded::open(dir, diary.clone());
    hive.store.apply(MarkRunning(true)).await.unwrap();
    let small = |n: usize| format!("task {n}");
    let first = hive.submit(&[small(0), small(1)]).await.unwrap();
    hive.complete(first[0]).await;
    hive.follow().await;
    let reader = rusqlite::Connection::open(dir.join("deia.db")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM tasks")
        .unwrap();
    let large = hive.submit(&["x".repeat(30_000)]).await.unwrap();
    hive.submit(&[small(2), small(3), small(4)]).await.unwrap();
    reader.execute_batch("COMMIT").unwrap();
    drop(reader);
    hive.complete(large[0]).await;
    hive.pause().await;
    hive.store.close().await;
    // The next run of the same process.
    drop(hive.store.serve().unwrap());
    hive.submit(&[small(5)]).await.unwrap();
    hive.follow().await;
    hive.close().await
}

#[tokio::test]
async fn acknowledged_commands_survive_a_power_loss_at_every_point() {
    let dir = tempfile::tempdir().unwrap();
    let (diary, promises) = small_workload(dir.path()).await;
    let syncs = diary.ops.iter().filter(|op| matches!(op, Op::Sync(_)));
    assert!(syncs.count() > 20, "the diary was not kept");
    assert!(diary.files.iter().any(|file| file == "deia.db-wal"));
    let random = (Unsynced::Random, Syncs::Kept);
    for until in 0..=diary.ops.len() {
        let lost = (Unsynced::Lost, Syncs::Kept);
        lose_power(&diary, &promises, until, lost, 0).await.unwrap();
        for variant in 0..3 {
            let seed = (until * 3 + variant) as u64;
            lose_power(&diary, &promises, until, random, seed)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn without_syncs_the_same_test_finds_loss() {
    let dir = tempfile::tempdir().unwrap();
    let (diary, promises) = small_workload(dir.path()).await;
    let mut losses = 0;
    // The first operations make the tables: before them there is nothing to lose.
    let points: Vec<usize> = (diary.ops.len() / 2..=diary.ops.len())
        .step_by(25)
        .collect();
    for until in &points {
        let ignored = (Unsynced::Random, Syncs::Ignored);
        let kept = lose_power(&diary, &promises, *until, ignored, *until as u64).await;
        losses += usize::from(kept.is_err());
    }
    assert!(losses > points.len() / 2, "{losses} of {}", points.len());
}

#[tokio::test]
async fn acknowledged_commands_survive_a_power_loss_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let hive = Recorded::open(dir.path(), Diary::of(dir.path()));
    let client = async |n: usize| {
        for i in 0..12 {
            let size = [10, 300, 9_000][(n + i) % 3];
            let ids = hive
                .submit(&vec!["x".repeat(size); 1 + i % 3])
                .await
                .unwrap();
            if i % 2 == 0 {
                hive.complete(ids[0]).await;
            }
            if n == 0 {
                hive.follow().await;
            }
        }
    };
    futures_util::future::join_all((0..8).map(client)).await;
    let (diary, promises) = hive.close().await;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let seed = u64::try_from(now).unwrap();
    let mut draws = Draws(seed);
    for _ in 0..150 {
        let until = usize::try_from(draws.below(diary.ops.len() as u64 + 1)).unwrap();
        let how = (Unsynced::Random, Syncs::Kept);
        let seed = draws.below(u64::from(u32::MAX));
        lose_power(&diary, &promises, until, how, seed)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_failed_sync_of_a_checkpoint_ends_the_process_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let diary = Diary::of(dir.path());
    let store = SqliteStore::open(options(dir.path())).unwrap();
    let ended = store.serve().unwrap();
    let hive = Recorded {
        store,
        diary: diary.clone(),
        promises: Mutex::default(),
    };
    hive.submit(&["before".into()]).await.unwrap();
    diary.lock().unwrap().failing_sync = Some("deia.db");
    let mut written = 0;
    while hive.submit(&["x".repeat(5_000)]).await.is_ok() {
        written += 1;
        assert!(written < 1_000, "checkpoints fail and it goes on");
    }
    let reason = ended.await;
    assert!(reason.contains("could not be synced"), "{reason}");
    // No other writer of this process may continue with the log's index.
    diary.lock().unwrap().failing_sync = None;
    match hive.store.serve() {
        Err(StoreError::Failed(why)) => assert_eq!(why, reason),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it serves again"),
    }
    let (diary, promises) = hive.close().await;
    for seed in 0..20 {
        let how = (Unsynced::Random, Syncs::Kept);
        lose_power(&diary, &promises, diary.ops.len(), how, seed)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn commit_whose_sync_fails_is_reported_as_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let diary = Diary::of(dir.path());
    let store = SqliteStore::open(SqliteOptions {
        // A checkpoint would sync the log as well, and fail before the commit is begun.
        checkpoint_pages: 100_000,
        ..options(dir.path())
    })
    .unwrap();
    let ended = store.serve().unwrap();
    let hive = Recorded {
        store,
        diary: diary.clone(),
        promises: Mutex::default(),
    };
    hive.submit(&["before".into()]).await.unwrap();
    diary.lock().unwrap().failing_sync = Some("deia.db-wal");
    let told = hive.submit(&["during".into()]).await;
    assert!(matches!(told, Err(StoreError::Unknown)), "{told:?}");
    let reason = ended.await;
    assert!(reason.contains("the store failed"), "{reason}");
    let after = hive.submit(&["after".into()]).await;
    assert!(matches!(after, Err(StoreError::Closed)), "{after:?}");
    diary.lock().unwrap().failing_sync = None;
    let (diary, promises) = hive.close().await;
    for seed in 0..20 {
        let how = (Unsynced::Random, Syncs::Kept);
        lose_power(&diary, &promises, diary.ops.len(), how, seed)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn store_being_created_survives_a_power_loss_at_every_point() {
    let dir = tempfile::tempdir().unwrap();
    let hive = Recorded::open(dir.path(), Diary::of(dir.path()));
    hive.submit(&["x".into()]).await.unwrap();
    let (diary, promises) = hive.close().await;
    let mut broken = Vec::new();
    for until in 0..=diary.ops.len().min(60) {
        for seed in 0..30 {
            let how = (Unsynced::Random, Syncs::Kept);
            if let Err(why) = lose_power(&diary, &promises, until, how, seed).await {
                broken.push((until, seed, why));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "{} losses of {} left no store: {:?}",
        broken.len(),
        61 * 30,
        broken.first()
    );
}
