//! All pages of random filters over random trails.

use deia_model::{AuditRecord, Event, EventLevel, EventResult};
use proptest::prelude::*;

use super::*;
use crate::audit::query::fixtures::{ACTIONS, ACTORS, events};

/// Returns whether an event matches, as the documentation of filters says.
fn expects(filter: &AuditFilter, index: u64, event: &Event) -> bool {
    let action = event.action.as_str();
    let kind = action.split('.').next().unwrap();
    let is =
        |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|text| text == value);
    let text = filter.text.as_ref().map(|text| text.to_lowercase());
    let details = match event.details.is_null() {
        true => String::new(),
        false => deia_trail::entry::canonical(&event.details),
    };
    let searched = [action, &event.actor, &event.target.id, &details];
    (is(&filter.action, action) || is(&filter.action, kind))
        && is(&filter.actor, &event.actor)
        && is(&filter.target, &event.target.id)
        && is(&filter.target_type, &event.target.r#type)
        && filter.level.is_none_or(|level| event.level == level)
        && filter.min_level.is_none_or(|level| event.level >= level)
        && filter.result.is_none_or(|result| event.result == result)
        && filter.after.is_none_or(|after| event.at >= after)
        && filter.before.is_none_or(|before| event.at < before)
        && filter.from_entry.is_none_or(|from| index >= from)
        && filter.to_entry.is_none_or(|to| index < to)
        && filter.min_seq.is_none_or(|min| event.seq >= min)
        && filter.max_seq.is_none_or(|max| event.seq <= max)
        && text.is_none_or(|text| {
            searched
                .iter()
                .any(|part| part.to_lowercase().contains(&text))
        })
}

fn indices(filter: &AuditFilter, events: &[Event]) -> Vec<u64> {
    let matching = (0..)
        .zip(events)
        .filter(|(index, event)| expects(filter, *index, event));
    matching.map(|(index, _)| index).collect()
}

/// Reads all pages, and checks that each holds the limits.
fn all_pages(
    reads: &AuditReads,
    filter: &AuditFilter,
    order: AuditOrder,
    limit: u32,
    limits: PageLimits,
) -> Vec<AuditRecord> {
    let mut found = Vec::new();
    let mut cursor = None;
    for _ in 0..20_000 {
        let request = PageRequest { limit, cursor };
        let page = reads.query_with(filter, order, &request, limits).unwrap();
        assert!(page.items.len() <= limit as usize && page.unreadable.is_empty());
        assert!(request.cursor.is_none() || request.cursor != page.next_cursor);
        found.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return found;
        }
    }
    panic!("the pages do not end: {filter:?}");
}

fn some<T: Clone + std::fmt::Debug + 'static>(
    weight: u32,
    values: Vec<T>,
) -> impl Strategy<Value = Option<T>> {
    prop_oneof![
        4 => Just(None),
        weight => prop::sample::select(values).prop_map(Some)
    ]
}

/// Generates filters. Targets are replaced by those of the sample.
fn filters() -> impl Strategy<Value = AuditFilter> {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let mut actions = names(&ACTIONS.map(|(name, _)| name));
    actions.extend(names(&["task", "user", "bot", "nope", "tas"]));
    let mut actors = names(&ACTORS);
    actors.push("mallory".into());
    let texts = names(&[
        "no SUCH file",
        "\u{e9}T\u{c9}",
        "ADA",
        "task_",
        "run_ms\":5",
        "nowhere",
    ]);
    let types = names(&["task", "user", "bot", "key"]);
    let times: Vec<Timestamp> = (0..40)
        .map(|n| Timestamp::from_millis(EPOCH + n * 20_000))
        .collect();
    let numbers: Vec<u64> = (0..40).map(|n| n * 31).collect();
    let levels = vec![EventLevel::Info, EventLevel::Warning, EventLevel::Critical];
    let results = vec![EventResult::Success, EventResult::Failure];
    let bounds = (
        some(1, times.clone()),
        some(1, times),
        some(1, numbers.clone()),
        some(1, numbers.clone()),
        some(1, numbers.clone()),
        some(1, numbers),
    );
    let what = (
        some(2, actors),
        some(2, (0..60_usize).map(|n| n.to_string()).collect()),
        some(1, types),
        some(3, actions),
        some(1, levels.clone()),
        some(1, levels),
        some(1, results),
        some(1, texts),
    );
    (what, bounds).prop_map(|(what, bounds)| AuditFilter {
        actor: what.0,
        target: what.1,
        target_type: what.2,
        action: what.3,
        level: what.4,
        min_level: what.5,
        result: what.6,
        text: what.7,
        after: bounds.0,
        before: bounds.1,
        from_entry: bounds.2,
        to_entry: bounds.3,
        min_seq: bounds.4,
        max_seq: bounds.5,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_have_what_matches_in_order(
        events in events(1_500),
        seals in prop::collection::vec(1..700_usize, 0..4),
        filters in prop::collection::vec((filters(), any::<bool>(), 1..60_u32, 1..4_000_usize), 24),
    ) {
        let mut sample = Sample::new();
        let mut rest = events.into_iter();
        for n in seals {
            sample.append(rest.by_ref().take(n).collect::<Vec<_>>());
            sample.index();
        }
        sample.append(rest);
        sample.index();
        let reads = sample.reads();
        for (mut filter, is_newest_first, limit, examined) in filters {
            if let Some(number) = &filter.target {
                let number: usize = number.parse().unwrap();
                let event = sample.events.get(number % (sample.events.len() + 1));
                filter.target = Some(event.map_or("nothing".into(), |event| event.target.id.clone()));
            }
            let limits = PageLimits { examined, bytes: 20_000 };
            let mut expected = indices(&filter, &sample.events);
            let order = match is_newest_first {
                true => AuditOrder::NewestFirst,
                false => AuditOrder::OldestFirst,
            };
            if is_newest_first {
                expected.reverse();
            }
            let found = all_pages(&reads, &filter, order, limit, limits);
            let found: Vec<u64> = found.iter().map(|record| record.index).collect();
            prop_assert_eq!(found, expected, "{:?} {:?}", filter, order);
        }
    }
}
