//! Numbers of entries by action, actor, level, result and time.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use deia_model::{
    AuditCount, AuditCounts, AuditSpan, AuditStatistics, EventLevel, EventResult, Timestamp,
};

use super::{
    index::{Class, Counted, HOUR_MS, IndexView},
    query::{AuditReadError, AuditReads, Head},
};

/// Most names of an answer. Fact: the API, whose schema states it.
const TOP: usize = 100;
/// Most spans of an answer. Fact: the API, whose schema states it.
const SPANS: i64 = 1_000;
/// Lengths of spans, in hours: an hour, a day, a week, 30 days.
const SPAN_HOURS: [i64; 4] = [1, 24, 168, 720];

impl AuditReads {
    /// Returns the numbers of entries of the hours from that of `after` to that of `before`;
    /// without a bound, of all hours on that side.
    ///
    /// # Errors
    /// The trail or its index cannot be read.
    pub(crate) fn statistics(
        &self,
        after: Option<Timestamp>,
        before: Option<Timestamp>,
    ) -> Result<AuditStatistics, AuditReadError> {
        let head = Head::of(self.trail().checkpoint()?);
        let names = self.names()?;
        self.index.read(|view| {
            let view = view.filter(|view| view.origin() == head.origin);
            let known = match view {
                Some(view) => view.hours()?,
                None => None,
            };
            let hours = hours(after, before, known);
            let span = span_of(&hours);
            let (mut sums, mut by_actor) = (Sums::default(), AuditCounts::default());
            if let Some(view) = view {
                let counted = view.counts(hours.clone(), span)?;
                sums = Sums::of(&view.classes()?, &counted);
                by_actor = actors(view, &hours, sums.entries)?;
                for count in &mut by_actor.top {
                    if let Some(name) = names.name(&count.name) {
                        count.id = Some(std::mem::replace(&mut count.name, name.to_owned()));
                    }
                }
            }
            let time = |hour: i64| Timestamp::from_millis(hour.saturating_mul(HOUR_MS));
            let by_time = sums.by_time.into_iter().map(|(number, counts)| AuditSpan {
                at: time(hours.start + number * span),
                ..counts
            });
            Ok(AuditStatistics {
                after: time(hours.start),
                before: time(hours.end),
                entries: sums.entries,
                by_action: top(sums.by_action),
                by_actor,
                by_level: named(LEVELS.iter().zip(sums.by_level)),
                by_result: named(RESULTS.iter().zip(sums.by_result)),
                span_seconds: span.unsigned_abs() * 3_600,
                by_time: by_time.collect(),
                indexed_upto: view.map_or(0, IndexView::position).min(head.size),
                size: head.size,
            })
        })
    }
}

const LEVELS: [(EventLevel, &str); 3] = [
    (EventLevel::Info, "info"),
    (EventLevel::Warning, "warning"),
    (EventLevel::Critical, "critical"),
];
const RESULTS: [(EventResult, &str); 3] = [
    (EventResult::Success, "success"),
    (EventResult::Failure, "failure"),
    (EventResult::Partial, "partial"),
];

fn named<'n, T: 'n>(counts: impl Iterator<Item = (&'n (T, &'n str), u64)>) -> Vec<AuditCount> {
    let count = |((_, name), entries): (&(T, &str), u64)| AuditCount {
        name: (*name).to_owned(),
        id: None,
        entries,
    };
    counts.map(count).collect()
}

/// Returns the hours from that of `after` to that of `before`, within those that have entries if
/// a bound is missing.
fn hours(
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    known: Option<(i64, i64)>,
) -> Range<i64> {
    let hour = |at: Timestamp| at.as_millis().div_euclid(HOUR_MS);
    let after = after.map(hour);
    let before = before.map(|at| hour(at.minus_millis(1)) + 1);
    let known = known.map(|(first, last)| (first, last + 1));
    let start = after.or(known.map(|known| known.0)).or(before).unwrap_or(0);
    let end = before.or(known.map(|known| known.1)).unwrap_or(start);
    start..end.max(start)
}

/// Returns the length of the spans of an answer about so many hours.
fn span_of(hours: &Range<i64>) -> i64 {
    let n = hours.end - hours.start;
    let fits = |span: &i64| n <= span * SPANS;
    let span = SPAN_HOURS.into_iter().find(fits);
    // Longer ones in steps of the longest.
    span.unwrap_or_else(|| {
        let longest = SPAN_HOURS[SPAN_HOURS.len() - 1];
        let steps = n / (longest * SPANS) + 1;
        longest * steps
    })
}

/// Sums over the classes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    entries: u64,
    by_action: BTreeMap<String, u64>,
    by_level: [u64; 3],
    by_result: [u64; 3],
    by_time: BTreeMap<i64, AuditSpan>,
}

impl Sums {
    fn of(classes: &[Class], counted: &[Counted]) -> Self {
        let classes: HashMap<i64, &Class> = classes.iter().map(|class| (class.id, class)).collect();
        let mut sums = Self::default();
        for Counted {
            span,
            class,
            entries,
        } in counted
        {
            let Some(class) = classes.get(class) else {
                continue;
            };
            sums.entries += entries;
            match sums.by_action.get_mut(&class.action) {
                Some(sum) => *sum += entries,
                None => drop(sums.by_action.insert(class.action.clone(), *entries)),
            }
            for (sum, (level, _)) in sums.by_level.iter_mut().zip(&LEVELS) {
                *sum += if *level == class.level { *entries } else { 0 };
            }
            for (sum, (result, _)) in sums.by_result.iter_mut().zip(&RESULTS) {
                *sum += if *result == class.result { *entries } else { 0 };
            }
            let span = sums.by_time.entry(*span).or_insert(AuditSpan {
                at: Timestamp::from_millis(0),
                entries: 0,
                warning: 0,
                critical: 0,
            });
            span.entries += entries;
            match class.level {
                EventLevel::Info => {}
                EventLevel::Warning => span.warning += entries,
                EventLevel::Critical => span.critical += entries,
            }
        }
        sums
    }
}

/// Returns the highest numbers, and the sum of all others.
fn top(counts: BTreeMap<String, u64>) -> AuditCounts {
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let others = counts.iter().skip(TOP).map(|(_, entries)| entries).sum();
    counts.truncate(TOP);
    AuditCounts {
        top: counts.into_iter().map(count).collect(),
        others,
    }
}

fn count((name, entries): (String, u64)) -> AuditCount {
    AuditCount {
        name,
        id: None,
        entries,
    }
}

fn actors(
    view: &IndexView<'_>,
    hours: &Range<i64>,
    entries: u64,
) -> Result<AuditCounts, AuditReadError> {
    let top = view.top_actors(hours.clone(), TOP)?;
    let of_top: u64 = top.iter().map(|(_, entries)| entries).sum();
    Ok(AuditCounts {
        top: top.into_iter().map(count).collect(),
        others: entries.saturating_sub(of_top),
    })
}

#[cfg(test)]
mod tests;
