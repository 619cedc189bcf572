use deia_ledger::ClaimedTask;
use deia_model::{LeaseToken, Task};

use super::*;

const LEASE: Duration = Duration::from_secs(30);

fn claimed(suspicions: u32) -> ClaimedTask {
    let task = Task {
        suspicions,
        attempt: 1,
        ..Task::sample()
    };
    ClaimedTask {
        task,
        bot: "b".parse().unwrap(),
        incarnation: 1,
        lease: LeaseToken::new(),
    }
}

fn put(attempts: &mut HeldAttempts, suspicions: u32, now: Instant) -> AttemptKey {
    let claimed = claimed(suspicions);
    let key = AttemptKey::of(&claimed);
    let held = OnTable {
        lease: claimed.lease,
        task: Some(Arc::new(claimed)),
        end: oneshot::channel().0,
        progress: Progress::told(),
        pieces: None,
        place: Place::Waiting(now),
        renewed: now,
        cancelled: None,
        began: now,
    };
    attempts.add_waiting(key, held);
    key
}

fn asker(worker: &str, request: &str) -> Asker {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Asker {
        worker: text(worker),
        request: text(request),
    }
}

fn keys(given: &[Arc<ClaimedTask>]) -> Vec<AttemptKey> {
    given
        .iter()
        .map(|claimed| AttemptKey::of(claimed))
        .collect()
}

#[test]
fn oldest_attempts_are_given_first_and_once() {
    let (mut attempts, now) = (HeldAttempts::default(), Instant::now());
    let all: Vec<_> = (0..3).map(|_| put(&mut attempts, 0, now)).collect();
    assert_eq!(keys(&attempts.give(&asker("w", ""), 2, now)), all[..2]);
    assert_eq!(keys(&attempts.give(&asker("w", ""), 2, now)), all[2..]);
    assert!(attempts.give(&asker("w", ""), 2, now).is_empty());
}

#[test]
fn repeated_request_is_given_the_same_attempts() {
    let (mut attempts, now) = (HeldAttempts::default(), Instant::now());
    let all: Vec<_> = (0..2).map(|_| put(&mut attempts, 0, now)).collect();
    attempts.give(&asker("w", "1"), 2, now);
    for (worker, request, expected) in [
        ("w", "1", &all[..]),
        ("w", "2", &[]),
        ("v", "1", &[]),
        ("w", "", &[]),
    ] {
        let given = attempts.given_before(&asker(worker, request));
        assert_eq!(keys(&given), expected, "{worker} {request}");
    }
    attempts.remove(all[0]);
    assert_eq!(keys(&attempts.given_before(&asker("w", "1"))), all[1..]);
}

#[test]
fn suspects_are_given_alone_to_an_idle_worker() {
    let (mut attempts, now) = (HeldAttempts::default(), Instant::now());
    let first = put(&mut attempts, 0, now);
    let suspect = put(&mut attempts, 1, now);
    let last = put(&mut attempts, 0, now);
    assert_eq!(keys(&attempts.give(&asker("w", ""), 9, now)), [first, last]);
    assert!(attempts.give(&asker("w", ""), 9, now).is_empty(), "busy");
    assert_eq!(keys(&attempts.give(&asker("v", ""), 9, now)), [suspect]);
}

