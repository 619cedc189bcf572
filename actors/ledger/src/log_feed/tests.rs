use std::time::Duration;

use deia_model::Timestamp;

use super::*;

/// Longest wait of a feed that nobody ships.
const WAIT: Duration = Duration::from_millis(10);

fn end(salt: u32, frames: u32) -> LogEnd {
    LogEnd {
        salts: [salt, 0],
        frames,
    }
}

fn commit(end: LogEnd, seq: u64, at: i64) -> LoggedCommit {
    LoggedCommit {
        end,
        seq,
        at: Timestamp::from_millis(at),
        noted: Instant::now(),
    }
}

fn waits(wait: Duration) -> FeedWaits {
    FeedWaits {
        checkpoint: wait,
        answer: wait,
    }
}

fn feed() -> LogFeed {
    let waits = waits(WAIT);
    LogFeed::new(Path::new("/nonexistent/deia.db"), waits)
}

#[test]
fn log_is_folded_only_when_all_of_it_is_shipped() {
    let feed = feed();
    assert!(feed.may_fold(FoldNeed::Due), "an empty log");
    feed.committed(commit(end(1, 5), 1, 1), 1);
    assert!(!feed.may_fold(FoldNeed::Due), "nobody ships");
    feed.note_shipped(end(1, 4), 0);
    assert!(!feed.may_fold(FoldNeed::Due));
    assert!(feed.look().is_urgent);
    feed.note_shipped(end(1, 5), 0);
    assert!(feed.may_fold(FoldNeed::Due) && !feed.look().is_urgent);
    // The log was restarted.
    feed.committed(commit(end(2, 3), 2, 2), 1);
    assert!(!feed.may_fold(FoldNeed::Due));
    assert_eq!(feed.look().losses, 0);
}

#[test]
fn waiting_ends_when_the_rest_is_shipped() {
    let feed = Arc::new(LogFeed::new(
        Path::new("/x.db"),
        waits(Duration::from_secs(60)),
    ));
    feed.committed(commit(end(1, 1), 1, 1), 1);
    feed.note_shipped(end(1, 1), 0);
    feed.committed(commit(end(1, 2), 1, 1), 1);
    let shipper = feed.clone();
    let shipping = std::thread::spawn(move || {
        shipper.wait_for_urgency(Duration::from_secs(60));
        shipper.note_shipped(end(1, 2), 0);
    });
    assert!(feed.may_fold(FoldNeed::Due));
    shipping.join().unwrap();
}

#[test]
fn log_that_was_folded_back_unshipped_is_counted() {
    let feed = feed();
    feed.committed(commit(end(1, 5), 1, 1), 1);
    feed.note_complete(0);
    feed.gave_up();
    let lost = feed.look();
    assert_eq!((lost.losses, lost.committed), (1, None));
    // A part of the log before, which a shipper has just written, says nothing any more.
    assert!(!feed.note_shipped(end(1, 5), 0));
    assert_eq!(feed.look().shipped, None);
    feed.answer_after_archive();
    assert!(
        !feed.is_archived(),
        "the archive has no snapshot after the loss"
    );
    // By another process.
    feed.committed(commit(end(2, 1), 2, 1), 1);
    feed.committed(commit(end(3, 1), 3, 1), 1);
    assert_eq!(feed.look().losses, 2);
}

#[test]
fn commit_whose_place_is_not_known_is_a_loss_and_safe_nowhere() {
    let feed = feed();
    feed.committed(commit(end(1, 5), 1, 1), 1);
    feed.note_shipped(end(1, 5), 0);
    feed.note_complete(0);
    feed.lost_sight();
    let lost = feed.look();
    assert_eq!((lost.losses, lost.is_known), (1, false));
    assert!(lost.unshipped_since.is_some() && !feed.may_fold(FoldNeed::Due));
    feed.answer_after_archive();
    assert!(!feed.is_archived());
    feed.committed(commit(end(1, 9), 2, 1), 1);
    assert!(feed.look().is_known);
}

