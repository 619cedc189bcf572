//! Archives of several generations.

use std::fs;

use deia_archive::{
    ArchiveError, EventRef, GenerationWriter, Moment, PointKind, Target, plan, verify,
};

use crate::store::{HIVE, Store, at_time, before_event, change, event};

/// Returns a store with two generations, and the state that the first ends with.
fn two_generations() -> (Store, (u64, u64)) {
    let mut store = Store::new(65_536);
    store.begin();
    let state = store.commit(&change(3));
    store.finish_copy();
    let writer = store.writer.as_ref().unwrap();
    writer.mark("point_old", PointKind::Automatic, "").unwrap();
    let old = (store.seq, state);
    store.commit(&change(4));
    store.fold("TRUNCATE");
    store.commits.clear();
    store.begin();
    (store, old)
}

fn finish(store: &mut Store) -> (u64, u64) {
    let state = store.commit(&change(5));
    store.finish_copy();
    (store.seq, state)
}

fn snapshot_of(store: &Store) -> std::path::PathBuf {
    let id = store.writer.as_ref().unwrap().generation();
    let dir = store.archive().join(HIVE).join("generations").join(id);
    let mut snapshots = fs::read_dir(dir.join("snapshots")).unwrap();
    snapshots
        .next()
        .unwrap()
        .unwrap()
        .path()
        .join("snapshot.json")
}

#[test]
fn first_copy_that_never_ended_is_passed_over_and_told() {
    let (mut store, old) = two_generations();
    store.commit(&change(5));
    store.ship();
    let survey = store.survey();
    let found = plan(&*store.storage, HIVE, &survey, &Target::Newest).unwrap();
    assert!(
        found.notes[0].contains("no complete snapshot"),
        "{:?}",
        found.notes
    );
    assert_eq!(store.restore(&Target::Newest).unwrap(), old);
    assert_eq!(verify(&*store.storage, HIVE).unwrap().faults, vec![]);
}

#[test]
fn lost_snapshot_of_the_newest_generation_is_no_reason_to_restore_an_older_one() {
    for (has_point, is_removed) in [(true, true), (true, false), (false, true), (false, false)] {
        let (mut store, _) = two_generations();
        let newest = finish(&mut store);
        store.commit(&change(6));
        store.ship();
        if has_point {
            let writer = store.writer.as_ref().unwrap();
            writer.mark("point_new", PointKind::Automatic, "").unwrap();
        }
        let file = snapshot_of(&store);
        match is_removed {
            true => fs::remove_file(&file).unwrap(),
            false => fs::write(&file, "{}").unwrap(),
        }
        let later = at_time(i64::MAX);
        for target in [Target::Newest, later, event(newest.0)] {
            let error = store.restore(&target).unwrap_err();
            assert!(
                matches!(error, ArchiveError::Damaged { .. }),
                "{target:?}: {error}"
            );
        }
        let verified = verify(&*store.storage, HIVE).unwrap();
        let named = verified
            .faults
            .iter()
            .any(|it| it.place.contains("snapshots"));
        assert!(named, "{has_point} {is_removed}: {:?}", verified.faults);
    }
}