#[test]
fn lost_attempts_end_by_what_their_worker_had() {
    let (mut attempts, now) = (HeldAttempts::default(), Instant::now());
    for _ in 0..3 {
        put(&mut attempts, 0, now);
    }
    attempts.give(&asker("two", ""), 2, now);
    attempts.give(&asker("one", ""), 1, now);
    let waiting = put(&mut attempts, 0, now + LEASE / 2);
    assert!(attempts.take_lost(LEASE, now + LEASE / 2).is_empty());
    let lost = attempts.take_lost(LEASE, now + LEASE);
    let mut ends: Vec<_> = lost
        .iter()
        .map(|(_, end)| match end {
            HeldEnd::Vanished { end, worker } => (worker.clone().unwrap(), *end),
            _ => panic!("another end"),
        })
        .collect();
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |worker: &str, end| (worker.to_owned(), end);
    assert_eq!(
        ends,
        [
            of("one", AttemptEnd::BotDied),
            of("two", AttemptEnd::Suspected),
            of("two", AttemptEnd::Suspected)
        ]
    );
    assert!(attempts.all.contains_key(&waiting));
    let lost = attempts.take_lost(LEASE, now + 2 * LEASE);
    assert!(matches!(lost[0].1, HeldEnd::NotFetched));
    assert!(attempts.all.is_empty() && attempts.waiting.is_empty());
}

#[test]
fn leases_are_renewed_after_a_third_of_the_time_while_the_worker_is_heard_of() {
    let (mut attempts, now) = (HeldAttempts::default(), Instant::now());
    let key = put(&mut attempts, 0, now);
    attempts.give(&asker("w", ""), 1, now);
    let hear = |attempts: &mut HeldAttempts, at: Instant| {
        if let Place::Out(out) = &mut attempts.all.get_mut(&key).unwrap().place {
            out.heard = at;
        }
    };
    let every = LEASE / 3;
    assert!(
        attempts.take_due(every, now + every).is_empty(),
        "not heard of"
    );
    hear(&mut attempts, now + every / 2);
    assert!(
        attempts.take_due(every, now + every / 2).is_empty(),
        "too early"
    );
    assert_eq!(attempts.take_due(every, now + every).len(), 1);
    assert!(attempts.take_due(every, now + 2 * every).is_empty());
    hear(&mut attempts, now + 2 * every);
    assert_eq!(attempts.take_due(every, now + 2 * every).len(), 1);
}

#[test]
fn nothing_is_left_of_attempts_that_end_in_any_place() {
    let (mut attempts, now) = (HeldAttempts::default(), Instant::now());
    let all: Vec<_> = (0..9).map(|_| put(&mut attempts, 0, now)).collect();
    assert_eq!(
        keys(&attempts.give(&asker("w", "1"), 2, now)),
        [all[0], all[1]]
    );
    assert_eq!(keys(&attempts.give(&asker("w", "2"), 1, now)), [all[2]]);
    assert_eq!(keys(&attempts.give(&asker("", ""), 1, now)), [all[3]]);
    // A waiting attempt in the middle ends.
    attempts.remove(all[5]);
    assert_eq!(
        keys(&attempts.give(&asker("v", "1"), 9, now)),
        [all[4], all[6], all[7], all[8]]
    );
    for (worker, count) in [("w", 3), ("v", 4), ("u", 0)] {
        assert_eq!(attempts.workers.count(worker), count, "{worker}");
    }
    for key in all {
        attempts.remove(key);
    }
    assert!(attempts.all.is_empty() && attempts.waiting.is_empty());
    assert_eq!(attempts.workers.len(), 0);
}

/// Counts what the polls of a worker visit while ten thousand attempts are at others.
#[test]
fn poll_among_many_attempts_visits_those_of_its_worker_only() {
    let (mut attempts, now) = (HeldAttempts::default(), Instant::now());
    for worker in 0..100 {
        for _ in 0..100 {
            put(&mut attempts, 0, now);
        }
        attempts.give(&asker(&format!("w-{worker}"), "1"), 100, now);
    }
    let mine = put(&mut attempts, 1, now);
    let me = asker("me", "1");
    assert_eq!(keys(&attempts.give(&me, 100, now)), [mine], "idle");
    assert_eq!(attempts.workers.answer(&me), [mine]);
    assert_eq!(attempts.workers.answer(&asker("w-7", "1")).len(), 100);
    let lost = attempts.take_lost(LEASE, now + LEASE);
    assert_eq!(lost.len(), 10_001);
    assert_eq!(attempts.workers.len(), 0);
}
