use std::time::Duration;

use deia_model::Timestamp;

use super::*;

fn end(salt: u32, frames: u32) -> LogEnd {
    LogEnd {
        salts: [salt, 0],
        frames,
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn waits(wait: Duration) -> FeedWaits {
    FeedWaits {
        checkpoint: wait,
        answer: wait,
    }
}

fn feed() -> LogFeed {
    let waits = waits(Duration::from_millis(10));
    LogFeed::new(Path::new("/nonexistent/deia.db"), waits)
}

#[test]
fn log_is_folded_only_when_all_of_it_is_shipped() {
    let feed = feed();
    assert!(feed.may_fold(), "an empty log");
    feed.committed(end(1, 5), 1, 1, at(1));
    assert!(!feed.may_fold(), "nobody ships");
    feed.note_shipped(end(1, 4));
    assert!(!feed.may_fold());
    assert!(feed.look().is_urgent);
    feed.note_shipped(end(1, 5));
    assert!(feed.may_fold() && !feed.look().is_urgent);
    // The log was restarted.
    feed.committed(end(2, 3), 2, 1, at(2));
    assert!(!feed.may_fold());
    assert_eq!(feed.look().losses, 0);
}

#[test]
fn waiting_ends_when_the_rest_is_shipped() {
    let feed = Arc::new(LogFeed::new(
        Path::new("/x.db"),
        waits(Duration::from_secs(60)),
    ));
    feed.committed(end(1, 1), 1, 1, at(1));
    feed.note_shipped(end(1, 1));
    feed.committed(end(1, 2), 1, 1, at(1));
    let shipper = feed.clone();
    let shipping = std::thread::spawn(move || {
        shipper.wait_for_urgency(Duration::from_secs(60));
        shipper.note_shipped(end(1, 2));
    });
    assert!(feed.may_fold());
    shipping.join().unwrap();
}

#[test]
fn log_that_was_folded_back_unshipped_is_counted() {
    let feed = feed();
    feed.committed(end(1, 5), 1, 1, at(1));
    feed.give_up();
    assert_eq!(feed.look().losses, 1);
    // By another process.
    feed.committed(end(2, 1), 2, 1, at(2));
    feed.committed(end(3, 1), 3, 1, at(3));
    assert!(feed.look().losses >= 2);
}

#[test]
fn commits_are_taken_by_their_place_and_the_oldest_dates_the_exposure() {
    let feed = feed();
    for (frames, seq) in [(2, 10), (5, 11), (9, 12)] {
        feed.committed(end(1, frames), seq, 3, at(i64::from(frames)));
    }
    assert_eq!(feed.look().unshipped_since, Some(at(2)));
    let (commits, timeline) = feed.commits_upto(end(1, 5));
    let seqs: Vec<_> = commits.iter().map(|it| it.seq).collect();
    assert_eq!((seqs, timeline), (vec![10, 11], 3));
    feed.note_shipped(end(1, 5));
    assert_eq!(feed.look().unshipped_since, Some(at(9)));
    feed.commits_upto(end(1, 9));
    feed.note_shipped(end(1, 9));
    assert_eq!(feed.look().unshipped_since, None);
}

#[test]
fn answers_that_must_wait_are_late_until_the_archive_has_the_commit() {
    let feed = feed();
    feed.committed(end(1, 1), 1, 1, at(1));
    assert!(
        feed.admits() && feed.is_archived(),
        "async waits for nothing"
    );
    feed.answer_after_archive();
    assert!(feed.admits());
    assert!(!feed.is_archived() && !feed.admits());
    feed.note_shipped(end(1, 1));
    assert!(!feed.admits(), "there is no snapshot");
    feed.note_complete();
    assert!(feed.admits() && feed.is_archived());
}

#[test]
fn database_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deia.db");
    std::fs::write(&path, "1").unwrap();
    let feed = LogFeed::new(&path, waits(Duration::ZERO));
    let file = feed.database_file().unwrap();
    let again = LogFeed::new(&path, waits(Duration::ZERO));
    let again = again.database_file().unwrap();
    assert!(Arc::ptr_eq(&file, &again));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "2").unwrap();
    assert!(!Arc::ptr_eq(&file, &feed.database_file().unwrap()));
}