#[test]
fn newest_generation_is_that_with_the_greatest_number() {
    let (mut store, _) = two_generations();
    let newest = finish(&mut store);
    let ids: Vec<_> = fs::read_dir(store.archive().join(HIVE).join("generations"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let current = store.writer.as_ref().unwrap().generation().to_owned();
    assert!(current.starts_with("gen-00000002-"), "{current}");
    assert!(ids.iter().all(|id| *id <= current), "{ids:?}");
    assert_eq!(store.restore(&Target::Newest).unwrap(), newest);
}

#[test]
fn archive_that_two_hives_wrote_is_restored_by_an_explicit_choice_only() {
    let mut store = Store::new(65_536);
    store.begin();
    store.finish_copy_of(&change(3));
    let first = store.writer.take().unwrap();
    // A copy of the data directory begins its own generation, and the first one goes on.
    let mut needs = store.needs();
    needs.instance = "a copy".into();
    let database = fs::File::open(store.dir.path().join("a.db")).unwrap();
    store.writer = Some(GenerationWriter::begin(needs, &database, "a copy").unwrap());
    let state = store.commit(&change(4));
    store.commits_of_all();
    store.finish_copy();
    let truth = (store.seq, state);
    let writer = store.writer.as_ref().unwrap();
    writer.mark("point_copy", PointKind::Automatic, "").unwrap();
    assert_eq!(store.restore(&Target::Newest).unwrap(), truth);
    store.writer = Some(first);
    store.commits_of_all();
    store.ship();
    for target in [Target::Newest, at_time(i64::MAX), event(1)] {
        let error = store.restore(&target).unwrap_err();
        assert!(matches!(error, ArchiveError::Forked { .. }), "{error}");
    }
    let chosen = Target::Point("point_copy".into());
    assert_eq!(store.restore(&chosen).unwrap(), truth);
}

#[test]
fn moment_is_found_by_the_order_of_commits_when_the_clock_jumped() {
    let mut store = Store::new(65_536);
    store.begin();
    store.finish_copy_of(&change(3));
    let mut states = Vec::new();
    // The clock jumps ahead for a while, and is set back.
    for at in [10_000, 99_000, 99_001, 12_000, 13_000] {
        store.clock = Some(at);
        let state = store.commit(&change(3));
        states.push((store.seq, state));
        if at != 99_000 {
            store.ship();
        }
    }
    for (at, expected) in [(11_000, 0), (12_500, 3), (20_000, 4), (100_000, 4)] {
        let found = store.restore(&at_time(at)).unwrap();
        assert_eq!(found, states[expected], "{at}");
    }
    let writer = store.writer.as_ref().unwrap();
    let point = writer.mark("point_a", PointKind::Automatic, "").unwrap();
    let after = |at| Target::After {
        point: point.id.clone(),
        moment: Moment::At(at),
    };
    assert_eq!(store.restore(&after(20_000)).unwrap(), states[4]);
    let error = store.restore(&after(12_999)).unwrap_err();
    assert!(
        error.to_string().contains("before the restore point"),
        "{error}"
    );
}

#[test]
fn part_whose_end_is_no_known_commit_says_so() {
    let mut store = Store::new(65_536);
    store.begin();
    store.finish_copy_of(&change(3));
    let known = store.commit(&change(3));
    store.ship();
    let known = (store.seq, known);
    // An earlier run of the store made this commit, and nobody knows its number.
    let state = store.commit(&change(4));
    store.commits.clear();
    store.ship();
    let survey = store.survey();
    let newest = plan(&*store.storage, HIVE, &survey, &Target::Newest).unwrap();
    assert!(!newest.is_known);
    assert_eq!(store.restore(&Target::Newest).unwrap(), (known.0, state));
    let writer = store.writer.as_ref().unwrap();
    let refused = writer.mark("point_a", PointKind::Automatic, "");
    assert!(matches!(refused, Err(ArchiveError::NoSuchPoint(_))));
    store.commit(&change(4));
    store.ship();
    let before = before_event(known.0 + 1);
    assert_eq!(store.restore(&before).unwrap(), known);
}

#[test]
fn event_of_another_history_is_refused_and_the_extent_is_named() {
    let mut store = Store::new(65_536);
    store.begin();
    let mut states = Vec::new();
    for _ in 0..2 {
        store.finish_copy_of(&change(3));
    }
    for n in 0..4 {
        let state = store.commit(&change(n));
        states.push((store.seq, state));
        store.ship();
    }
    // A restore has ended the first history before its last two events.
    let fork = states[1];
    store.seq = fork.0;
    store.timeline = 2;
    store.fold("TRUNCATE");
    store.begin();
    store.finish_copy_of(&change(3));
    store.commit(&change(3));
    let newest = store.commit(&change(3));
    let newest = (store.seq, newest);
    store.ship();
    let of = |timeline, seq| EventRef {
        timeline: Some(timeline),
        seq,
    };
    assert_eq!(store.restore(&event(of(2, newest.0))).unwrap(), newest);
    assert_eq!(store.restore(&event(newest.0)).unwrap(), newest);
    // The number is in both histories.
    assert_eq!(
        store.restore(&event(of(1, states[3].0))).unwrap(),
        states[3]
    );
    assert_eq!(
        store.restore(&before_event(of(1, fork.0 + 1))).unwrap(),
        fork
    );
    // The second history has no such event, and the first has one of that number.
    for (target, other) in [(event(fork.0), "1."), (event(of(3, newest.0)), "2.")] {
        let error = store.restore(&target).unwrap_err();
        assert!(matches!(error, ArchiveError::Outside { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("has event {other}")), "{text}");
    }
    let error = store.restore(&event(999)).unwrap_err().to_string();
    let extent = format!("it has events 1.1 to 2.{}", newest.0);
    assert!(error.contains(&extent), "{error}");
}
