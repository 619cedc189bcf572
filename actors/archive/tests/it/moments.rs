//! Restores to moments, while the store is written, folded back and copied.

use std::collections::HashMap;

use deia_archive::{ArchiveError, PointKind, Target, prune, verify};
use proptest::prelude::*;

use crate::store::{HIVE, Store, at_time, before_event, change, event};

/// A step of a run.
#[derive(Clone, Copy, Debug)]
enum Step {
    Commit(u64),
    Ship,
    Copy,
    Fold,
    Truncate,
    Snapshot,
    Mark,
    Bundle,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_u64..10_000).prop_map(Step::Commit),
        5 => Just(Step::Ship),
        3 => Just(Step::Copy),
        2 => Just(Step::Fold),
        1 => Just(Step::Truncate),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Mark),
        1 => Just(Step::Bundle),
        1 => Just(Step::Resume),
    ]
}

/// Carries out the steps. Returns the state after each commit, by its number.
fn run(store: &mut Store, steps: &[Step]) -> HashMap<u64, u64> {
    let mut states = HashMap::new();
    let mut points = 0;
    for step in steps {
        match *step {
            Step::Commit(n) => {
                let state = store.commit(&change(n));
                states.insert(store.seq, state);
            }
            Step::Ship => store.ship(),
            Step::Copy => store.copy(),
            Step::Fold | Step::Truncate => {
                store.ship();
                store.fold(if matches!(step, Step::Fold) {
                    "PASSIVE"
                } else {
                    "TRUNCATE"
                });
            }
            Step::Snapshot => store.writer.as_mut().unwrap().begin_snapshot(),
            Step::Mark => {
                points += 1;
                store.ship();
                let id = format!("point_{points}");
                let writer = store.writer.as_ref().unwrap();
                let _ = writer.mark(&id, PointKind::Automatic, "");
            }
            Step::Bundle => store.try_bundle().unwrap(),
            Step::Resume => {
                let has_snapshot = !store.writer.as_ref().unwrap().is_first_copy();
                if has_snapshot {
                    store.resume().unwrap();
                }
            }
        }
    }
    states
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_commit_after_the_snapshot_is_restored_as_it_was(
        before in proptest::collection::vec(0_u64..10_000, 1..20),
        steps in proptest::collection::vec(step(), 1..50),
        piece in prop_oneof![Just(8_192_usize), Just(65_536), Just(1 << 20)],
    ) {
        let mut store = Store::new(piece);
        for n in before {
            store.commit(&change(n));
        }
        store.begin();
        let mut states = run(&mut store, &steps);
        store.finish_copy();
        for n in 0..5 {
            let state = store.commit(&change(n));
            states.insert(store.seq, state);
            store.ship();
        }
        let mut restored = 0;
        for (seq, state) in &states {
            for target in [event(*seq), at_time(*seq as i64 * 1_000 + 1), before_event(seq + 1)] {
                match store.restore(&target) {
                    Ok(found) => {
                        prop_assert_eq!(found, (*seq, *state), "{:?}", target);
                        restored += 1;
                    }
                    // Before the snapshot, or after the last event.
                    Err(ArchiveError::NoSuchPoint(_) | ArchiveError::Outside { .. }) => {}
                    Err(error) => panic!("{target:?}: {error}"),
                }
            }
        }
        prop_assert!(restored >= 9, "{restored} restores of {} commits", states.len());
        let newest = store.seq;
        prop_assert_eq!(store.restore(&Target::Newest).unwrap(), (newest, states[&newest]));
        for point in store.survey().points {
            let (seq, state) = store.restore(&Target::Point(point.id.clone())).unwrap();
            prop_assert_eq!(seq, point.seq);
            if let Some(expected) = states.get(&seq) {
                prop_assert_eq!(*expected, state);
            }
        }
        let verified = verify(&*store.storage, HIVE).unwrap();
        prop_assert_eq!(verified.faults, vec![]);
    }
}

#[test]
fn kept_points_are_restored_after_older_ones_were_removed() {
    let mut store = Store::new(16_384);
    store.begin();
    let mut states = HashMap::new();
    for n in 0..40 {
        let state = store.commit(&change(n));
        states.insert(store.seq, state);
        store.ship();
        if n % 10 == 0 {
            store.fold("TRUNCATE");
            store.writer.as_mut().unwrap().begin_snapshot();
        }
        if n % 5 == 4 {
            store.finish_copy();
            let id = format!("point_{n:03}");
            let writer = store.writer.as_mut().unwrap();
            writer.mark(&id, PointKind::Automatic, "").unwrap();
            store.try_bundle().unwrap();
        }
    }
    let before = store.survey();
    let current = store.writer.as_ref().unwrap().generation().to_owned();
    let cut = before.points[5].created_at;
    let removed = prune(&*store.storage, HIVE, cut, (&current, None), &|| true).unwrap();
    let after = store.survey();
    assert!(removed > 0 && after.bytes < before.bytes);
    for point in &after.points {
        let (seq, state) = store.restore(&Target::Point(point.id.clone())).unwrap();
        assert_eq!((seq, state), (point.seq, states[&seq]));
    }
    assert_eq!(verify(&*store.storage, HIVE).unwrap().faults, vec![]);
    store.resume().unwrap();
}
