//! The order of generations: each names the one before it, and the part that this ended with.

use crate::{
    ArchiveError, Fault, Survey,
    layout::Keys,
    storage::Storage,
    survey::{Generation, newest_part},
};

/// Returns whether a generation continues the one before it. An earlier generation that went on
/// after that, and one that the later does not name, were written by another hive.
fn continues(later: &Generation, earlier: &Generation) -> bool {
    let link = later.beginning.as_ref().and_then(|it| it.previous.as_ref());
    let last = earlier.parts.last().map_or(0, |(numbers, _)| numbers.1);
    link.is_some_and(|link| link.generation == earlier.id && last <= link.part)
}

/// Checks that the generation at this index continues the one before it, if there is one.
///
/// # Errors
/// [`ArchiveError::Forked`]; [`ArchiveError::Damaged`] if its description cannot be read.
pub(crate) fn check(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    index: usize,
) -> Result<(), ArchiveError> {
    let before = index.checked_sub(1);
    let (Some(later), Some(earlier)) = (
        survey.generations.get(index),
        before.and_then(|it| survey.generations.get(it)),
    ) else {
        return Ok(());
    };
    if later.beginning.is_none() {
        let place = storage.address(&Keys::new(hive, &later.id).generation());
        let fault = survey.faults.iter().find(|fault| fault.place == place);
        let reason = fault.map_or("it cannot be read", |fault| fault.reason.as_str());
        return Err(ArchiveError::damaged(place.clone(), reason));
    }
    match continues(later, earlier) {
        true => Ok(()),
        false => Err(ArchiveError::Forked {
            later: later.id.clone(),
            earlier: earlier.id.clone(),
        }),
    }
}

/// Returns the ids of a generation and of those before it that it continues.
pub(crate) fn of<'a>(survey: &'a Survey, generation: &str) -> Vec<&'a str> {
    let all = &survey.generations;
    let Some(mut index) = all.iter().position(|it| it.id == generation) else {
        return Vec::new();
    };
    let mut lineage = vec![all[index].id.as_str()];
    while index > 0 && continues(&all[index], &all[index - 1]) {
        index -= 1;
        lineage.push(&all[index].id);
    }
    lineage
}

/// Returns the object that is damaged or missing if a generation had a complete snapshot and
/// none can be read. The first copy of a generation that died is none.
///
/// # Errors
/// [`ArchiveError::Storage`], or an object that decides is not sound.
pub(crate) fn lost_snapshot(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    generation: &Generation,
) -> Result<Option<Fault>, ArchiveError> {
    let snapshots = storage.address(&Keys::new(hive, &generation.id).snapshots());
    let mut faults = survey.faults.iter();
    if let Some(fault) = faults.find(|fault| fault.place.starts_with(&snapshots)) {
        return Ok(Some(fault.clone()));
    }
    if !generation.snapshots.is_empty() {
        return Ok(None);
    }
    let mut points = survey.points.iter();
    let had_one = points.any(|point| point.generation == generation.id)
        || newest_part(storage, generation)?.is_some_and(|(header, _)| header.has_snapshot);
    Ok(had_one.then(|| Fault {
        place: snapshots,
        reason: "it is missing: the generation has restore points or a log after a snapshot"
            .to_owned(),
    }))
}
