//! Tests of queries: a page has what a filter over all events finds.

mod pages;

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use deia_model::Event;
use serde_json::{Value, json};

use super::{
    fixtures::{EPOCH, Sample, event, task},
    *,
};
use crate::audit::index::{AuditIndex, Scope};

fn by(filter: impl FnOnce(&mut AuditFilter)) -> AuditFilter {
    let mut of = AuditFilter::default();
    filter(&mut of);
    of
}

fn first_page(sample: &Sample, filter: &AuditFilter) -> AuditPage {
    let request = PageRequest {
        limit: 100,
        cursor: None,
    };
    let reads = sample.reads();
    reads
        .query(filter, AuditOrder::NewestFirst, &request)
        .unwrap()
}

fn found(sample: &Sample, filter: &AuditFilter) -> Vec<u64> {
    let items = first_page(sample, filter).items;
    items.iter().map(|record| record.index).collect()
}

#[test]
fn record_has_names_and_details() {
    let mut sample = Sample::new();
    let mut changed = event(
        "user.changed",
        "ada",
        ("user", "eve"),
        json!({"role": "admin"}),
    );
    changed.owner = Some("bob".into());
    changed.tags = vec!["eu".into()];
    changed.trace_id = Some("00-4b".into());
    sample.append([
        changed,
        event("task.started", "b-1", ("task", "t"), Value::Null),
    ]);
    sample.index();
    let page = first_page(&sample, &AuditFilter::default());
    assert_eq!(
        (page.indexed_upto, page.size, page.next_cursor),
        (2, 2, None)
    );
    let names = sample.reader().pseudonyms().unwrap();
    let id = |name: &str| names.id(name).map(str::to_owned);
    let record = &page.items[1];
    assert_eq!((record.index, record.seq, record.timeline), (0, 1, 1));
    assert_eq!(
        (record.actor.as_str(), &record.actor_id),
        ("ada", &id("ada"))
    );
    assert_eq!(
        (record.target.id.as_str(), &record.target_id),
        ("eve", &id("eve"))
    );
    assert_eq!(
        (record.owner.as_deref(), &record.owner_id),
        (Some("bob"), &id("bob"))
    );
    assert_eq!(record.details, json!({"role": "admin"}));
    assert_eq!(record.tags, ["eu"]);
    assert_eq!(record.trace_id.as_deref(), Some("00-4b"));
    assert!(record.details_sha256.is_some() && !record.erased);
    let started = &page.items[0];
    assert_eq!((started.actor.as_str(), &started.actor_id), ("b-1", &None));
    assert_eq!(
        (&started.details, &started.details_sha256),
        (&Value::Null, &None)
    );

    for name in ["ada", &id("ada").unwrap()] {
        assert_eq!(found(&sample, &by(|f| f.actor = Some(name.into()))), [0]);
    }
    for name in ["eve", &id("eve").unwrap()] {
        assert_eq!(found(&sample, &by(|f| f.target = Some(name.into()))), [0]);
    }
    for name in ["EVE", "Admin"] {
        assert_eq!(found(&sample, &by(|f| f.text = Some(name.into()))), [0]);
    }
    assert!(found(&sample, &by(|f| f.actor = Some("user_nobody".into()))).is_empty());
}

