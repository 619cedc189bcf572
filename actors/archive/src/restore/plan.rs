//! The search for the snapshot and the commit that a restore ends with.

use data_encoding::HEXLOWER;

use crate::{
    ArchiveError, Point, document,
    layout::Keys,
    part::{self, Commit},
    snapshot::Snapshot,
    storage::Storage,
    survey::{Generation, Survey, headers},
};

/// A moment to restore to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The newest commit in the archive.
    Newest,
    /// A restore point.
    Point(String),
    /// The newest commit at this time, in milliseconds since 1970.
    At(i64),
    /// The commit that recorded this event.
    Event(u64),
    /// The newest commit before this event.
    BeforeEvent(u64),
}

/// A restore that can be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The generation.
    pub generation: String,
    pub(crate) snapshot: Snapshot,
    /// Number of the last part.
    pub(crate) part: u64,
    /// Number of frames of the log up to the last commit; all of the part if `None`.
    pub(crate) frame: Option<u32>,
    /// The commit that the restored database ends with.
    pub commit: Commit,
    /// The history of its events.
    pub timeline: u64,
    /// The point that was asked for: its checksum must be that of the restored database.
    pub(crate) point: Option<Point>,
    pub(crate) hive: String,
}

/// A commit that was found, and its place.
struct Found {
    part: u64,
    frame: Option<u32>,
    commit: Commit,
    timeline: u64,
}

/// Finds the snapshot and the commit for a target.
///
/// # Errors
/// [`ArchiveError::NoSuchPoint`]: nothing in the archive fits. [`ArchiveError::Damaged`] or
/// [`ArchiveError::Missing`]: an object that decides is not sound.
pub fn plan(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    target: &Target,
) -> Result<Plan, ArchiveError> {
    if let Target::Point(id) = target {
        return of_point(storage, hive, survey, id);
    }
    for generation in survey.generations.iter().rev() {
        let Some(first) = generation.snapshots.first() else {
            continue;
        };
        let Some(found) = search(storage, generation, first.exact_after, target)? else {
            continue;
        };
        if *target == Target::Newest {
            has_the_end(storage, hive, survey, generation, found.part)?;
        }
        let snapshot = snapshot_for(generation, found.part, found.frame.is_none())?;
        return Ok(Plan {
            generation: generation.id.clone(),
            snapshot: snapshot.clone(),
            part: found.part,
            frame: found.frame,
            commit: found.commit,
            timeline: found.timeline,
            point: None,
            hive: hive.to_owned(),
        });
    }
    let reason = match (target, survey.generations.is_empty()) {
        (_, true) => format!("the archive has no generation of {hive}"),
        (Target::Newest, _) => "the archive has no complete snapshot".to_owned(),
        (Target::At(_), _) => "the archive does not reach back to that time".to_owned(),
        _ => "the archive has no such event, or does not reach back to it".to_owned(),
    };
    Err(ArchiveError::NoSuchPoint(reason))
}

/// Checks that no restore point names a later part than the newest one of its generation.
fn has_the_end(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    generation: &Generation,
    newest: u64,
) -> Result<(), ArchiveError> {
    let points = survey.points.iter();
    let last = points
        .filter(|point| point.generation == generation.id)
        .map(|point| point.part)
        .max();
    match last.filter(|last| *last > newest) {
        None => Ok(()),
        Some(last) => Err(ArchiveError::Missing {
            place: storage.address(&Keys::new(hive, &generation.id).parts(newest + 1, last)),
        }),
    }
}

fn of_point(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    id: &str,
) -> Result<Plan, ArchiveError> {
    let point = Point::read(storage, hive, id).map_err(|error| match error {
        ArchiveError::Missing { .. } => {
            ArchiveError::NoSuchPoint(format!("the archive has no restore point {id}"))
        }
        other => other,
    })?;
    let generation = survey
        .generations
        .iter()
        .find(|it| it.id == point.generation);
    let generation = generation.ok_or_else(|| ArchiveError::Missing {
        place: storage.address(&format!("{hive}/generations/{}", point.generation)),
    })?;
    Ok(Plan {
        generation: point.generation.clone(),
        snapshot: snapshot_for(generation, point.part, true)?.clone(),
        part: point.part,
        frame: None,
        commit: Commit {
            frame: 0,
            seq: point.seq,
            at: point.at,
        },
        timeline: point.timeline,
        point: Some(point),
        hive: hive.to_owned(),
    })
}

/// Returns the newest snapshot that is exact at a part: at its end, or already before it.
fn snapshot_for(
    generation: &Generation,
    part: u64,
    at_its_end: bool,
) -> Result<&Snapshot, ArchiveError> {
    let fits = |snapshot: &&Snapshot| match at_its_end {
        true => snapshot.exact_after <= part,
        false => snapshot.exact_after < part,
    };
    let mut newest_first = generation.snapshots.iter().rev();
    newest_first.find(fits).ok_or_else(|| {
        ArchiveError::NoSuchPoint(format!(
            "{} has no snapshot before that point",
            generation.id
        ))
    })
}

