//! Objects that were flipped, cut, removed or swapped are named, and never restored from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use deia_archive::{ArchiveError, PointKind, Target, verify};

use crate::store::{HIVE, Store, change, event};

pub(crate) fn files(dir: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns an archive with two generations, the newer one of which has two snapshots, bundles,
/// single parts and points.
fn store() -> Store {
    let mut store = Store::new(32_768);
    store.begin();
    store.finish_copy_of(&change(3));
    let writer = store.writer.as_ref().unwrap();
    writer.mark("point_old", PointKind::Automatic, "").unwrap();
    store.commit(&change(2));
    store.fold("TRUNCATE");
    store.commits.clear();
    store.begin();
    store.commit(&change(4));
    store.finish_copy();
    for n in 0..6 {
        store.commit(&change(n));
        store.ship();
    }
    store.try_bundle().unwrap();
    let writer = store.writer.as_mut().unwrap();
    writer.mark("point_a", PointKind::Backup, "a").unwrap();
    store.fold("TRUNCATE");
    store.commit(&change(3));
    store.writer.as_mut().unwrap().begin_snapshot();
    store.finish_copy();
    store.commit(&change(4));
    store.ship();
    let writer = store.writer.as_mut().unwrap();
    writer.mark("point_b", PointKind::Automatic, "").unwrap();
    store
}

/// Checks that a damaged archive is never restored to another state than the true one, and that
/// the verification names the object.
fn check(store: &Store, truth: &[(Target, (u64, u64))], what: &str, file: &Path) {
    let mut refused = 0;
    for (target, state) in truth {
        match store.restore(target) {
            Ok(found) => assert_eq!(found, *state, "{what} {}: {target:?}", file.display()),
            Err(error) => {
                let is_named = matches!(
                    error,
                    ArchiveError::Damaged { .. }
                        | ArchiveError::Missing { .. }
                        | ArchiveError::NoSuchPoint(_)
                        | ArchiveError::Outside { .. }
                );
                assert!(is_named, "{what} {}: {error}", file.display());
                refused += 1;
            }
        }
    }
    let name = file.file_name().unwrap().to_str().unwrap();
    if name == "deia-archive.txt" {
        return;
    }
    let verified = verify(&*store.storage, HIVE).unwrap();
    // The removal of a point, of a snapshot that another one replaces, or of the newest part
    // leaves a shorter archive that is sound.
    if what != "removed" {
        assert!(!verified.is_sound(), "{what} {}", file.display());
        let named = verified
            .faults
            .iter()
            .any(|fault| fault.place.contains(name));
        assert!(named, "{what} {}: {:?}", file.display(), verified.faults);
    } else if verified.is_sound() {
        let is_description = name.ends_with(".json") || refused > 0;
        assert!(is_description, "{what} {}", file.display());
    }
}

#[test]
fn every_damaged_file_is_named_and_never_restored_from() {
    let store = store();
    let truth: Vec<_> = [
        Target::Newest,
        Target::Point("point_old".into()),
        Target::Point("point_a".into()),
        Target::Point("point_b".into()),
        event(7),
    ]
    .into_iter()
    .map(|target| {
        let state = store.restore(&target).unwrap();
        (target, state)
    })
    .collect();
    let all = files(store.archive());
    assert!(all.len() > 10, "{all:?}");
    for (i, file) in all.iter().enumerate() {
        let whole = fs::read(file).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            fs::write(file, &flipped).unwrap();
            check(&store, &truth, "flipped", file);
        }
        for length in [0, whole.len() - 1] {
            fs::write(file, &whole[..length]).unwrap();
            check(&store, &truth, "cut", file);
        }
        let other = &all[(i + 1) % all.len()];
        fs::write(file, fs::read(other).unwrap()).unwrap();
        check(&store, &truth, "swapped", file);
        fs::remove_file(file).unwrap();
        check(&store, &truth, "removed", file);
        fs::write(file, &whole).unwrap();
    }
    for (target, state) in &truth {
        assert_eq!(store.restore(target).unwrap(), *state);
    }
}
