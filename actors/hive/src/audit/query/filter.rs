//! The match of an entry with a filter.

use deia_model::{AuditFilter, EventLevel, EventResult};
use deia_trail::names::Pseudonyms;

use crate::audit::index::{Class, Glance, kind_of, opening};

/// A filter with the pseudonyms of the names that it asks for.
#[derive(Debug)]
pub(super) struct Matcher<'f> {
    filter: &'f AuditFilter,
    actors: Vec<String>,
    targets: Vec<String>,
    /// In lower case.
    text: Option<String>,
}

/// Parts of an entry in which a text is searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Searched<'e> {
    pub(super) action: &'e str,
    pub(super) actor: &'e str,
    pub(super) target: &'e str,
    pub(super) details: Option<&'e [u8]>,
}

impl<'f> Matcher<'f> {
    pub(super) fn new(filter: &'f AuditFilter, names: &Pseudonyms) -> Self {
        let ids = |name: &Option<String>| {
            let pseudonym = name.as_ref().and_then(|name| names.id(name));
            let ids = name.iter().cloned().chain(pseudonym.map(str::to_owned));
            ids.collect::<Vec<_>>()
        };
        Self {
            actors: ids(&filter.actor),
            targets: ids(&filter.target),
            text: filter.text.as_ref().map(|text| text.to_lowercase()),
            filter,
        }
    }

    /// Returns what entries may have as their actor; empty: anything.
    pub(super) fn actors(&self) -> &[String] {
        &self.actors
    }

    /// Returns what entries may have as the id of their target; empty: anything.
    pub(super) fn targets(&self) -> &[String] {
        &self.targets
    }

    /// Returns whether the filter asks for some classes of entries only.
    pub(super) fn has_class(&self) -> bool {
        let filter = self.filter;
        filter.action.is_some()
            || filter.level.is_some()
            || filter.min_level.is_some()
            || filter.result.is_some()
    }

    /// Returns whether entries of the class may match.
    pub(super) fn fits_class(&self, class: &Class) -> bool {
        self.fits(&class.action, class.level, class.result)
    }

    fn fits_action(&self, action: &str) -> bool {
        let wanted = self.filter.action.as_ref();
        wanted.is_none_or(|wanted| wanted == action || wanted == kind_of(action))
    }

    fn fits(&self, action: &str, level: EventLevel, result: EventResult) -> bool {
        let filter = self.filter;
        self.fits_action(action)
            && filter.level.is_none_or(|wanted| wanted == level)
            && filter.min_level.is_none_or(|lowest| level >= lowest)
            && filter.result.is_none_or(|wanted| wanted == result)
    }

    /// Returns whether something was recorded in the time of the filter, if it was recorded in
    /// these milliseconds.
    pub(super) fn fits_time(&self, first: i64, last: i64) -> bool {
        let filter = self.filter;
        filter.after.is_none_or(|after| last >= after.as_millis())
            && filter
                .before
                .is_none_or(|before| first < before.as_millis())
    }

    /// Returns whether a look at the entry shows that it does not match. Most entries of a bundle
    /// are sorted out by it.
    pub(super) fn rules_out(&self, entry: &[u8]) -> bool {
        opening(entry).is_some_and(|(action, actor)| {
            !self.fits_action(action) || !is_one_of(&self.actors, actor)
        })
    }

    /// Returns whether the entry matches, apart from the text.
    pub(super) fn matches(&self, index: u64, glance: &Glance<'_>) -> bool {
        let filter = self.filter;
        let at = glance.at.as_millis();
        self.fits(&glance.action, glance.level, glance.result)
            && self.fits_time(at, at)
            && is_one_of(&self.actors, &glance.actor)
            && is_one_of(&self.targets, &glance.target.id)
            && filter
                .target_type
                .as_ref()
                .is_none_or(|wanted| *wanted == glance.target.r#type)
            && filter.from_entry.is_none_or(|from| index >= from)
            && filter.to_entry.is_none_or(|to| index < to)
            && filter.min_seq.is_none_or(|min| glance.seq >= min)
            && filter.max_seq.is_none_or(|max| glance.seq <= max)
    }

    /// Returns whether the filter searches for a text.
    pub(super) fn searches(&self) -> bool {
        self.text.is_some()
    }

    /// Returns whether one of the parts contains the text.
    pub(super) fn finds_text(&self, parts: Searched<'_>) -> bool {
        let Some(text) = &self.text else { return true };
        let contains = |part: &str| part.to_lowercase().contains(text.as_str());
        let in_details = || {
            let details = parts.details.map(String::from_utf8_lossy);
            details.is_some_and(|details| contains(&details))
        };
        [parts.action, parts.actor, parts.target]
            .into_iter()
            .any(contains)
            || in_details()
    }
}

/// Returns whether an id is among those that are wanted; none stands for all.
fn is_one_of(wanted: &[String], id: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == id)
}
