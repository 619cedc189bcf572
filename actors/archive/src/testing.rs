//! Tests that every storage must pass. Requires the feature `testing`.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

use std::{
    io::ErrorKind,
    sync::{Arc, Barrier},
    thread,
};

use crate::{ARCHIVE_MARK, Storage};

/// Objects that a listing has to have in spite of pages. Fact: a page of S3 has 1,000.
const MANY: usize = 1_100;
/// Writers that create one object at the same time. Fixed: enough for them to meet.
const WRITERS: usize = 8;

/// Runs all of the tests, each on a place of its own: `make` returns a storage on an empty place
/// that is not prepared.
pub fn conforms(make: &dyn Fn(&str) -> Arc<dyn Storage>) {
    for (name, test) in [
        (
            "nothing",
            nothing_is_written_without_the_mark as fn(&dyn Storage),
        ),
        ("objects", objects_are_written_listed_and_removed),
        ("keys", keys_do_not_leave_the_storage),
        ("prefixes", prefixes_end_with_a_name),
        ("sizes", contents_are_returned_as_they_were),
        ("race", one_of_many_writers_creates_an_object),
    ] {
        test(&*make(name));
    }
}

fn keys(storage: &dyn Storage, prefix: &str) -> Vec<String> {
    let items = storage.list(prefix).unwrap();
    items.into_iter().map(|it| it.key).collect()
}

fn nothing_is_written_without_the_mark(storage: &dyn Storage) {
    assert_eq!(storage.list("").unwrap(), []);
    for written in [storage.create("h/a", b"1"), storage.put("h/a", b"1")] {
        let error = written.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("the archive is gone"), "{error}");
    }
    assert_eq!(storage.list("").unwrap(), []);
    storage.prepare().unwrap();
    storage.prepare().unwrap();
    assert_eq!(storage.list("").unwrap(), []);
    assert!(!storage.get(ARCHIVE_MARK).unwrap().is_empty());
    storage.create("h/a", b"1").unwrap();
}

fn objects_are_written_listed_and_removed(storage: &dyn Storage) {
    storage.prepare().unwrap();
    for (key, bytes) in [("h/b/2", "two"), ("h/a/1", "one"), ("h/b/2", "again")] {
        storage.put(key, bytes.as_bytes()).unwrap();
    }
    assert_eq!(keys(storage, ""), ["h/a/1", "h/b/2"]);
    assert_eq!(keys(storage, "h/b/"), ["h/b/2"]);
    assert_eq!(storage.list("h/b/").unwrap()[0].bytes, 5);
    assert_eq!(storage.get("h/b/2").unwrap(), b"again");
    storage.remove("h/b/2").unwrap();
    storage.remove("h/b/2").unwrap();
    assert_eq!(keys(storage, "h/b/"), [""; 0]);
    let again = storage.create("h/a/1", b"other").unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert_eq!(storage.get("h/a/1").unwrap(), b"one");
    storage.create("h/a/2", b"new").unwrap();
    assert_eq!(keys(storage, ""), ["h/a/1", "h/a/2"]);
    let gone = storage.get("h/b/2").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    storage.sweep().unwrap();
    let address = storage.address("h/a/1");
    assert!(address.ends_with("/h/a/1"), "{address}");
}

fn keys_do_not_leave_the_storage(storage: &dyn Storage) {
    storage.prepare().unwrap();
    for key in ["../a", "a/../b", "/a", "a//b", ".a", "", "a/"] {
        let calls = [
            storage.put(key, b""),
            storage.create(key, b""),
            storage.get(key).map(drop),
            storage.remove(key),
        ];
        for refused in calls {
            assert_eq!(
                refused.unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{key}"
            );
        }
    }
}

fn prefixes_end_with_a_name(storage: &dyn Storage) {
    storage.prepare().unwrap();
    for key in ["h/ab/1", "h/a/1", "ha/1", "h/a-b/1"] {
        storage.create(key, b"1").unwrap();
    }
    assert_eq!(keys(storage, "h/a/"), ["h/a/1"]);
    assert_eq!(keys(storage, "h/"), ["h/a-b/1", "h/a/1", "h/ab/1"]);
    assert_eq!(keys(storage, "none/"), [""; 0]);
}

fn contents_are_returned_as_they_were(storage: &dyn Storage) {
    storage.prepare().unwrap();
    for (key, size) in [("h/empty", 0), ("h/small", 1), ("h/large", 9 << 20)] {
        let bytes: Vec<u8> = (0..size)
            .map(|i: u32| (i.wrapping_mul(31) >> 3) as u8)
            .collect();
        storage.create(key, &bytes).unwrap();
        assert!(storage.get(key).unwrap() == bytes, "{key}");
    }
}

fn one_of_many_writers_creates_an_object(storage: &dyn Storage) {
    storage.prepare().unwrap();
    let together = Barrier::new(WRITERS);
    let write = |writer: usize| {
        together.wait();
        storage.create("h/a", writer.to_string().as_bytes())
    };
    let written: Vec<_> = thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> = { 0..WRITERS }
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        writers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let winners: Vec<_> = (0..WRITERS).filter(|it| written[*it].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{written:?}");
    assert_eq!(
        storage.get("h/a").unwrap(),
        winners[0].to_string().as_bytes()
    );
    for refused in written.into_iter().filter_map(Result::err) {
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    }
}

/// Tests that a listing has all objects, in the order of their keys, however many there are.
pub fn long_listings_are_whole(storage: &dyn Storage) {
    storage.prepare().unwrap();
    let all: Vec<_> = (0..MANY)
        .map(|i| format!("h/{:04}", i * 7 % MANY))
        .collect();
    thread::scope(|scope| {
        for part in all.chunks(MANY / WRITERS + 1) {
            scope.spawn(move || {
                for key in part {
                    storage.create(key, b"1").unwrap();
                }
            });
        }
    });
    let mut all = all;
    all.sort();
    assert_eq!(keys(storage, "h/"), all);
}
