//! File parts that were flipped, cut, removed or swapped are named, and never restored from.

use std::{fs, path::Path};

use deia_archive::{ArchiveError, Change, Target, verify};

use super::{Shelf, State};
use crate::{damage::files, store::HIVE};

/// Returns an archive with two generations, bases, and files whose bytes are in several objects.
fn shelf() -> (Shelf, Vec<(Target, State)>) {
    let mut shelf = Shelf::new(32_768);
    let mut truth = Vec::new();
    let write = |shelf: &mut Shelf, name: &str, byte: u8, count: usize| {
        let mut content = fs::read(shelf.path(name)).unwrap_or_default();
        content.extend((0..count).map(|i| byte.wrapping_add((i / 3) as u8)));
        fs::write(shelf.path(name), content).unwrap();
        shelf.changed(name, Change::Grown);
        shelf.ship_files();
    };
    write(&mut shelf, "o/a", 1, 50_000);
    write(&mut shelf, "o/b", 2, 10);
    truth.push((Target::Point(shelf.point()), shelf.state()));
    shelf.begin();
    write(&mut shelf, "o/a", 3, 9_000);
    truth.push((Target::Point(shelf.point()), shelf.state()));
    shelf.base();
    write(&mut shelf, "o/c", 4, 4_000);
    fs::remove_file(shelf.path("o/b")).unwrap();
    shelf.changed("o/b", Change::Rewritten);
    shelf.ship_files();
    truth.push((Target::Point(shelf.point()), shelf.state()));
    truth.push((Target::Newest, shelf.state()));
    (shelf, truth)
}

fn check(shelf: &Shelf, truth: &[(Target, State)], what: &str, file: &Path) {
    for (target, state) in truth {
        match shelf.restore(target) {
            Ok(found) => assert!(found == *state, "{what} {}: {target:?}", file.display()),
            Err(ArchiveError::Damaged { .. } | ArchiveError::Missing { .. }) => {}
            Err(error) => panic!("{what} {}: {error}", file.display()),
        }
    }
    let verified = verify(&*shelf.store.storage, HIVE).unwrap();
    let name = file.file_stem().unwrap().to_str().unwrap();
    let is_named = |fault: &deia_archive::Fault| {
        let number = name.trim_start_matches('0');
        fault.place.contains(name) || fault.reason.contains(&format!("file part {number} "))
    };
    let named = verified.faults.iter().any(is_named);
    assert!(named, "{what} {}: {:?}", file.display(), verified.faults);
}

#[test]
fn every_damaged_file_part_is_named_and_never_restored_from() {
    let (shelf, truth) = shelf();
    for (target, state) in &truth {
        assert!(shelf.restore(target).unwrap() == *state, "{target:?}");
    }
    let all = files(shelf.store.archive().join("hive-test/files"));
    assert!(all.len() > 7, "{all:?}");
    for (i, file) in all.iter().enumerate() {
        let whole = fs::read(file).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            fs::write(file, &flipped).unwrap();
            check(&shelf, &truth, "flipped", file);
        }
        for length in [0, whole.len() - 1] {
            fs::write(file, &whole[..length]).unwrap();
            check(&shelf, &truth, "cut", file);
        }
        let other = &all[(i + 1) % all.len()];
        fs::write(file, fs::read(other).unwrap()).unwrap();
        check(&shelf, &truth, "swapped", file);
        fs::remove_file(file).unwrap();
        check(&shelf, &truth, "removed", file);
        fs::write(file, &whole).unwrap();
    }
    assert_eq!(verify(&*shelf.store.storage, HIVE).unwrap().faults, []);
}
