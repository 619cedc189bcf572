//! The plan of a restore: the snapshot, and the commit that it ends with.

use data_encoding::HEXLOWER;

use super::{
    search::{Found, Searched, newest, search},
    target::{self, Extent, Moment, Target},
};
use crate::{
    ArchiveError, FilesAt, Point,
    layout::Keys,
    lineage,
    part::{self, Commit},
    snapshot::Snapshot,
    storage::Storage,
    survey::{Generation, Survey},
};

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
/// [`ArchiveError::NoSuchPoint`] or [`ArchiveError::Outside`]: nothing in the archive fits.
/// [`ArchiveError::Damaged`] or [`ArchiveError::Missing`]: an object that decides is not sound.
pub fn plan(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    target: &Target,
) -> Result<Plan, ArchiveError> {
    let moment = match target {
        Target::Point(id) => return of_point(storage, hive, survey, id),
        Target::After { point, moment } => {
            return after_point(storage, hive, survey, (point, *moment));
        }
        Target::Newest => None,
        Target::Moment(moment) => Some(*moment),
    };
    let timeline = match moment {
        Some(Moment::Event(_) | Moment::BeforeEvent(_)) => {
            target::newest_timeline(storage, survey)?
        }
        _ => 1,
    };
    let (mut notes, mut others) = (Vec::new(), Vec::new());
    for (index, generation) in survey.generations.iter().enumerate().rev() {
        lineage::check(storage, hive, survey, index)?;
        let first = generation.snapshots.first();
        let searched = match (first, moment) {
            (Some(first), Some(moment)) => {
                search(storage, generation, first.exact_after, moment, timeline)?
            }
            (Some(first), None) => newest(storage, generation, first.exact_after)?.into(),
            (None, _) => Searched::Nothing,
        };
        let found = match searched {
            Searched::Found(found) => found,
            Searched::OtherHistory(other) => {
                others.push(other);
                continue;
            }
            Searched::Nothing => {
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
            }
        };
        if moment.is_none() {
            has_the_end(storage, hive, survey, generation, found.part)?;
        }
        return planned(hive, generation, found, notes);
    }
    let Some(moment) = moment.filter(|_| !survey.generations.is_empty()) else {
        return Err(ArchiveError::NoSuchPoint(
            match survey.generations.is_empty() {
                true => format!("the archive has no generation of {hive}"),
                false => "the archive has no complete snapshot".to_owned(),
            },
        ));
    };
    Err(outside(storage, survey, moment, (timeline, &others)))
}

/// Returns the error for a moment that no generation has, with those that can be restored.
fn outside(
    storage: &dyn Storage,
    survey: &Survey,
    moment: Moment,
    (timeline, others): (u64, &[u64]),
) -> ArchiveError {
    let reason = match moment {
        Moment::At(_) => "the archive does not reach back to that time".to_owned(),
        Moment::Event(event) | Moment::BeforeEvent(event) => {
            let wanted = event.timeline.unwrap_or(timeline);
            let seq = event.seq;
            match others.first() {
                Some(other) => format!(
                    "the archive has event {other}.{seq}, which is of another history than {wanted}.{seq}; name the history before the dot"
                ),
                None => format!(
                    "the archive does not have event {wanted}.{seq}, or does not reach back to it"
                ),
            }
        }
    };
    // The extent only explains: an object that cannot be read is no news here.
    ArchiveError::Outside {
        reason,
        extent: Extent::of(storage, survey).ok().flatten(),
    }
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
    (id, moment): (&str, Moment),
) -> Result<Plan, ArchiveError> {
    let (point, generation) = point_in(storage, hive, survey, id)?;
    let is_before = match moment {
        Moment::At(at) => at < point.at,
        Moment::Event(event) => event.seq < point.seq,
        Moment::BeforeEvent(event) => event.seq <= point.seq,
    };
    if is_before {
        let reason = format!("the moment is before the restore point {id}");
        let extent = Extent::of(storage, survey).ok().flatten();
        return Err(ArchiveError::Outside { reason, extent });
    }
    let others = match search(storage, generation, point.part, moment, point.timeline)? {
        Searched::Found(found) => return planned(hive, generation, found, Vec::new()),
        Searched::Nothing if matches!(moment, Moment::At(_)) => {
            return of_point(storage, hive, survey, id);
        }
        Searched::Nothing => Vec::new(),
        Searched::OtherHistory(other) => vec![other],
    };
    Err(outside(storage, survey, moment, (point.timeline, &others)))
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
