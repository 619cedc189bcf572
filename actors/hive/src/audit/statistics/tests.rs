//! Tests of statistics: they are the sums over all events.

use std::collections::BTreeMap;

use deia_model::Event;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::audit::query::fixtures::{EPOCH, Sample, event, events};

#[test]
fn hours_are_whole_and_spans_are_few() {
    let at = |hour: i64, ms: i64| Some(Timestamp::from_millis(hour * HOUR_MS + ms));
    for (after, before, known, expected) in [
        (None, None, None, 0..0),
        (None, None, Some((7, 9)), 7..10),
        (at(8, 1), None, Some((7, 9)), 8..10),
        (at(8, 0), at(9, 0), Some((7, 9)), 8..9),
        (at(8, 0), at(9, 1), Some((7, 9)), 8..10),
        (None, at(9, 0), None, 9..9),
        (at(12, 0), None, Some((7, 9)), 12..12),
        (at(-3, 5), at(-1, 0), None, -3..-1),
    ] {
        assert_eq!(
            hours(after, before, known),
            expected,
            "{after:?} {before:?}"
        );
    }
    for (n, span) in [
        (0, 1),
        (1_000, 1),
        (1_001, 24),
        (24_000, 24),
        (24_001, 168),
        (720_000, 720),
        (720_001, 1_440),
        (10_000_000, 10_080),
    ] {
        assert_eq!(span_of(&(5..5 + n)), span, "{n}");
        assert!(n / span <= SPANS);
    }
}

#[test]
fn names_are_few_and_the_others_are_summed() {
    let mut sample = Sample::new();
    let of = |n: usize| {
        let action = format!("ext.{}", n % 120);
        event(
            &action,
            &format!("user-{}", n % 150),
            ("ext", "x"),
            Value::Null,
        )
    };
    sample.append((0..400).map(of));
    sample.index();
    let statistics = sample.reads().statistics(None, None).unwrap();
    assert_eq!(statistics.entries, 400);
    for counts in [&statistics.by_action, &statistics.by_actor] {
        assert_eq!(counts.top.len(), 100);
        let sum: u64 = counts.top.iter().map(|count| count.entries).sum();
        assert_eq!(sum + counts.others, 400);
        assert!(counts.top.is_sorted_by(|a, b| a.entries >= b.entries));
    }
    let first = &statistics.by_actor.top[0];
    let names = sample.reader().pseudonyms().unwrap();
    assert_eq!(
        (first.entries, first.id.as_deref()),
        (3, names.id(&first.name))
    );
    assert!(first.name.starts_with("user-"));
    assert_eq!(statistics.by_action.top[0].name, "ext.0");
    let empty = Sample::new().reads().statistics(None, None).unwrap();
    assert_eq!((empty.entries, empty.by_time.len()), (0, 0));
}

fn sums<'e>(
    events: impl Iterator<Item = &'e Event>,
    key: impl Fn(&Event) -> String,
) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for event in events {
        *sums.entry(key(event)).or_default() += 1;
    }
    sums
}

fn as_map(counts: &[AuditCount]) -> BTreeMap<String, u64> {
    let some = counts.iter().filter(|count| count.entries > 0);
    some.map(|count| (count.name.clone(), count.entries))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn numbers_are_those_of_the_events(
        events in events(800),
        n in 0..800_usize,
        after in prop::option::of(-1..5_i64),
        hours in prop::option::of(0..5_i64),
    ) {
        let mut sample = Sample::new();
        let mut events = events.into_iter();
        sample.append(events.by_ref().take(n).collect::<Vec<_>>());
        sample.index();
        sample.append(events);
        sample.index();
        let hour = EPOCH.div_euclid(HOUR_MS);
        let at = |hour: i64| Timestamp::from_millis(hour * HOUR_MS);
        let bound = after.map(|after| hour + after);
        let end = hours.map(|hours| bound.unwrap_or(hour) + hours);
        let statistics = sample.reads().statistics(bound.map(at), end.map(at)).unwrap();
        let counted = || sample.events.iter().filter(|event| {
            bound.is_none_or(|bound| event.at >= at(bound)) && end.is_none_or(|end| event.at < at(end))
        });
        prop_assert_eq!(statistics.entries, counted().count() as u64);
        let word = |value: Value| value.as_str().unwrap().to_owned();
        for (found, expected) in [
            (&statistics.by_action.top, sums(counted(), |event| event.action.as_str().to_owned())),
            (&statistics.by_actor.top, sums(counted(), |event| event.actor.clone())),
            (&statistics.by_level, sums(counted(), |event| word(serde_json::to_value(event.level).unwrap()))),
            (&statistics.by_result, sums(counted(), |event| word(serde_json::to_value(event.result).unwrap()))),
        ] {
            prop_assert_eq!(as_map(found), expected);
        }
        let by_hour = sums(counted(), |event| at(event.at.as_millis().div_euclid(HOUR_MS)).to_string());
        let found: BTreeMap<_, _> = statistics.by_time.iter().map(|span| (span.at.to_string(), span.entries)).collect();
        prop_assert_eq!(found, by_hour);
        let warnings = counted().filter(|event| event.level == EventLevel::Warning).count();
        prop_assert_eq!(statistics.by_time.iter().map(|span| span.warning).sum::<u64>(), warnings as u64);
    }
}
