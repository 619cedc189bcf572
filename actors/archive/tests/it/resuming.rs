//! Continuing an archive after a start, and the reasons not to.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use deia_archive::{Item, Storage, Target};

use crate::store::{Store, change};

fn shipped() -> Store {
    let mut store = Store::new(65_536);
    store.commit(&change(2));
    store.begin();
    store.finish_copy();
    store.commit(&change(3));
    store.ship();
    store
}

#[test]
fn archive_goes_on_after_a_start_with_the_log_folded_back_or_not() {
    let mut store = shipped();
    for how in ["NOOP", "PASSIVE", "TRUNCATE"] {
        store.fold(how);
        store.resume().unwrap();
        let state = store.commit(&change(2));
        store.ship();
        assert_eq!(store.restore(&Target::Newest).unwrap(), (store.seq, state));
    }
    let generations = std::fs::read_dir(store.archive().join("hive-test/generations"));
    assert_eq!(generations.unwrap().count(), 1);
}

#[test]
fn log_that_was_folded_back_unshipped_is_noticed() {
    let mut store = shipped();
    store.commit(&change(2));
    store.fold("TRUNCATE");
    let reason = store.resume().unwrap_err();
    assert!(
        reason.contains("not what the archive ends with"),
        "{reason}"
    );
    store.commit(&change(3));
    let reason = store.resume().unwrap_err();
    assert!(
        reason.contains("not what the archive ends with"),
        "{reason}"
    );
}

#[test]
fn another_data_directory_does_not_continue_the_archive() {
    let mut store = shipped();
    let mut needs = store.needs();
    needs.instance = "a copy".into();
    let database = std::fs::File::open(store.dir.path().join("a.db")).unwrap();
    let resumed = deia_archive::resume(needs, &database, None, None).unwrap();
    let deia_archive::Resumed::Begins { reason, is_ahead } = resumed else {
        panic!("it continues");
    };
    assert!(
        reason.contains("another data directory") && !is_ahead,
        "{reason}"
    );
    store.resume().unwrap();
}

/// A storage whose writes fail some times, after they were done or before.
struct Failing {
    inner: Arc<dyn Storage>,
    count: AtomicU32,
}

impl Storage for Failing {
    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        match self.count.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Err(io::Error::other("not reached")),
            1 => {
                self.inner.put(key, bytes)?;
                Err(io::Error::other("no answer"))
            }
            _ => self.inner.put(key, bytes),
        }
    }

    fn get(&self, key: &str) -> io::Result<Vec<u8>> {
        self.inner.get(key)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Item>> {
        self.inner.list(prefix)
    }

    fn remove(&self, key: &str) -> io::Result<()> {
        self.inner.remove(key)
    }

    fn address(&self, key: &str) -> String {
        self.inner.address(key)
    }
}

#[test]
fn writes_that_fail_or_lose_their_answer_are_repeated() {
    let mut store = Store::new(16_384);
    store.commit(&change(2));
    store.begin();
    store.finish_copy();
    let inner = store.storage.clone();
    store.storage = Arc::new(Failing {
        inner,
        count: AtomicU32::new(0),
    });
    store.resume().unwrap();
    let mut state = 0;
    for n in 0..8 {
        state = store.commit(&change(n));
        while let Err(error) = store.try_ship() {
            assert!(error.may_pass(), "{error}");
        }
    }
    assert_eq!(store.restore(&Target::Newest).unwrap(), (store.seq, state));
}

#[test]
fn archive_that_is_gone_is_not_continued_elsewhere() {
    let mut store = shipped();
    let (archive, aside) = (store.archive(), store.dir.path().join("aside"));
    std::fs::rename(&archive, &aside).unwrap();
    store.commit(&change(3));
    for is_unmounted in [false, true] {
        if is_unmounted {
            std::fs::create_dir(&archive).unwrap();
        }
        let error = store.try_ship().unwrap_err();
        assert!(
            error.may_pass() && error.to_string().contains("it is gone"),
            "{error}"
        );
    }
    assert_eq!(std::fs::read_dir(&archive).unwrap().count(), 0);
    std::fs::remove_dir(&archive).unwrap();
    std::fs::rename(&aside, &archive).unwrap();
    let state = store.commit(&change(4));
    store.ship();
    assert_eq!(store.restore(&Target::Newest).unwrap(), (store.seq, state));
}
