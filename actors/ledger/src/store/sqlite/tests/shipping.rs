//! The log as its shipper is told of it.

use std::{path::Path, time::Duration};

use super::{options, submit};
use crate::{
    CommandLog as _, FeedWaits, LogFeed, LoggedCommit, StoreError,
    store::sqlite::{SqliteOptions, SqliteStore, connection},
    testing::until,
};

fn feed(database: &Path) -> std::sync::Arc<LogFeed> {
    let waits = FeedWaits {
        checkpoint: Duration::from_millis(10),
        answer: Duration::from_millis(100),
    };
    std::sync::Arc::new(LogFeed::new(database, waits))
}

fn shipped_by(feed: &std::sync::Arc<LogFeed>, options: SqliteOptions) -> SqliteOptions {
    SqliteOptions {
        shipping: Some(feed.clone()),
        ..options
    }
}

/// Returns place, number and time of the commits that a shipper would take.
fn commits(feed: &LogFeed) -> Vec<(u32, u64, i64)> {
    let end = feed.look().committed.unwrap();
    let (commits, _) = feed.commits_upto(end);
    let told = |it: &LoggedCommit| (it.end.frames, it.seq, it.at.as_millis());
    commits.iter().map(told).collect()
}

#[tokio::test]
async fn commits_of_an_earlier_run_are_known_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deia.db");
    let first = feed(&path);
    let store = SqliteStore::open(shipped_by(&first, options(dir.path()))).unwrap();
    let serving = store.serve().unwrap();
    for _ in 0..5 {
        submit(&store, 10).await.unwrap();
    }
    let told = commits(&first);
    drop(serving);
    store.close().await;
    let again = feed(&path);
    let store = SqliteStore::open(shipped_by(&again, options(dir.path()))).unwrap();
    let _serving = store.serve().unwrap();
    until("the log is noted", async || again.look().is_known).await;
    let found = commits(&again);
    // Commits of the close and of the open may follow.
    assert!(told.len() >= 5, "{told:?}");
    assert_eq!(found[..told.len()], told[..]);
}

#[tokio::test]
async fn reader_that_holds_a_log_which_is_not_shipped_costs_no_generation() {
    let dir = tempfile::tempdir().unwrap();
    let feed = feed(&dir.path().join("deia.db"));
    let limited = SqliteOptions {
        wal_max_bytes: 2 << 20,
        ..options(dir.path())
    };
    let store = SqliteStore::open(shipped_by(&feed, limited)).unwrap();
    let _serving = store.serve().unwrap();
    submit(&store, 10).await.unwrap();
    let reader = connection::readable(&dir.path().join("deia.db")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM tasks")
        .unwrap();
    for _ in 0..2 {
        let refused = loop {
            if let Err(error) = submit(&store, 100_000).await {
                break error;
            }
        };
        assert!(matches!(refused, StoreError::Busy), "{refused}");
        // Sleeps: the writer looks again after 100 ms.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(feed.look().losses, 0);
    reader.execute_batch("COMMIT").unwrap();
    until("the log is short", async || {
        submit(&store, 10).await.is_ok()
    })
    .await;
    assert_eq!(feed.look().losses, 1);
}

#[tokio::test]
async fn log_that_cannot_be_opened_is_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let feed = feed(&dir.path().join("elsewhere/deia.db"));
    feed.answer_after_archive();
    let store = SqliteStore::open(shipped_by(&feed, options(dir.path()))).unwrap();
    let _serving = store.serve().unwrap();
    let answer = submit(&store, 10).await;
    assert!(
        matches!(answer, Err(StoreError::Unknown | StoreError::Unarchived)),
        "{answer:?}"
    );
    let lost = feed.look();
    assert!(lost.losses > 0 && !lost.is_known, "{lost:?}");
}