#[test]
fn long_log_is_waited_for_as_long_as_it_is_shipped() {
    let feed = Arc::new(LogFeed::new(
        Path::new("/x.db"),
        waits(Duration::from_secs(60)),
    ));
    let frames = 10 * NEARLY_SHIPPED_FRAMES;
    feed.committed(commit(end(1, frames), 1, 1), 1);
    feed.note_shipped(end(1, 1), 0);
    assert!(!feed.may_fold(FoldNeed::Due), "too far");
    for need in [FoldNeed::Long, FoldNeed::TooLong] {
        feed.note_shipped(end(1, 1), 0);
        let shipper = feed.clone();
        let shipping = std::thread::spawn(move || {
            for n in 2..=10 {
                shipper.note_shipped(end(1, n * NEARLY_SHIPPED_FRAMES), 0);
            }
        });
        assert!(feed.may_fold(need), "{need:?}");
        shipping.join().unwrap();
    }
}

#[test]
fn long_log_is_not_waited_for_without_progress() {
    let feed = feed();
    feed.committed(commit(end(1, 9), 1, 1), 1);
    assert!(!feed.may_fold(FoldNeed::Long));
    assert!(!feed.may_fold(FoldNeed::TooLong));
    feed.note_failing();
    assert!(!feed.may_fold(FoldNeed::TooLong));
}

#[test]
fn commits_of_the_log_are_told_again_to_a_new_generation() {
    let feed = feed();
    for frames in [2, 5, 9] {
        feed.committed(commit(end(1, frames), u64::from(frames), 1), 1);
    }
    let seqs = |frames| -> Vec<u64> {
        let (commits, _) = feed.commits_upto(end(1, frames));
        commits.iter().map(|it| it.seq).collect()
    };
    assert_eq!(seqs(5), [2, 5]);
    assert_eq!(seqs(9), [9]);
    feed.begin_again();
    assert_eq!(seqs(9), [2, 5, 9]);
    feed.begin_again();
    feed.note_found(end(1, 5), 0);
    assert_eq!(seqs(9), [9]);
    // The writer opens the store again.
    for frames in [2, 5, 9] {
        feed.committed(commit(end(1, frames), u64::from(frames), 1), 1);
        assert_eq!(feed.look().committed, Some(end(1, 9)));
    }
    assert_eq!(seqs(9), [0; 0]);
    // The log was restarted.
    feed.note_shipped(end(1, 9), 0);
    feed.committed(commit(end(2, 1), 10, 1), 1);
    let (commits, _) = feed.commits_upto(end(2, 1));
    assert_eq!(commits.len(), 1);
}

#[test]
fn commits_are_taken_by_their_place_and_the_oldest_dates_the_exposure() {
    let feed = feed();
    let mut noted = Vec::new();
    for (frames, seq) in [(2, 10), (5, 11), (9, 12)] {
        noted.push(Instant::now());
        // The clock is set back meanwhile.
        feed.committed(commit(end(1, frames), seq, 100 - i64::from(frames)), 3);
    }
    let since = |feed: &LogFeed| feed.look().unshipped_since.unwrap();
    assert!(since(&feed) >= noted[0] && since(&feed) <= noted[1]);
    let (commits, timeline) = feed.commits_upto(end(1, 5));
    let seqs: Vec<_> = commits.iter().map(|it| it.seq).collect();
    assert_eq!((seqs, timeline), (vec![10, 11], 3));
    feed.note_shipped(end(1, 5), 0);
    assert!(since(&feed) >= noted[2]);
    feed.commits_upto(end(1, 9));
    feed.note_shipped(end(1, 9), 0);
    assert_eq!(feed.look().unshipped_since, None);
}

#[test]
fn answers_that_must_wait_are_late_until_the_archive_has_the_commit() {
    let feed = feed();
    feed.committed(commit(end(1, 1), 1, 1), 1);
    assert!(
        feed.admits() && feed.is_archived(),
        "async waits for nothing"
    );
    feed.answer_after_archive();
    assert!(feed.admits());
    assert!(!feed.is_archived() && !feed.admits());
    // The next one does not wait as well: callers would queue for hours.
    let began = Instant::now();
    for _ in 0..100 {
        assert!(!feed.is_archived());
    }
    assert!(began.elapsed() < 100 * WAIT / 2);
    feed.note_shipped(end(1, 1), 0);
    assert!(!feed.admits(), "there is no snapshot");
    feed.note_complete(0);
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
