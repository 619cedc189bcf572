//! File parts that no kept restore point needs.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::Source;
use crate::{ArchiveError, Survey, lineage, storage::Storage};

/// File parts of a generation that are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// From that number on.
    From(u64),
    /// All: it belongs to another hive, or nothing is known.
    All,
}

/// Returns the keys of the file parts to remove, in order. `kept` says of a restore point whether it
/// stays. Parts from the base of the oldest kept point of a generation on stay, and all objects that
/// a kept base names, of whatever generation; so do those of other hives.
///
/// # Errors
/// [`ArchiveError`]: a base cannot be read, and nothing may be removed.
pub(crate) fn outdated(
    storage: &dyn Storage,
    hive: &str,
    survey: &Survey,
    current: &str,
    kept: &dyn Fn(&crate::Point) -> bool,
) -> Result<Vec<String>, ArchiveError> {
    let source = Source {
        storage,
        hive,
        listing: &survey.files,
    };
    // The generation that is written goes on to use what the one before has until it has a base.
    if source.base(current, u64::MAX)?.is_none() {
        return Ok(Vec::new());
    }
    let own = lineage::of(survey, current);
    let mut needed: BTreeMap<&str, Needed> = BTreeMap::new();
    for generation in &survey.generations {
        let is_own = own.contains(&generation.id.as_str());
        let from = match is_own {
            true => from(&source, survey, &generation.id, kept)?,
            false => Needed::All,
        };
        needed.insert(&generation.id, from);
    }
    let is_needed = |generation: &str, number: u64| match needed.get(generation) {
        Some(Needed::All) => true,
        Some(Needed::From(first)) => number >= *first,
        None => false,
    };
    let mut named: BTreeSet<(String, u64)> = BTreeSet::new();
    for (generation, objects) in &survey.files.generations {
        for (number, object) in objects {
            if object.is_base && is_needed(generation, *number) {
                let list = source.read(generation, *number)?.base()?;
                let objects = list.objects.into_iter();
                named.extend(objects.map(|it| (it.generation, it.number)));
            }
        }
    }
    let (mut bases, mut parts) = (Vec::new(), Vec::new());
    for (generation, objects) in &survey.files.generations {
        for (number, object) in objects {
            let is_named = named.contains(&(generation.clone(), *number));
            if !is_named && !is_needed(generation, *number) {
                let keys = if object.is_base {
                    &mut bases
                } else {
                    &mut parts
                };
                keys.push(object.item.key.clone());
            }
        }
    }
    // A list goes before the objects that it names.
    bases.extend(parts);
    Ok(bases)
}

/// Returns the file parts that the kept points of a generation, and moments after them, need.
fn from(
    source: &Source<'_>,
    survey: &Survey,
    generation: &str,
    kept: &dyn Fn(&crate::Point) -> bool,
) -> Result<Needed, ArchiveError> {
    let points = survey.points.iter();
    let points = points.filter(|it| it.generation == generation && kept(it));
    let at = points.map(|it| it.files.as_ref().map_or(0, |files| files.part));
    let Some(oldest) = at.min() else {
        return Ok(Needed::All);
    };
    let base = source.base(generation, oldest)?;
    Ok(base.map_or(Needed::All, |(first, _)| Needed::From(first)))
}
