//! Moments that a restore ends with, and the extent of those that an archive has.

use std::fmt;

use crate::{
    ArchiveError,
    part::PartHeader,
    storage::Storage,
    survey::{Generation, Survey, headers, newest_part},
};

/// An event, by its number in a history of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef {
    /// The history; `None`: the newest one of the archive, or that of the restore point. A number
    /// is never taken for one of another history, whose event it is not.
    pub timeline: Option<u64>,
    /// Number of the event.
    pub seq: u64,
}

impl From<u64> for EventRef {
    fn from(seq: u64) -> Self {
        Self {
            timeline: None,
            seq,
        }
    }
}

/// A moment in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The newest commit at this time, in milliseconds since 1970.
    At(i64),
    /// The commit that recorded this event.
    Event(EventRef),
    /// The newest commit before this event.
    BeforeEvent(EventRef),
}

/// A moment to restore to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The newest commit in the archive.
    Newest,
    /// A restore point.
    Point(String),
    /// A moment in any generation.
    Moment(Moment),
    /// A moment in the generation of a restore point, from the point on.
    After {
        /// The point.
        point: String,
        /// The moment.
        moment: Moment,
    },
}

/// A commit that can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The history of its events.
    pub timeline: u64,
    /// Number of the newest event after it.
    pub seq: u64,
    /// Time of the commit, in milliseconds since 1970.
    pub at: i64,
}

impl Edge {
    fn of(header: &PartHeader) -> Self {
        Self {
            timeline: header.timeline,
            seq: header.last.seq,
            at: header.last.at,
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.timeline, self.seq)
    }
}

/// The commits that an archive can restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The oldest one.
    pub oldest: Edge,
    /// The newest one.
    pub newest: Edge,
}

impl Extent {
    /// Returns the commits that the generations of an archive can restore; `None` if there is no
    /// complete snapshot.
    ///
    /// # Errors
    /// [`ArchiveError`]: an object that decides cannot be read, or is not sound.
    pub fn of(storage: &dyn Storage, survey: &Survey) -> Result<Option<Self>, ArchiveError> {
        let complete = survey.generations.iter();
        let complete: Vec<_> = complete.filter(|it| !it.snapshots.is_empty()).collect();
        let mut oldest = None;
        for generation in &complete {
            oldest = first_commit(storage, generation)?;
            if oldest.is_some() {
                break;
            }
        }
        let newest = match complete.last() {
            Some(newest) => newest_part(storage, newest)?,
            None => None,
        };
        Ok(oldest.zip(newest).map(|(oldest, (newest, _))| Self {
            oldest,
            newest: Edge::of(&newest),
        }))
    }
}

/// Returns the commit that the first snapshot of a generation is exact at.
fn first_commit(
    storage: &dyn Storage,
    generation: &Generation,
) -> Result<Option<Edge>, ArchiveError> {
    let Some(snapshot) = generation.snapshots.first() else {
        return Ok(None);
    };
    let holds = |numbers: &(u64, u64)| (numbers.0..=numbers.1).contains(&snapshot.exact_after);
    let mut objects = generation.parts.iter();
    let Some(object) = objects.find(|(numbers, _)| holds(numbers)) else {
        return Ok(None);
    };
    let all = headers(storage, &generation.id, object)?;
    let mut all = all.iter().map(|(header, _)| header);
    let found = all.find(|header| header.number == snapshot.exact_after);
    Ok(found.map(Edge::of))
}

/// Returns the newest history of an archive, by the newest part that is sound; 1 if it has no log.
pub(super) fn newest_timeline(storage: &dyn Storage, survey: &Survey) -> Result<u64, ArchiveError> {
    for generation in survey.generations.iter().rev() {
        for object in generation.parts.iter().rev() {
            match headers(storage, &generation.id, object) {
                Ok(all) => {
                    if let Some((header, _)) = all.last() {
                        return Ok(header.timeline);
                    }
                }
                Err(error) if error.may_pass() => return Err(error),
                // A damaged part is found by those who need it.
                Err(_) => {}
            }
        }
    }
    Ok(1)
}
