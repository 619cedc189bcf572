//! The walk through the bundles that may have entries that match, in order.

use std::{collections::VecDeque, ops::Range};

use deia_model::AuditOrder;

use super::filter::Matcher;
use crate::audit::index::{
    BUNDLE, BundleKey, BundleRow, EntryKey, EntryRow, IndexError, IndexView, Scanned,
};

/// Maximum number of rows that are read at a time. Fixed: bounds one step, so that others
/// get their turn; the whole has no limit here.
const ROWS: usize = 128;
/// Maximum number of sketches that are looked at at a time. Fixed: bounds one step, so
/// that others get their turn; the whole has no limit here.
const SKETCHES: usize = 1_024;

/// Entries to look at, all in one bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    /// All of the bundle.
    Whole,
    /// These, in the order of the walk.
    Some(Vec<u64>),
}

/// The next step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look at entries of this bundle.
    Bundle(u64, Candidates),
    /// The walk has looked at as much as it may. What is left is in this range of entries.
    Pause(Range<u64>),
    /// There are no more.
    End,
}

/// Cost that a walk may have: looking at one entry costs 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new(entries: usize) -> Self {
        Self(entries)
    }

    pub(super) fn spend(&mut self, cost: usize) {
        self.0 = self.0.saturating_sub(cost);
    }

    pub(super) fn is_spent(self) -> bool {
        self.0 == 0
    }
}

/// Entries that are walked through.
pub(super) struct Ways {
    /// Range of entries.
    pub(super) range: Range<u64>,
    pub(super) entries: Vec<EntryKey>,
    pub(super) bundles: Vec<BundleKey>,
    /// Classes of entries that may match; `None`: all.
    pub(super) classes: Option<Vec<i64>>,
}

/// A walk in one direction.
pub(super) struct Walk<'w> {
    view: &'w IndexView<'w>,
    matcher: &'w Matcher<'w>,
    order: AuditOrder,
    range: Range<u64>,
    classes: Option<Vec<i64>>,
    entries: Vec<Source<EntryKey, EntryRow>>,
    bundles: Vec<Source<BundleKey, BundleRow>>,
    pub(super) budget: Budget,
}

/// Rows of one key, read a part at a time.
struct Source<K, R> {
    key: K,
    rest: Range<u64>,
    read: VecDeque<R>,
}

impl<K, R: Copy> Source<K, R> {
    fn new(key: K, rest: Range<u64>) -> Self {
        Self {
            key,
            rest,
            read: VecDeque::new(),
        }
    }

    /// Returns the next row without taking it, reading it if there is none in memory.
    fn peek(
        &mut self,
        budget: &mut Budget,
        scan: impl Fn(&K, Range<u64>) -> Result<Scanned<R>, IndexError>,
    ) -> Result<Option<R>, IndexError> {
        while self.read.is_empty() && !self.rest.is_empty() && !budget.is_spent() {
            let scanned = scan(&self.key, self.rest.clone())?;
            // Rows that are found are paid for when they are taken.
            budget.spend(scanned.examined - scanned.found.len());
            self.rest = scanned.rest;
            self.read.extend(scanned.found);
        }
        Ok(self.read.front().copied())
    }