/// Searches a generation for the commit of a target, from the end of part `exact` on.
fn search(
    storage: &dyn Storage,
    generation: &Generation,
    exact: u64,
    target: &Target,
) -> Result<Option<Found>, ArchiveError> {
    if *target == Target::Newest {
        return newest(storage, generation, exact);
    }
    let mut found = None;
    for object in generation
        .parts
        .iter()
        .filter(|(numbers, _)| numbers.1 >= exact)
    {
        let all = headers(storage, &generation.id, object)?;
        let has = |header: &crate::PartHeader| match *target {
            Target::At(at) => header.last.at > at,
            Target::Event(seq) | Target::BeforeEvent(seq) => header.last.seq >= seq,
            _ => false,
        };
        for (header, _) in all.iter().filter(|(header, _)| header.number >= exact) {
            if header.number == exact {
                let is_past = match *target {
                    Target::At(at) => header.last.at > at,
                    Target::Event(seq) => header.last.seq > seq,
                    Target::BeforeEvent(seq) => header.last.seq >= seq,
                    _ => false,
                };
                if is_past {
                    return Ok(None);
                }
                found = Some(whole(header));
                if matches!(*target, Target::Event(seq) if header.last.seq == seq) {
                    return Ok(found);
                }
            } else if has(header) {
                let within = within(storage, &object.1.key, header.number, target)?;
                return Ok(within.or(found));
            } else if header.ends_commit {
                found = Some(whole(header));
            } else if found.as_ref().is_some_and(|it| it.commit != header.last) {
                // Another transaction begins in the part, after this commit.
                found = Some(partly(header, header.last));
            }
        }
    }
    match target {
        // The event is newer than the archive.
        Target::Event(_) | Target::BeforeEvent(_) => Ok(None),
        _ => Ok(found),
    }
}

fn newest(
    storage: &dyn Storage,
    generation: &Generation,
    exact: u64,
) -> Result<Option<Found>, ArchiveError> {
    for object in generation.parts.iter().rev() {
        let all = headers(storage, &generation.id, object)?;
        for (header, _) in all.iter().rev() {
            let found = match header.ends_commit {
                true => Some(whole(header)),
                false => open(storage, &object.1.key, header.number)?
                    .and_then(|part| part.commits.last().copied())
                    .map(|commit| partly(header, commit)),
            };
            if let Some(found) = found {
                return Ok((header.number >= exact).then_some(found));
            }
        }
    }
    Ok(None)
}

fn whole(header: &crate::PartHeader) -> Found {
    Found {
        part: header.number,
        frame: None,
        commit: header.last,
        timeline: header.timeline,
    }
}

fn partly(header: &crate::PartHeader, commit: Commit) -> Found {
    Found {
        frame: Some(commit.frame),
        commit,
        ..whole(header)
    }
}

/// Reads a part of an object.
fn open(storage: &dyn Storage, key: &str, number: u64) -> Result<Option<part::Part>, ArchiveError> {
    let bytes = document::get(storage, key)?;
    let place = storage.address(key);
    let sealed = part::split(&bytes, &place)?;
    let sealed = sealed.into_iter().find(|it| it.header.number == number);
    sealed.map(part::Sealed::open).transpose()
}

/// Searches a part; `None` if the commit is before it.
fn within(
    storage: &dyn Storage,
    key: &str,
    number: u64,
    target: &Target,
) -> Result<Option<Found>, ArchiveError> {
    let Some(part) = open(storage, key, number)? else {
        return Ok(None);
    };
    let commit = match *target {
        Target::At(at) => part.commits.iter().rev().find(|it| it.at <= at),
        Target::Event(seq) => part.commits.iter().find(|it| it.seq >= seq),
        Target::BeforeEvent(seq) => part.commits.iter().rev().find(|it| it.seq < seq),
        _ => None,
    };
    Ok(commit.map(|commit| Found {
        part: number,
        frame: Some(commit.frame),
        commit: *commit,
        timeline: part.header.timeline,
    }))
}

impl Plan {
    /// Returns the size of the snapshot, in bytes: about that of the restored file.
    pub fn bytes(&self) -> u64 {
        self.snapshot.bytes()
    }

    /// Returns the hash that the last part must have, in hexadecimal digits, if it is known.
    pub(crate) fn part_hash(&self) -> Option<&str> {
        self.point.as_ref().map(|point| point.part_hash.as_str())
    }

    pub(crate) fn is_at(&self, hash: &part::PartHash) -> bool {
        self.part_hash()
            .is_none_or(|known| known == HEXLOWER.encode(hash))
    }
}
