//! Tests of the index: it has every entry once, whatever interrupts it.

use std::{fs, os::unix::fs::PermissionsExt};

use deia_model::{AuditOrder, Event, Timestamp};
use deia_trail::details::Details;
use proptest::prelude::*;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use super::*;
use crate::audit::query::fixtures::{ACTIONS, EPOCH, ORIGIN, Sample, event, events, task};

const TABLES: [&str; 12] = [
    "meta",
    "classes",
    "actors",
    "entries",
    "bundles",
    "timelines",
    "bundle_targets",
    "bundle_classes",
    "bundle_actors",
    "erasable",
    "hour_classes",
    "hour_actors",
];

/// Returns everything that the index has, as text.
fn dump(path: &Path) -> String {
    let db = schema::readable(path).unwrap().unwrap();
    let mut text = String::new();
    for table in TABLES {
        let sql = format!("SELECT * FROM {table} ORDER BY 1, 2");
        let mut statement = db.prepare(&sql).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cell = |i| match row.get_ref(i).unwrap() {
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            };
            let cells: Vec<String> = (0..columns).map(cell).collect();
            text.push_str(&format!("{table} {}\n", cells.join(" ")));
        }
    }
    text
}

fn failed(task: &str) -> Event {
    let details = json!({"error": "secret of the user", "run_ms": 5});
    event("task.failed", "b-1", ("task", task), details)
}

fn erased(task: &str) -> Event {
    event("task.erased", "ada", ("task", task), Value::Null)
}

fn filler(n: usize) -> impl Iterator<Item = Event> {
    let target = task(EPOCH, 200);
    let started = move |_| {
        event(
            "task.started",
            "b-1",
            ("task", &target),
            json!({"wait_ms": 3}),
        )
    };
    (0..n).map(started)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn index_is_the_same_in_any_steps(
        events in events(1_200),
        steps in prop::collection::vec((1..400_usize, 1..4_u64, any::<bool>()), 1..12),
    ) {
        let mut sample = Sample::new();
        let mut index = sample.open_index();
        let mut rest = events.into_iter();
        for (n, bundles, is_dropped) in steps {
            let some: Vec<Event> = rest.by_ref().take(n).collect();
            sample.append(some);
            let caught = index.catch_up(sample.reader(), sample.size(), bundles).unwrap();
            prop_assert!(caught.upto <= caught.size && !caught.rebuilt);
            if is_dropped {
                drop(index);
                index = sample.open_index();
            }
        }
        sample.append(rest);
        while index.position() < sample.size() {
            index.catch_up(sample.reader(), sample.size(), 1).unwrap();
        }
        drop(index);
        let in_steps = dump(&sample.index_path());
        fs::remove_file(sample.index_path()).unwrap();
        sample.index();
        prop_assert_eq!(in_steps, dump(&sample.index_path()));
    }
}

#[test]
fn file_is_for_the_owner_only() {
    let mut sample = Sample::new();
    sample.append(filler(1));
    let mut index = sample.open_index();
    index.catch_up(sample.reader(), 1, 1).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let path = sample.dir.path().join(format!("audit-index.db{suffix}"));
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
}

#[test]
fn file_that_is_no_index_of_the_trail_is_replaced() {
    let mut sample = Sample::new();
    sample.append(filler(300));
    sample.index();
    let expected = dump(&sample.index_path());
    let path = sample.index_path();
    let set = |sql: &str| {
        let db = Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
    };
    let write = |text: &str| fs::write(&path, text).unwrap();
    let spoil: [(&str, &dyn Fn()); 7] = [
        ("text", &|| write("no database")),
        ("empty", &|| write("")),
        ("version", &|| set("PRAGMA user_version = 99")),
        ("origin", &|| set("UPDATE meta SET origin = 'b.example'")),
        ("no row", &|| set("DELETE FROM meta")),
        ("no table", &|| set("DROP TABLE meta")),
        ("position", &|| set("UPDATE meta SET position = -1")),
    ];
    for (name, spoil) in spoil {
        spoil();
        let mut index = sample.open_index();
        assert_eq!(index.position(), 0, "{name}");
        index.catch_up(sample.reader(), sample.size(), 10).unwrap();
        drop(index);
        assert_eq!(dump(&path), expected, "{name}");
    }
}