    /// Returns the range that was not read, if nothing that was is left.
    fn unread(&self) -> Option<&Range<u64>> {
        (self.read.is_empty() && !self.rest.is_empty()).then_some(&self.rest)
    }
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        view: &'w IndexView<'w>,
        matcher: &'w Matcher<'w>,
        order: AuditOrder,
        ways: Ways,
        budget: Budget,
    ) -> Self {
        let Ways {
            range,
            entries,
            bundles,
            classes,
        } = ways;
        let of_bundles = match range.is_empty() {
            true => 0..0,
            false => range.start / BUNDLE..range.end.div_ceil(BUNDLE),
        };
        let entries = entries
            .into_iter()
            .map(|key| Source::new(key, range.clone()));
        let bundles = bundles
            .into_iter()
            .map(|key| Source::new(key, of_bundles.clone()));
        Self {
            view,
            matcher,
            order,
            entries: entries.collect(),
            bundles: bundles.collect(),
            range,
            classes,
            budget,
        }
    }

    /// Returns the next bundle with entries to look at.
    pub(super) fn step(&mut self) -> Result<Step, IndexError> {
        loop {
            let mut budget = self.budget;
            let of_row = self.next_row(&mut budget)?.map(|row| row.index / BUNDLE);
            let of_bundle = self.next_bundle(&mut budget)?;
            self.budget = budget;
            let known = of_row.into_iter().chain(of_bundle);
            if self.budget.is_spent() {
                return Ok(self.pause(known));
            }
            let Some(bundle) = first(self.order, known) else {
                return Ok(Step::End);
            };
            let is_whole = self.take_bundle(bundle);
            let rows = self.take_rows(bundle)?;
            match (is_whole, rows.is_empty()) {
                (true, _) => return Ok(Step::Bundle(bundle, Candidates::Whole)),
                (false, false) => return Ok(Step::Bundle(bundle, Candidates::Some(rows))),
                (false, true) => self.leave(bundle),
            }
        }
    }

    /// Returns the range of entries that is left.
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Notes that the walk is done with a bundle.
    pub(super) fn leave(&mut self, bundle: u64) {
        match self.order {
            AuditOrder::NewestFirst => self.range.end = self.range.end.min(bundle * BUNDLE),
            AuditOrder::OldestFirst => {
                self.range.start = self.range.start.max((bundle + 1) * BUNDLE);
            }
        }
        if self.range.end < self.range.start {
            self.range.end = self.range.start;
        }
    }

    /// Returns the end of a walk whose budget is spent: everything before the places that are
    /// known was looked at, and before what sources have not read.
    fn pause(&mut self, known: impl Iterator<Item = u64>) -> Step {
        let order = self.order;
        let ahead = |rest: &Range<u64>| match order {
            AuditOrder::NewestFirst => rest.end.saturating_sub(1),
            AuditOrder::OldestFirst => rest.start,
        };
        let of_rows = self.entries.iter().filter_map(Source::unread);
        let of_bundles = self.bundles.iter().filter_map(Source::unread);
        let unread = of_rows
            .map(|rest| ahead(rest) / BUNDLE)
            .chain(of_bundles.map(ahead));
        let Some(next) = first(order, known.chain(unread)) else {
            return Step::End;
        };
        match order {
            AuditOrder::NewestFirst => {
                self.range.end = self.range.end.min((next + 1) * BUNDLE);
            }
            AuditOrder::OldestFirst => {
                self.range.start = self.range.start.max(next * BUNDLE);
            }
        }
        match self.range.is_empty() {
            true => Step::End,
            false => Step::Pause(self.range.clone()),
        }
    }

    /// Returns the next row of all sources.
    fn next_row(&mut self, budget: &mut Budget) -> Result<Option<EntryRow>, IndexError> {
        let (view, order) = (self.view, self.order);
        let scan = |key: &EntryKey, range| view.entries(key, range, order, ROWS);
        let mut next: Option<EntryRow> = None;
        for source in &mut self.entries {
            let Some(row) = source.peek(budget, scan)? else {
                continue;
            };
            let is_first = next.is_none_or(|next| comes_before(order, row.index, next.index));
            if is_first {
                next = Some(row);
            }
        }
        Ok(next)
    }

    fn next_bundle(&mut self, budget: &mut Budget) -> Result<Option<u64>, IndexError> {
        let (view, order) = (self.view, self.order);
        let scan = |key: &BundleKey, range| {
            let limit = match key {
                BundleKey::Targets(_) => SKETCHES,
                _ => ROWS,
            };
            view.bundles(key, range, order, limit)
        };
        let mut next = None;
        for source in &mut self.bundles {
            let row = source.peek(budget, scan)?;
            next = first(order, next.into_iter().chain(row.map(|row| row.bundle)));
        }
        Ok(next)
    }

    /// Takes a bundle from all sources that have it. Returns whether it may have entries
    /// without a row that match.
    fn take_bundle(&mut self, bundle: u64) -> bool {
        let mut may_match = false;
        for source in &mut self.bundles {
            let next = source.read.front().copied();
            let Some(row) = next.filter(|row| row.bundle == bundle) else {
                continue;
            };
            source.read.pop_front();
            self.budget.spend(1);
            let classes = self.classes.as_deref();
            may_match |= classes.is_none_or(|classes| row.may_have(classes))
                && self.matcher.fits_time(row.first_at, row.last_at);
        }
        may_match
    }

    /// Takes the rows of a bundle. Returns the entries among them that may match.
    fn take_rows(&mut self, bundle: u64) -> Result<Vec<u64>, IndexError> {
        let mut entries = Vec::new();
        // A bundle is taken as a whole: it has few rows.
        let mut unlimited = Budget(usize::MAX);
        while let Some(next) = self.next_row(&mut unlimited)? {
            if next.index / BUNDLE != bundle {
                break;
            }
            for source in &mut self.entries {
                let is_next = |row: &EntryRow| row.index == next.index;
                if source.read.front().is_some_and(is_next) {
                    source.read.pop_front();
                    self.budget.spend(1);
                }
            }
            let classes = self.classes.as_deref();
            let fits = classes.is_none_or(|classes| classes.contains(&next.class))
                && self.matcher.fits_time(next.at, next.at);
            if fits {
                entries.push(next.index);
            }
        }
        Ok(entries)
    }
}

fn first(order: AuditOrder, places: impl Iterator<Item = u64>) -> Option<u64> {
    match order {
        AuditOrder::NewestFirst => places.max(),
        AuditOrder::OldestFirst => places.min(),
    }
}

fn comes_before(order: AuditOrder, a: u64, b: u64) -> bool {
    match order {
        AuditOrder::NewestFirst => a > b,
        AuditOrder::OldestFirst => a < b,
    }
}