#[test]
fn erased_details_are_told_and_found_no_more() {
    let mut sample = Sample::new();
    let id = task(EPOCH, 1);
    let details = json!({"error": "private"});
    sample.append([
        event("task.failed", "b-1", ("task", &id), details.clone()),
        event("task.failed", "b-1", ("task", "other"), details),
        event("task.erased", "ada", ("task", &id), Value::Null),
    ]);
    sample.index();
    let page = first_page(&sample, &by(|f| f.target = Some(id)));
    let erased: Vec<_> = page
        .items
        .iter()
        .map(|record| (record.index, record.erased))
        .collect();
    assert_eq!(erased, [(2, false), (0, true)]);
    assert_eq!(page.items[1].details, Value::Null);
    assert!(page.items[1].details_sha256.is_some());
    assert_eq!(
        found(&sample, &by(|f| f.text = Some("private".into()))),
        [1]
    );
    // A copy of the trail need not have the details at all.
    fs::remove_dir_all(sample.file("private")).unwrap();
    let page = first_page(&sample, &AuditFilter::default());
    assert_eq!(page.items.len(), 3);
    assert!(
        page.items
            .iter()
            .all(|record| record.details.is_null() && !record.erased)
    );
    assert!(page.items[0].actor.starts_with("user_") && page.items[0].actor_id.is_none());
}

#[test]
fn cursors_of_other_lists_are_refused() {
    let mut sample = Sample::new();
    let events = || (0..9).map(|_| event("bot.crashed", "deia", ("bot", "b-1"), Value::Null));
    sample.append(events());
    sample.index();
    let request = |cursor: Option<&String>| PageRequest {
        limit: 2,
        cursor: cursor.cloned(),
    };
    let all = AuditFilter::default();
    let newest = AuditOrder::NewestFirst;
    let reads = sample.reads();
    let page = reads.query(&all, newest, &request(None)).unwrap();
    let cursor = page.next_cursor.unwrap();
    assert!(reads.query(&all, newest, &request(Some(&cursor))).is_ok());
    let mut other = Sample::of("b.example/audit");
    other.append(events());
    other.index();
    for refused in [
        reads.query(&all, AuditOrder::OldestFirst, &request(Some(&cursor))),
        reads.query(&all, newest, &request(Some(&"ZXZlbnRzOjE".to_owned()))),
        other.reads().query(&all, newest, &request(Some(&cursor))),
    ] {
        assert!(matches!(refused, Err(AuditReadError::BadCursor)));
    }
}

#[test]
fn limits_of_a_page_hold() {
    let mut sample = Sample::new();
    let big = || json!({"text": "x".repeat(30_000)});
    sample.append((0..400).map(|_| event("bot.crashed", "deia", ("bot", "b-1"), big())));
    sample.index();
    let page = |limit| {
        let request = PageRequest {
            limit,
            cursor: None,
        };
        let all = AuditFilter::default();
        sample
            .reads()
            .query(&all, AuditOrder::NewestFirst, &request)
            .unwrap()
    };
    assert_eq!(page(0).items.len(), 1);
    assert_eq!(page(7).items.len(), 7);
    let full = page(5_000);
    // 4 MiB.
    assert_eq!(full.items.len(), 139);
    assert!(full.next_cursor.is_some());
}

#[test]
fn what_the_index_has_not_yet_is_not_in_the_answer() {
    let mut sample = Sample::new();
    let some = |n| (0..n).map(|_| event("bot.crashed", "deia", ("bot", "b-1"), Value::Null));
    let state = |sample: &Sample| {
        let page = first_page(sample, &AuditFilter::default());
        (page.items.len(), page.indexed_upto, page.size)
    };
    assert_eq!(state(&sample), (0, 0, 0));
    sample.append(some(5));
    assert_eq!(state(&sample), (0, 0, 5));
    sample.index();
    assert_eq!(state(&sample), (5, 5, 5));
    sample.append(some(3));
    assert_eq!(state(&sample), (5, 5, 8));
    // The index of another trail is none.
    let mut index = AuditIndex::open(&sample.index_path(), "b.example", Scope::default()).unwrap();
    index.catch_up(sample.reader(), 8, 1).unwrap();
    assert_eq!(state(&sample), (0, 0, 8));
}