#[test]
fn index_of_other_entries_is_built_again() {
    let mut sample = Sample::new();
    sample.append(filler(300));
    sample.index();
    let mut other = Sample::new();
    let completed = event("task.completed", "b-2", ("task", "t"), Value::Null);
    other.append(filler(299).chain([completed.clone()]).chain(filler(20)));
    fs::copy(sample.index_path(), other.index_path()).unwrap();
    let mut index = other.open_index();
    assert_eq!(index.position(), 300);
    let caught = index.catch_up(other.reader(), other.size(), 10).unwrap();
    assert!(caught.rebuilt && caught.upto == 320, "{caught:?}");
    // A trail that is shorter than its index is another one.
    let mut short = Sample::new();
    short.append([completed]);
    let caught = index.catch_up(short.reader(), 1, 10).unwrap();
    assert!(caught.rebuilt && caught.upto == 1, "{caught:?}");
}

#[test]
fn damaged_index_is_built_again() {
    let mut sample = Sample::new();
    sample.append(filler(3_000));
    sample.index();
    let expected = dump(&sample.index_path());
    fs::remove_file(sample.index_path()).unwrap();
    let mut index = sample.open_index();
    index.catch_up(sample.reader(), 1_000, 100).unwrap();
    let page_of_meta: u64 = index
        .db
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'meta'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(index);
    // Damage that an open does not see.
    let mut bytes = fs::read(sample.index_path()).unwrap();
    for (page, bytes) in (1..).zip(bytes.chunks_mut(4_096)) {
        if page > 1 && page != page_of_meta {
            bytes.fill(0xa5);
        }
    }
    fs::write(sample.index_path(), bytes).unwrap();
    let mut index = sample.open_index();
    assert_eq!(index.position(), 1_000);
    let caught = index.catch_up(sample.reader(), 3_000, 100).unwrap();
    assert!(caught.rebuilt && caught.upto == 0, "{caught:?}");
    let caught = index.catch_up(sample.reader(), 3_000, 100).unwrap();
    assert!(!caught.rebuilt && caught.upto == 3_000, "{caught:?}");
    drop(index);
    assert_eq!(dump(&sample.index_path()), expected);
}

#[test]
fn details_of_an_erased_task_are_erased_with_all_its_entries() {
    let mut sample = Sample::new();
    let (one, other) = (task(EPOCH, 1), task(EPOCH, 2));
    let requested = |id: &str| {
        let details = json!({"reason": "private"});
        event("task.cancel_requested", "ada", ("task", id), details)
    };
    sample.append([failed(&one), failed(&other), requested(&one)]);
    sample.append(filler(400));
    sample.append([failed(&one), erased(&one), failed(&one)]);
    let caught = sample.index();
    assert_eq!(caught.erased, 3);
    let details = |index| sample.reader().details(index).unwrap().unwrap();
    for index in [0, 2, 403] {
        assert_eq!(details(index), Details::Erased, "{index}");
    }
    // The timing of other tasks, another task, and what came after stay.
    for index in [1, 3, 405] {
        assert!(matches!(details(index), Details::Kept { .. }), "{index}");
    }
    let rows = dump(&sample.index_path());
    let erasable: Vec<&str> = rows
        .lines()
        .filter(|row| row.starts_with("erasable"))
        .collect();
    let row = |index: u64, task: &str| format!("erasable Integer({index}) task {task}");
    assert_eq!(erasable, [row(1, &other), row(405, &one)]);
}

