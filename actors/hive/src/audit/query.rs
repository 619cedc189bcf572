//! Queries of the trail. Everything here blocks.
//!
//! The index only leads to bundles; an entry counts if it matches as it is in the trail.

mod cursor;
mod filter;
#[cfg(test)]
pub(crate) mod fixtures;
mod names;
mod page;
mod plan;
mod record;
#[cfg(test)]
mod tests;
mod walk;

use std::{path::Path, sync::Arc};

use deia_model::{AuditFilter, AuditOrder, AuditPage, PageRequest, TaskId, Timestamp};
use deia_trail::{ReadError, TrailReader, checkpoint::SignedCheckpoint, names::Pseudonyms};

use self::{
    cursor::Place,
    filter::Matcher,
    names::NamesCache,
    page::{Bounds, PageReader},
    plan::{Plan, Wanted},
    walk::{Budget, Walk, Ways},
};
use super::index::{BundleKey, EntryKey, IndexError, IndexReaders, IndexView, Probe};

/// Most records of a page.
const LIMIT_MAX: u32 = 1_000;

/// Time by which an event of a task may seem to be older than the id of the task, in
/// milliseconds: the clock may be set back between the two.
const TASK_SLACK_MS: u64 = 60_000;

/// Reason why the trail cannot be queried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditReadError {
    /// The cursor is not one that this list gave out, or belongs to another order or trail.
    #[error("the cursor is not one of this list: leave it out to begin with the first page")]
    BadCursor,
    /// There is no such entry.
    #[error("the trail has no entry {0}")]
    NoEntry(u64),
    /// The entry was removed by retention.
    #[error("entry {0} is past retention: only its hash is left")]
    Pruned(u64),
    /// The sizes are not those of two states of the trail, the earlier one first.
    #[error(
        "{from} and {to} are not an earlier and a later size of the trail, which has {size} entries"
    )]
    Sizes {
        /// The earlier size.
        from: u64,
        /// The later size.
        to: u64,
        /// Number of entries.
        size: u64,
    },
    /// A part of the trail is damaged.
    #[error("{0} is damaged: verify the trail")]
    Damaged(String),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The trail cannot be read.
    #[error(transparent)]
    Trail(#[from] ReadError),
}

/// Limit of the cost of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageLimits {
    /// Maximum number of entries that are looked at. A filter that matches little gives short
    /// pages instead of slow ones.
    pub(super) examined: usize,
    /// Bytes of entries and details after which the page ends.
    pub(super) bytes: usize,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self {
            examined: 50_000,
            bytes: 4 << 20,
        }
    }
}

/// Reads of a trail with its index, for any number of threads.
#[derive(Debug)]
pub(crate) struct AuditReads {
    pub(super) trail: TrailReader,
    pub(super) index: IndexReaders,
    names: NamesCache,
    limits: PageLimits,
}

impl AuditReads {
    /// Reads a trail with the index at that path, which need not exist yet.
    pub(crate) fn new(trail: TrailReader, index: &Path) -> Self {
        Self {
            trail,
            index: IndexReaders::new(index.to_owned()),
            names: NamesCache::default(),
            limits: PageLimits::default(),
        }
    }

    /// Returns the reader of the trail.
    pub(crate) fn trail(&self) -> &TrailReader {
        &self.trail
    }

    /// Returns a page of the records that match the filter. Entries that retention has removed
    /// are left out.
    ///
    /// # Errors
    /// The cursor is not one of this list, or the trail or its index cannot be read.
    pub(crate) fn query(
        &self,
        filter: &AuditFilter,
        order: AuditOrder,
        page: &PageRequest,
    ) -> Result<AuditPage, AuditReadError> {
        self.query_with(filter, order, page, self.limits)
    }

    pub(super) fn query_with(
        &self,
        filter: &AuditFilter,
        order: AuditOrder,
        page: &PageRequest,
        limits: PageLimits,
    ) -> Result<AuditPage, AuditReadError> {
        let head = Head::of(self.trail.checkpoint()?);
        let place = match &page.cursor {
            None => None,
            Some(cursor) => {
                let place = Place::parse(cursor, &head.origin, order);
                Some(place.ok_or(AuditReadError::BadCursor)?)
            }
        };
        let names = self.names()?;
        let matcher = Matcher::new(filter, &names);
        self.index.read(|view| {
            let Some(view) = view.filter(|view| view.origin() == head.origin) else {
                return Ok(head.page_without_index());
            };
            let indexed_upto = view.position().min(head.size);
            let range = range(view, filter, order, place, indexed_upto)?;
            let ways = ways(view, &matcher, range)?;
            let walk = Walk::new(view, &matcher, order, ways, Budget::new(limits.examined));
            let bounds = Bounds {
                size: head.size,
                limit: usize::try_from(page.limit.clamp(1, LIMIT_MAX)).unwrap_or(1),
                bytes: limits.bytes,
            };
            let read = PageReader::new(&self.trail, &names, &matcher, order, bounds).read(walk)?;
            Ok(AuditPage {
                items: read.items,
                next_cursor: read.next.map(|at| Place(at).cursor(&head.origin, order)),
                indexed_upto,
                size: head.size,
                unreadable: read.unreadable,
            })
        })
    }