#[test]
fn damage_is_named_and_what_is_past_retention_is_left_out() {
    let mut sample = Sample::new();
    let of = |n: usize| match n % 2 {
        0 => event("bot.crashed", "deia", ("bot", "b-1"), Value::Null),
        _ => event("task.started", "b-1", ("task", "t"), Value::Null),
    };
    sample.append((0..1_000).map(of));
    sample.index();
    sample.damage("tile/entries/002", |bytes| bytes[2] = b'x');
    sample.damage("tile/entries/001", |bytes| bytes[0] ^= 1);
    sample.trail.prune(256).unwrap();
    let limits = PageLimits::default();
    let request = PageRequest {
        limit: 1_000,
        cursor: None,
    };
    let reads = sample.reads();
    let all = AuditFilter::default();
    let page = reads
        .query_with(&all, AuditOrder::NewestFirst, &request, limits)
        .unwrap();
    assert_eq!(page.unreadable, ["entry 512", "tile/entries/001"]);
    assert_eq!(page.items.len(), 1_000 - 513);
    assert_eq!(page.items.last().unwrap().index, 513);
}

#[test]
fn task_is_found_without_looking_at_other_entries() {
    let mut sample = Sample::new();
    let at = |n: i64| EPOCH + n * 1_000;
    let all = (0..20_000).map(|n| {
        let id = task(at(n / 3), u8::try_from(n / 3 % 251).unwrap());
        let action =
            ["task.submitted", "task.started", "task.completed"][usize::try_from(n % 3).unwrap()];
        let mut event = event(action, "b-1", ("task", &id), Value::Null);
        event.at = Timestamp::from_millis(at(n / 3));
        event
    });
    sample.append(all);
    sample.index();
    let filter = by(|f| f.target = Some(task(at(900), u8::try_from(900 % 251).unwrap())));
    // Enough for all sketches and four bundles.
    let limits = PageLimits {
        examined: 80 + 4 * 300,
        bytes: usize::MAX,
    };
    let request = PageRequest {
        limit: 100,
        cursor: None,
    };
    let reads = sample.reads();
    let page = reads
        .query_with(&filter, AuditOrder::NewestFirst, &request, limits)
        .unwrap();
    let found: Vec<u64> = page.items.iter().map(|record| record.index).collect();
    assert_eq!((found, page.next_cursor), (vec![2_702, 2_701, 2_700], None));
}

#[test]
fn index_and_queries_keep_up_with_a_writer() {
    const SEALS: usize = 150;
    let mut sample = Sample::new();
    let (reader, reads) = (sample.reader().clone(), sample.reads());
    let mut index = sample.open_index();
    let is_done = AtomicBool::new(false);
    let events = |n: usize| {
        let of = move |_| event("bot.crashed", "deia", ("bot", "b-1"), json!({"n": n}));
        (0..n % 40 + 1).map(of).collect::<Vec<Event>>()
    };
    let size_of = |reader: &TrailReader| Head::of(reader.checkpoint().unwrap()).size;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            (0..SEALS).for_each(|n| sample.append(events(n)));
            is_done.store(true, Ordering::Release);
        });
        threads.spawn(|| {
            loop {
                let was_done = is_done.load(Ordering::Acquire);
                let size = size_of(&reader);
                let caught = index.catch_up(&reader, size, 3).unwrap();
                assert_eq!((caught.unreadable, caught.rebuilt), (0, false));
                if was_done && caught.upto == size {
                    break;
                }
            }
        });
        let request = PageRequest {
            limit: 1_000,
            cursor: None,
        };
        let total: usize = (0..SEALS).map(|n| events(n).len()).sum();
        loop {
            let all = AuditFilter::default();
            let page = reads
                .query(&all, AuditOrder::OldestFirst, &request)
                .unwrap();
            assert!(page.unreadable.is_empty(), "{:?}", page.unreadable);
            let expected = usize::try_from(page.indexed_upto.min(1_000)).unwrap();
            assert_eq!(page.items.len(), expected);
            assert!(page.items.iter().all(|record| record.details["n"].is_u64()));
            if page.indexed_upto == total as u64 {
                break;
            }
        }
    });
}