#[test]
fn erasure_before_a_crash_is_repeated() {
    let mut sample = Sample::new();
    let one = task(EPOCH, 1);
    sample.append([failed(&one), erased(&one)].into_iter().chain(filler(600)));
    // The third bundle cannot be read now.
    let (bundle, aside) = (sample.file("tile/entries/001"), sample.file("aside"));
    fs::rename(&bundle, &aside).unwrap();
    fs::create_dir(&bundle).unwrap();
    let mut index = sample.open_index();
    let failed = index.catch_up(sample.reader(), sample.size(), 100);
    assert!(matches!(
        failed,
        Err(IndexError::Trail(ReadError::Io { .. }))
    ));
    assert_eq!(index.position(), 0);
    assert_eq!(sample.reader().details(0).unwrap(), Some(Details::Erased));
    drop(index);
    fs::remove_dir(&bundle).unwrap();
    fs::rename(&aside, &bundle).unwrap();
    let mut index = sample.open_index();
    let caught = index.catch_up(sample.reader(), sample.size(), 100).unwrap();
    assert_eq!((caught.upto, caught.unreadable), (602, 0));
    assert_eq!(sample.reader().details(0).unwrap(), Some(Details::Erased));
    drop(index);
    assert!(!dump(&sample.index_path()).contains("erasable "));
}

#[test]
fn damaged_entries_and_bundles_are_passed_over() {
    let mut sample = Sample::new();
    sample.append(filler(1_000));
    sample.damage("tile/entries/000", |bytes| bytes[2] = b'x');
    sample.damage("tile/entries/001", |bytes| bytes.truncate(1_000));
    fs::remove_file(sample.file("tile/entries/002")).unwrap();
    let caught = sample.index();
    assert_eq!((caught.upto, caught.unreadable), (1_000, 1 + 256 + 256));
}

#[test]
fn retention_forgets_what_the_trail_has_no_more() {
    let mut sample = Sample::new();
    let at = |n: usize| EPOCH + i64::try_from(n).unwrap() * 60_000;
    let all = (0..1_000_usize).map(|n| {
        let target = task(at(n), u8::try_from(n % 250).unwrap());
        let action = ACTIONS[n % ACTIONS.len()].0;
        let mut event = event(action, "ada", ("task", &target), json!({"error": "x"}));
        event.at = Timestamp::from_millis(at(n));
        event
    });
    sample.append(all);
    sample.index();
    let first_hour = at(600).div_euclid(HOUR_MS);
    sample.trail.prune(600).unwrap();
    let mut index = sample.open_index();
    index.prune(600).unwrap();
    index.prune(600).unwrap();
    let db = &index.db;
    let least = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    // Entries of a bundle that is kept are kept.
    assert_eq!(least("SELECT min(idx) FROM entries"), 512);
    assert_eq!(least("SELECT min(idx) FROM erasable"), 516);
    for table in [
        "bundles",
        "bundle_targets",
        "bundle_classes",
        "bundle_actors",
    ] {
        assert_eq!(
            least(&format!("SELECT min(bundle) FROM {table}")),
            2,
            "{table}"
        );
    }
    for table in ["hour_classes", "hour_actors"] {
        let hour = least(&format!("SELECT min(hour) FROM {table}"));
        // The bundle of the first entry that is kept begins a little earlier.
        assert_eq!(hour, at(512).div_euclid(HOUR_MS), "{table}");
        assert!(hour < first_hour);
    }
    drop(index);
    // An index that is behind retention begins with the first bundle that is kept.
    fs::remove_file(sample.index_path()).unwrap();
    let caught = sample.index();
    assert_eq!((caught.upto, caught.unreadable), (1_000, 0));
    let kept = sample.open_index();
    let first: u64 = kept
        .db
        .query_row("SELECT min(bundle) FROM bundles", [], |row| row.get(0))
        .unwrap();
    assert_eq!(first, 2);
}

