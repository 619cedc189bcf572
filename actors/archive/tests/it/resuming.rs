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
    let resumed = deia_archive::resume(needs, &database, None, None, None).unwrap();
    let deia_archive::Resumed::Begins { reason, ahead } = resumed else {
        panic!("it continues");
    };
    assert!(
        reason.contains("another data directory") && ahead.is_none(),
        "{reason}"
    );
    store.resume().unwrap();
}

/// A storage whose writes fail some times, after they were done or before.
struct Failing {
    inner: Arc<dyn Storage>,
    count: AtomicU32,
}

impl Failing {
    fn write(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.count.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Err(io::Error::other("not reached")),
            1 => {
                write()?;
                Err(io::Error::other("no answer"))
            }
            _ => write(),
        }
    }
}

impl Storage for Failing {
    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(|| self.inner.put(key, bytes))
    }

    fn create(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(|| self.inner.create(key, bytes))
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
            error.may_pass() && error.to_string().contains("gone"),
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

/// Lets a test damage the log, and returns the reason for which it does not continue the archive,
/// and the state that the point at the end of the archive has.
fn ahead(store: &mut Store) -> (String, (u64, u64)) {
    let resumed = store.try_resume().unwrap();
    let deia_archive::Resumed::Begins { reason, ahead } = resumed else {
        panic!("it continues");
    };
    let ahead = ahead.unwrap_or_else(|| panic!("not ahead: {reason}"));
    let point = ahead.mark(&*store.storage, "point_lost", "").unwrap();
    let found = store.restore(&Target::Point(point.id)).unwrap();
    (reason, found)
}

#[test]
fn log_that_is_damaged_where_the_archive_has_it_has_lost_commits() {
    use std::os::unix::fs::FileExt as _;
    // A byte of the first frame, and of the header of the log.
    for (at, expected) in [(200, "frame 1 of the log"), (8, "lost its header")] {
        let mut store = shipped();
        store.fold("TRUNCATE");
        let mut state = 0;
        for _ in 0..3 {
            state = store.commit(&change(3));
        }
        store.ship();
        let log = store.dir.path().join("a.db-wal");
        let file = std::fs::File::options().write(true).open(log).unwrap();
        file.write_all_at(&[0xaa; 4], at).unwrap();
        let (reason, found) = ahead(&mut store);
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(found, (store.seq, state));
    }
}

#[test]
fn older_database_without_its_log_has_lost_commits() {
    let mut store = shipped();
    store.fold("TRUNCATE");
    let path = store.dir.path().join("a.db");
    let old = std::fs::read(&path).unwrap();
    let had = store.seq;
    let state = store.commit(&change(2));
    let truth = (store.seq, state);
    store.ship();
    store.fold("TRUNCATE");
    // The disk shows an older state of the file, and no log.
    let new = std::fs::read(&path).unwrap();
    std::fs::write(&path, &old).unwrap();
    let resumed = store.resume_opened_at(Some(had)).unwrap();
    let deia_archive::Resumed::Begins { reason, ahead } = resumed else {
        panic!("it continues");
    };
    assert!(reason.contains("the disk has lost"), "{reason}");
    let point = ahead.unwrap().mark(&*store.storage, "point_lost", "");
    let point = Target::Point(point.unwrap().id);
    assert_eq!(store.restore(&point).unwrap(), truth);
    // One that had a later event has gone on without the archive.
    let resumed = store.resume_opened_at(Some(store.seq + 1)).unwrap();
    let deia_archive::Resumed::Begins { ahead, .. } = resumed else {
        panic!("it continues");
    };
    assert!(ahead.is_none());
    std::fs::write(&path, new).unwrap();
    store.resume().unwrap();
}

#[test]
fn another_writer_of_the_generation_is_refused() {
    let mut store = shipped();
    store.resume().unwrap();
    let other = store.writer.take().unwrap();
    store.resume().unwrap();
    store.commit(&change(3));
    store.ship();
    store.writer = Some(other);
    store.commit(&change(4));
    let error = store.try_ship().unwrap_err();
    assert!(
        matches!(error, deia_archive::ArchiveError::Fenced { .. }),
        "{error}"
    );
}

/// A storage that removes nothing.
struct Keeping(Arc<dyn Storage>);

impl Storage for Keeping {
    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.put(key, bytes)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.create(key, bytes)
    }

    fn get(&self, key: &str) -> io::Result<Vec<u8>> {
        self.0.get(key)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Item>> {
        self.0.list(prefix)
    }

    fn remove(&self, key: &str) -> io::Result<()> {
        match key.ends_with("000000000006-000000000006") {
            true => Err(io::Error::other("not now")),
            false => self.0.remove(key),
        }
    }

    fn address(&self, key: &str) -> String {
        self.0.address(key)
    }
}

#[test]
fn part_that_cannot_be_removed_after_bundling_costs_nothing() {
    let mut store = shipped();
    let whole = store.storage.clone();
    store.storage = Arc::new(Keeping(whole.clone()));
    store.resume().unwrap();
    let mut state = 0;
    for _ in 0..6 {
        state = store.commit(&change(3));
        store.ship();
    }
    let parts = |store: &Store| {
        let items = store.storage.list("hive-test/generations/").unwrap();
        items.iter().filter(|it| it.key.contains("/log/")).count()
    };
    for _ in 0..2 {
        store.try_bundle().unwrap();
    }
    let left = parts(&store);
    assert_eq!(store.restore(&Target::Newest).unwrap(), (store.seq, state));
    store.storage = whole;
    store.resume().unwrap();
    store.try_bundle().unwrap();
    assert_eq!(parts(&store), left - 1);
    assert_eq!(store.restore(&Target::Newest).unwrap(), (store.seq, state));
}

#[test]
fn damaged_part_is_not_bundled() {
    let mut store = shipped();
    store.commit(&change(3));
    store.ship();
    let items = store.storage.list("hive-test/generations/").unwrap();
    let part = items.iter().rfind(|it| it.key.contains("/log/")).unwrap();
    let mut bytes = store.storage.get(&part.key).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.storage.put(&part.key, &bytes).unwrap();
    let error = store.try_bundle().unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(store.storage.get(&part.key).unwrap(), bytes);
}

#[test]
fn copy_during_which_the_log_was_lost_becomes_no_snapshot() {
    let mut store = Store::new(16_384);
    for _ in 0..4 {
        store.commit(&change(2));
    }
    store.fold("TRUNCATE");
    store.commits.clear();
    store.begin();
    let database = std::fs::File::open(store.dir.path().join("a.db")).unwrap();
    let writer = store.writer.as_mut().unwrap();
    let lost = || Err(deia_archive::ArchiveError::Broken("lost".into()));
    let error = loop {
        if let Err(error) = writer.copy(&database, lost) {
            break error;
        }
    };
    assert!(!error.may_pass(), "{error}");
    store.commit(&change(3));
    store.ship();
    assert!(store.writer.as_ref().unwrap().is_copying());
    let refused = store.restore(&Target::Newest).unwrap_err();
    assert!(
        refused.to_string().contains("no complete snapshot"),
        "{refused}"
    );
}

#[test]
fn bundles_are_made_one_a_call_and_of_the_named_parts_only() {
    let mut store = shipped();
    for _ in 0..12 {
        store.commit(&change(3));
        store.ship();
    }
    let last = store.writer.as_ref().unwrap().parts();
    let state = store.commit(&change(3));
    store.ship();
    let bundles = |store: &Store| {
        let items = store.storage.list("hive-test/generations/").unwrap();
        let parts = items.into_iter().filter(|it| it.key.contains("/log/"));
        let ends = parts.map(|it| {
            let (first, last) = it.key.rsplit('/').next().unwrap().split_once('-').unwrap();
            (first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap())
        });
        ends.filter(|(first, last)| first < last)
            .collect::<Vec<_>>()
    };
    loop {
        let before = bundles(&store).len();
        let is_more = store.writer.as_mut().unwrap().bundle(last).unwrap();
        assert!(bundles(&store).len() <= before + 1);
        if !is_more {
            break;
        }
    }
    let made = bundles(&store);
    assert!(
        !made.is_empty() && made.iter().all(|(_, to)| *to <= last),
        "{made:?}"
    );
    assert_eq!(store.restore(&Target::Newest).unwrap(), (store.seq, state));
}