    /// Returns the names behind pseudonyms.
    pub(super) fn names(&self) -> Result<Arc<Pseudonyms>, ReadError> {
        self.names.get(&self.trail)
    }
}

/// The state of the trail.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) origin: String,
    pub(super) size: u64,
}

impl Head {
    pub(super) fn of(checkpoint: Option<SignedCheckpoint>) -> Self {
        checkpoint.map_or_else(Self::default, |signed| Self {
            size: signed.checkpoint.head.size,
            origin: signed.checkpoint.origin,
        })
    }

    fn page_without_index(&self) -> AuditPage {
        AuditPage {
            items: Vec::new(),
            next_cursor: None,
            indexed_upto: 0,
            size: self.size,
            unreadable: Vec::new(),
        }
    }
}

/// Returns the range of entries outside which none matches.
fn range(
    view: &IndexView<'_>,
    filter: &AuditFilter,
    order: AuditOrder,
    place: Option<Place>,
    indexed_upto: u64,
) -> Result<std::ops::Range<u64>, IndexError> {
    let after = filter.after.max(created(filter));
    let mut range = view.recorded(after, filter.before)?;
    if filter.min_seq.is_some() || filter.max_seq.is_some() {
        let (min, max) = (
            filter.min_seq.unwrap_or(0),
            filter.max_seq.unwrap_or(u64::MAX),
        );
        range = common(&range, &view.numbered(min, max)?);
    }
    let asked = filter.from_entry.unwrap_or(0)..filter.to_entry.unwrap_or(u64::MAX);
    range = common(&range, &asked);
    range = common(&range, &(0..indexed_upto));
    Ok(match (place, order) {
        (None, _) => range,
        (Some(Place(at)), AuditOrder::NewestFirst) => common(&range, &(0..at)),
        (Some(Place(at)), AuditOrder::OldestFirst) => common(&range, &(at..u64::MAX)),
    })
}

fn common(a: &std::ops::Range<u64>, b: &std::ops::Range<u64>) -> std::ops::Range<u64> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// Returns the time before which nothing was recorded about the target, if it is a task: its
/// id has the time of its submission.
fn created(filter: &AuditFilter) -> Option<Timestamp> {
    let id: TaskId = filter.target.as_ref()?.parse().ok()?;
    let mut ms = [0; 8];
    ms[2..].copy_from_slice(&id.as_bytes()[..6]);
    let at = Timestamp::from_millis(i64::from_be_bytes(ms));
    Some(at.minus_millis(TASK_SLACK_MS))
}

/// Returns the ways to the entries that may match.
fn ways(
    view: &IndexView<'_>,
    matcher: &Matcher<'_>,
    range: std::ops::Range<u64>,
) -> Result<Ways, IndexError> {
    let mut classes = None;
    let mut in_bundles = Vec::new();
    if matcher.has_class() {
        let all = view.classes()?;
        let fitting: Vec<i64> = all
            .iter()
            .filter(|class| matcher.fits_class(class))
            .map(|class| class.id)
            .collect();
        for class in &fitting {
            if view.is_in_bundles(*class)? {
                in_bundles.push(*class);
            }
        }
        classes = Some(fitting);
    }
    let mut actors = Vec::new();
    for name in matcher.actors() {
        actors.extend(view.actor(name)?);
    }
    let plan = Plan::of(Wanted {
        target: !matcher.targets().is_empty(),
        actor: !matcher.actors().is_empty(),
        class: classes.is_some(),
        class_is_in_bundles: !in_bundles.is_empty(),
    });
    let entries = match plan.entries {
        plan::Path::Target => matcher
            .targets()
            .iter()
            .cloned()
            .map(EntryKey::Target)
            .collect(),
        plan::Path::Actor => actors.iter().copied().map(EntryKey::Actor).collect(),
        plan::Path::Class => {
            let classes = classes.iter().flatten().copied();
            classes.map(EntryKey::Class).collect()
        }
        plan::Path::All => vec![EntryKey::All],
        plan::Path::Nothing => Vec::new(),
    };
    let bundles = match plan.bundles {
        plan::Path::Target => {
            let probes = matcher.targets().iter().map(|id| Probe::of(id));
            vec![BundleKey::Targets(probes.collect())]
        }
        plan::Path::Actor => actors.into_iter().map(BundleKey::Actor).collect(),
        plan::Path::Class => in_bundles.into_iter().map(BundleKey::Class).collect(),
        plan::Path::All => vec![BundleKey::All],
        plan::Path::Nothing => Vec::new(),
    };
    Ok(Ways {
        range,
        entries,
        bundles,
        classes,
    })
}
