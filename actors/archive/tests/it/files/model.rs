//! Random changes of files, points, generations and removals, beside a model.

use std::fs;

use deia_archive::{Change, prune, verify};
use proptest::prelude::*;

use super::{Shelf, State};
use crate::store::HIVE;

/// A step of a run, with a file or a place in time.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize, usize),
    Append(usize, usize),
    Poke(usize, usize),
    Cut(usize, usize),
    Remove(usize),
    Point,
    Open,
    Base,
    Begin,
    Prune(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..7_usize;
    prop_oneof![
        4 => (file.clone(), 0..50_000_usize).prop_map(|(f, n)| Step::Write(f, n)),
        6 => (file.clone(), 0..30_000_usize).prop_map(|(f, n)| Step::Append(f, n)),
        2 => (file.clone(), 0..90_000_usize).prop_map(|(f, n)| Step::Poke(f, n)),
        2 => (file.clone(), 0..90_000_usize).prop_map(|(f, n)| Step::Cut(f, n)),
        3 => file.prop_map(Step::Remove),
        5 => Just(Step::Point),
        1 => Just(Step::Open),
        2 => Just(Step::Base),
        1 => Just(Step::Begin),
        2 => (0..30_usize).prop_map(Step::Prune),
    ]
}

/// Removes everything that points before the one at that place need, and compares the others.
fn prune_and_compare(shelf: &Shelf, truth: &mut Vec<(String, State)>, at: usize) {
    let storage = &*shelf.store.storage;
    let points = shelf.store.survey().points;
    let Some(point) = points.get(at) else { return };
    let current = shelf.store.writer.as_ref().unwrap().generation().to_owned();
    prune(storage, HIVE, point.created_at, (&current, None), &|| true).unwrap();
    let left = shelf.store.survey().points;
    truth.retain(|(id, _)| left.iter().any(|it| it.id == *id));
    assert_eq!(truth.len(), left.len());
    compare(shelf, truth);
}

fn compare(shelf: &Shelf, truth: &[(String, State)]) {
    for (id, state) in truth {
        let found = shelf.of_point(id).unwrap();
        assert!(
            found == *state,
            "{id}: {:?} {:?}",
            found.keys(),
            state.keys()
        );
    }
    let verified = verify(&*shelf.store.storage, HIVE).unwrap();
    assert_eq!(verified.faults, []);
}

fn run(steps: Vec<Step>) {
    const NAMES: [&str; 7] = [
        "o/a",
        "o/1/1",
        "o/1/2",
        "o/1/1.removed",
        "o/2/1",
        "o/headed",
        "o/b",
    ];
    let mut shelf = Shelf::new(32_768);
    let mut truth = vec![(shelf.point(), shelf.state())];
    let mut seed = 1_u8;
    for step in steps {
        let (Step::Write(f, n) | Step::Append(f, n) | Step::Poke(f, n) | Step::Cut(f, n)) = step
        else {
            match step {
                Step::Remove(f) => {
                    let name = if f == 6 { "o/1" } else { NAMES[f] };
                    let path = shelf.path(name);
                    let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
                    shelf.changed(name, Change::Rewritten);
                }
                Step::Point => {
                    shelf.ship_files();
                    // Two points of the same millisecond are not told apart by their age.
                    while shelf.store.survey().points.last().unwrap().created_at >= now() {}
                    truth.push((shelf.point(), shelf.state()));
                }
                Step::Open => {
                    shelf.ship_files();
                    shelf.open();
                }
                Step::Base => {
                    shelf.ship_files();
                    shelf.base();
                }
                Step::Begin => {
                    shelf.ship_files();
                    shelf.store.ship();
                    shelf.begin();
                }
                Step::Prune(at) => {
                    shelf.ship_files();
                    prune_and_compare(&shelf, &mut truth, at);
                }
                _ => unreachable!(),
            }
            continue;
        };
        seed = seed.wrapping_mul(31).wrapping_add(7);
        let path = shelf.path(NAMES[f]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut content = fs::read(&path).unwrap_or_default();
        let how = match step {
            Step::Write(..) => {
                content = vec![seed; n];
                Change::Rewritten
            }
            Step::Append(..) => {
                content.extend((0..n).map(|i| seed.wrapping_add((i / 7) as u8)));
                if NAMES[f] == "o/headed" && content.len() > 4 {
                    content[1] = seed;
                }
                Change::Grown
            }
            Step::Poke(..) => {
                if let Some(byte) = content.get_mut(n) {
                    *byte ^= 0x55;
                }
                Change::Rewritten
            }
            _ => {
                content.truncate(n);
                Change::Rewritten
            }
        };
        fs::write(&path, content).unwrap();
        shelf.changed(NAMES[f], how);
    }
    shelf.ship_files();
    truth.push((shelf.point(), shelf.state()));
    compare(&shelf, &truth);
    assert_nothing_is_left(&mut shelf, &mut truth);
}

/// Makes every file part but those of the newest files outdated, and checks that no byte of another
/// file stays.
fn assert_nothing_is_left(shelf: &mut Shelf, truth: &mut Vec<(String, State)>) {
    shelf.begin();
    shelf.base();
    while shelf.store.survey().points.last().unwrap().created_at >= now() {}
    truth.push((shelf.point(), shelf.state()));
    let current = shelf.store.writer.as_ref().unwrap().generation().to_owned();
    // A generation goes once the snapshot after it is past its retention; one run removes few
    // points, and the files of a generation go after it.
    let far = now() + 1_000_000;
    for _ in 0..truth.len() / 8 + 3 {
        prune(&*shelf.store.storage, HIVE, far, (&current, None), &|| true).unwrap();
    }
    let newest = truth.pop().unwrap();
    compare(shelf, &[newest]);
    let parts = shelf.store.storage.list("hive-test/files/").unwrap();
    let live: u64 = shelf.state().values().map(|it| it.0.len() as u64).sum();
    let pieces = usize::try_from(live / 32_768).unwrap() + shelf.state().len() * 2;
    assert!(parts.len() <= pieces + 8, "{} of {live} bytes", parts.len());
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn kept_points_are_restored_whatever_was_removed(steps in prop::collection::vec(step(), 10..60)) {
        run(steps);
    }
}
