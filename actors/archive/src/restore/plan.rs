//! The search for the snapshot and the commit that a restore ends with.

use data_encoding::HEXLOWER;

use super::search::{Found, search};
use crate::{
    ArchiveError, FilesAt, Point,
    layout::Keys,
    lineage,
    part::{self, Commit},
    snapshot::Snapshot,
    storage::Storage,
    survey::{Generation, Survey},
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
    /// The newest commit at this time in the generation of a restore point, from the point on.
    After {
        /// The point.
        point: String,
        /// The time, in milliseconds since 1970.
        at: i64,
    },
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
    /// False if the database may have later commits than `commit`, which are not known.
    pub is_known: bool,
    /// Facts about the archive that the restored state depends on, each a sentence.
    pub notes: Vec<String>,
    /// The history of its events.
    pub timeline: u64,
    /// The point that was asked for: its checksum must be that of the restored database.
    pub(crate) point: Option<Point>,
    pub(crate) hive: String,
    /// The end of the shipped files at that moment; `None` if files were not shipped.
    pub files: Option<FilesAt>,
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
    match target {
        Target::Point(id) => return of_point(storage, hive, survey, id),
        Target::After { point, at } => return after_point(storage, hive, survey, (point, *at)),
        _ => {}
    }
    let mut notes = Vec::new();
    for (index, generation) in survey.generations.iter().enumerate().rev() {
        lineage::check(storage, hive, survey, index)?;
        let first = generation.snapshots.first();
        let found = match first {
            Some(first) => search(storage, generation, first.exact_after, target)?,
            None => None,
        };
        let Some(found) = found else {
            // The moment may be one that only the lost snapshot has.
            if let Some(fault) = lineage::lost_snapshot(storage, hive, survey, generation)? {
                return Err(ArchiveError::damaged(fault.place, fault.reason));
            }
            if first.is_none() {
                notes.push(format!(
                    "{} has no complete snapshot: its commits cannot be restored",
                    generation.id
                ));
            }
            continue;
        };
        if *target == Target::Newest {
            has_the_end(storage, hive, survey, generation, found.part)?;
        }
        return planned(hive, generation, found, notes);
    }
    let reason = match (target, survey.generations.is_empty()) {
        (_, true) => format!("the archive has no generation of {hive}"),
        (Target::Newest, _) => "the archive has no complete snapshot".to_owned(),
        (Target::At(_), _) => "the archive does not reach back to that time".to_owned(),
        _ => "the archive has no such event, or does not reach back to it".to_owned(),
    };
    Err(ArchiveError::NoSuchPoint(reason))
}

fn planned(
    hive: &str,
    generation: &Generation,
    found: Found,
    notes: Vec<String>,
) -> Result<Plan, ArchiveError> {
    let snapshot = snapshot_for(generation, found.part, found.frame.is_none())?;
    Ok(Plan {
        generation: generation.id.clone(),
        snapshot: snapshot.clone(),
        part: found.part,
        frame: found.frame,
        commit: found.commit,
        is_known: found.is_known,
        timeline: found.timeline,
        files: found.files,
        point: None,
        hive: hive.to_owned(),
        notes,
    })
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

/// Reads a point, and finds its generation.
fn point_in<'a>(
    storage: &dyn Storage,
    hive: &str,
    survey: &'a Survey,
    id: &str,
) -> Result<(Point, &'a Generation), ArchiveError> {
    let point = Point::read(storage, hive, id).map_err(|error| match error {
        ArchiveError::Missing { .. } => {
            ArchiveError::NoSuchPoint(format!("the archive has no restore point {id}"))
        }
        other => other,
    })?;
    let mut generations = survey.generations.iter();
    let generation = generations.find(|it| it.id == point.generation);
    let generation = generation.ok_or_else(|| ArchiveError::Missing {
        place: storage.address(&format!("{hive}/generations/{}", point.generation)),
    })?;
    let is_exact = |snapshot: &Snapshot| snapshot.exact_after <= point.part;
    if !generation.snapshots.iter().any(is_exact) {
        // A point is made only after a snapshot is complete.
        let place = storage.address(&Keys::new(hive, &generation.id).snapshots());
        let fault = survey.faults.iter().find(|it| it.place.starts_with(&place));
        return Err(match fault {
            Some(fault) => ArchiveError::damaged(fault.place.clone(), fault.reason.clone()),
            None => ArchiveError::Missing { place },
        });
    }
    Ok((point, generation))
}

fn after_point(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    (id, at): (&str, i64),
) -> Result<Plan, ArchiveError> {
    let (point, generation) = point_in(storage, hive, survey, id)?;
    if at < point.at {
        let reason = format!("the moment is before the restore point {id}");
        return Err(ArchiveError::NoSuchPoint(reason));
    }
    match search(storage, generation, point.part, &Target::At(at))? {
        Some(found) => planned(hive, generation, found, Vec::new()),
        None => of_point(storage, hive, survey, id),
    }
}

fn of_point(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    id: &str,
) -> Result<Plan, ArchiveError> {
    let (point, generation) = point_in(storage, hive, survey, id)?;
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
        is_known: true,
        timeline: point.timeline,
        files: point.files.clone(),
        point: Some(point),
        hive: hive.to_owned(),
        notes: Vec::new(),
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