#[test]
fn readers_follow_the_file_that_the_writer_has_replaced() {
    let mut sample = Sample::new();
    sample.append(filler(10));
    let readers = IndexReaders::new(sample.index_path());
    let position = || {
        let read = readers.read::<_, IndexError>(|view| Ok(view.map(IndexView::position)));
        read.unwrap()
    };
    assert_eq!(position(), None);
    sample.index();
    assert_eq!(position(), Some(10));
    let mut index = AuditIndex::open(&sample.index_path(), "b.example", Scope::default()).unwrap();
    assert_eq!(position(), Some(0));
    index.catch_up(sample.reader(), 7, 1).unwrap();
    assert_eq!(position(), Some(7));
    drop(readers);
    // The log of the new file is still there.
    index.catch_up(sample.reader(), 10, 1).unwrap();
    drop(index);
    let readers = IndexReaders::new(sample.index_path());
    let read = readers.read::<_, IndexError>(|view| Ok(view.map(IndexView::position)));
    assert_eq!(read.unwrap(), Some(10));
}

#[test]
fn scans_use_an_index_in_the_order_of_entries() {
    let mut sample = Sample::new();
    sample.append(filler(300));
    sample.index();
    let db = schema::readable(&sample.index_path()).unwrap().unwrap();
    let plan = |sql: &str| {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let n = statement.parameter_count();
        let values = vec![Some(0_i64); n];
        let steps = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
        steps
            .unwrap()
            .collect::<rusqlite::Result<Vec<String>>>()
            .unwrap()
            .join("; ")
    };
    for order in [AuditOrder::NewestFirst, AuditOrder::OldestFirst] {
        for key in [
            EntryKey::Target("t".into()),
            EntryKey::Actor(1),
            EntryKey::Class(1),
            EntryKey::All,
        ] {
            let plan = plan(&view::entries_sql(&key, order));
            assert!(plan.starts_with("SEARCH entries USING"), "{key:?}: {plan}");
            assert!(plan.contains("rowid>? AND rowid<?"), "{key:?}: {plan}");
            assert!(!plan.contains("TEMP"), "{key:?}: {plan}");
        }
        for key in [
            BundleKey::Targets(vec![Probe::of("t")]),
            BundleKey::Actor(1),
            BundleKey::Class(1),
            BundleKey::All,
        ] {
            let plan = plan(&view::bundles_sql(&key, order));
            assert!(plan.starts_with("SEARCH x USING"), "{key:?}: {plan}");
            assert!(
                !plan.contains("TEMP") && !plan.contains("SCAN"),
                "{key:?}: {plan}"
            );
        }
    }
}

#[test]
fn ranges_hold_every_entry_of_the_time() {
    let mut sample = Sample::new();
    // The clock is set back by 100 s after 600 entries.
    let time = |n: usize| match n {
        n if n < 600 => EPOCH + i64::try_from(n).unwrap() * 1_000,
        n => EPOCH + i64::try_from(n - 100).unwrap() * 1_000,
    };
    sample.append((0..1_300).zip(filler(1_300)).map(|(n, event)| Event {
        at: Timestamp::from_millis(time(n)),
        ..event
    }));
    sample.index();
    let readers = IndexReaders::new(sample.index_path());
    let range = |after: Option<i64>, before: Option<i64>| {
        let at = |second: i64| Timestamp::from_millis(EPOCH + second * 1_000);
        let read = readers.read(|view| view.unwrap().recorded(after.map(at), before.map(at)));
        read.unwrap()
    };
    for (after, before, expected) in [
        (None, None, 0..1_300),
        (Some(0), None, 0..1_300),
        (Some(256), None, 256..1_300),
        (Some(5_000), None, 0..0),
        (None, Some(255), 0..256),
        (None, Some(256), 0..512),
        // The third bundle has the time again that others had before.
        (None, Some(510), 0..768),
        (Some(520), Some(560), 512..768),
        (None, Some(5_000), 0..1_300),
    ] {
        assert_eq!(range(after, before), expected, "{after:?} {before:?}");
    }
    assert_eq!(ORIGIN, sample.trail.origin());
}
