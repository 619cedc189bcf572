//! The objects of an archive: generations, snapshots, parts and restore points.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

use crate::{
    ArchiveError, Point, document,
    files::Listing,
    layout::{self, Keys, part_numbers},
    part::{self, PartHash, PartHeader},
    snapshot::Snapshot,
    storage::{Item, Storage},
    writer::Beginning,
};

/// An object of an archive that is not sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The object, with the address of the storage.
    pub place: String,
    /// The observation that shows this.
    pub reason: String,
}

impl Fault {
    pub(crate) fn of(error: &ArchiveError) -> Self {
        let (place, reason) = match error {
            ArchiveError::Damaged { place, reason } => (place.clone(), reason.clone()),
            ArchiveError::Missing { place } => (place.clone(), "it is missing".to_owned()),
            other => (String::new(), other.to_string()),
        };
        Self { place, reason }
    }
}

/// A generation, as its objects show it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generation {
    pub(crate) id: String,
    /// Number among the generations of the hive.
    pub(crate) number: u64,
    /// Description; `None` if it cannot be read.
    pub(crate) beginning: Option<Beginning>,
    /// Complete snapshots, oldest first.
    pub(crate) snapshots: Vec<Snapshot>,
    /// Objects with parts: the numbers of the first and the last part in each, in order.
    pub(crate) parts: Vec<((u64, u64), Item)>,
    /// All objects.
    pub(crate) items: Vec<Item>,
}

/// The objects of one hive in an archive.
#[derive(Debug, Default)]
pub struct Survey {
    /// Generations, in the order of their numbers.
    pub(crate) generations: Vec<Generation>,
    /// Readable restore points, in the order of their places in the archive.
    pub points: Vec<Point>,
    /// Objects that cannot be read.
    pub faults: Vec<Fault>,
    /// Size of all objects, in bytes.
    pub bytes: u64,
    /// The parts of files.
    pub(crate) files: Listing,
}

impl Survey {
    /// Lists the ids of the hives that an archive has objects of.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`].
    pub fn hives(storage: &dyn Storage) -> Result<Vec<String>, ArchiveError> {
        let items = list(storage, "")?;
        let mut hives: Vec<String> = items
            .iter()
            .filter(|item| item.key.contains("/generations/"))
            .filter_map(|item| item.key.split('/').next().map(str::to_owned))
            .collect();
        hives.dedup();
        Ok(hives)
    }

    /// Lists the objects of a hive, and reads the small ones. Damaged ones are among the
    /// faults.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`].
    pub fn of(storage: &dyn Storage, hive: &str) -> Result<Self, ArchiveError> {
        // Before the generations: a generation is described before it has files.
        let files = Listing::of(storage, hive)?;
        let mut survey = Self {
            bytes: files.bytes,
            faults: files.faults.clone(),
            files,
            ..Self::default()
        };
        let prefix = layout::generations(hive);
        let mut found: BTreeMap<String, Generation> = BTreeMap::new();
        for item in list(storage, &prefix)? {
            survey.bytes += item.bytes;
            let Some((id, _)) = item.key[prefix.len()..].split_once('/') else {
                continue;
            };
            let generation = found.entry(id.to_owned()).or_default();
            id.clone_into(&mut generation.id);
            generation.items.push(item);
        }
        for mut generation in found.into_values() {
            let Some(number) = layout::generation_number(&generation.id) else {
                survey.faults.push(Fault {
                    place: storage.address(&Keys::new(hive, &generation.id).prefix()),
                    reason: "its name is none of a generation".into(),
                });
                continue;
            };
            generation.number = number;
            if survey.read_generation(storage, hive, &mut generation)? {
                survey.generations.push(generation);
            }
        }
        survey
            .generations
            .sort_by(|a, b| (a.number, &a.id).cmp(&(b.number, &b.id)));
        for item in list(storage, &layout::points(hive))? {
            survey.bytes += item.bytes;
            let name = item.key.rsplit('/').next().unwrap_or_default();
            let Some(id) = name.strip_suffix(".json") else {
                continue;
            };
            if let Some(point) = survey.noting(Point::read(storage, hive, id))? {
                survey.points.push(point);
            }
        }
        survey
            .points
            .sort_by_key(|point| (point.order(), point.created_at));
        Ok(survey)
    }

    /// Returns whether the archive has nothing of the hive.
    pub fn is_empty(&self) -> bool {
        self.generations.is_empty() && self.points.is_empty() && self.faults.is_empty()
    }

    /// Returns the ids of the generations, in order.
    pub fn generations(&self) -> impl Iterator<Item = &str> {
        self.generations.iter().map(|it| it.id.as_str())
    }

    /// Returns the id of the newest generation.
    pub fn newest_generation(&self) -> Option<&str> {
        self.generations.last().map(|it| it.id.as_str())
    }

    /// Reads the small objects of a generation. Returns `false` if it was removed meanwhile.
    fn read_generation(
        &mut self,
        storage: &dyn Storage,
        hive: &str,
        generation: &mut Generation,
    ) -> Result<bool, ArchiveError> {
        let keys = Keys::new(hive, &generation.id);
        match Beginning::read(storage, &keys) {
            Ok(beginning) => generation.beginning = Some(beginning),
            Err(error) if error.may_pass() => return Err(error),
            Err(ArchiveError::Missing { .. })
                if { generation.items.iter() }.any(|item| item.key == keys.generation()) =>
            {
                return Ok(false);
            }
            Err(error) => self.faults.push(Fault::of(&error)),
        }
        let (log, snapshots) = (keys.log(), keys.snapshots());
        for item in &generation.items {
            if item.key.starts_with(&log) {
                match part_numbers(&item.key) {
                    Some(numbers) => generation.parts.push((numbers, item.clone())),
                    None => self.faults.push(Fault {
                        place: storage.address(&item.key),
                        reason: "its name is none of an object of an archive".into(),
                    }),
                }
            }
            let Some(name) = item.key.strip_prefix(&snapshots) else {
                continue;
            };
            if let Some((id, layout::SNAPSHOT)) = name.split_once('/')
                && let Some(it) = self.noting(Snapshot::read(storage, &keys, id))?
            {
                generation.snapshots.push(it);
            }
        }
        generation.parts.sort_by_key(|(numbers, _)| *numbers);
        generation.snapshots.sort_by_key(|it| it.exact_after);
        Ok(true)
    }

    /// Returns the value; a damaged object becomes a fault. One that was removed meanwhile is
    /// left out.
    fn noting<T>(&mut self, read: Result<T, ArchiveError>) -> Result<Option<T>, ArchiveError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.may_pass() => Err(error),
            Err(ArchiveError::Missing { .. }) => Ok(None),
            Err(error) => {
                self.faults.push(Fault::of(&error));
                Ok(None)
            }
        }
    }
}

pub(crate) fn list(storage: &dyn Storage, prefix: &str) -> Result<Vec<Item>, ArchiveError> {
    storage
        .list(prefix)
        .map_err(|source| ArchiveError::Storage {
            place: storage.address(prefix),
            source,
        })
}

/// Reads the parts of an object, and checks that they are those that its key names.
pub(crate) fn headers(
    storage: &dyn Storage,
    generation: &str,
    (numbers, item): &((u64, u64), Item),
) -> Result<Vec<(PartHeader, PartHash)>, ArchiveError> {
    let bytes = document::get(storage, &item.key)?;
    let place = storage.address(&item.key);
    let parts: Vec<_> = part::split(&bytes, &place)?
        .into_iter()
        .map(|part| (part.header, part.hash))
        .collect();
    check(&parts, generation, *numbers, &place)?;
    Ok(parts)
}

/// Checks that parts are of a generation and have the numbers that their key names.
pub(crate) fn check(
    parts: &[(PartHeader, PartHash)],
    generation: &str,
    (first, last): (u64, u64),
    place: &str,
) -> Result<(), ArchiveError> {
    let numbers = first..=last;
    let fits = |(number, (header, _)): (u64, &(PartHeader, PartHash))| {
        header.number == number && header.generation == generation
    };
    if parts.len() as u64 == last - first + 1 && numbers.zip(parts).all(fits) {
        return Ok(());
    }
    let found = parts.first().map_or_else(String::new, |(header, _)| {
        format!(": it has part {} of {}", header.number, header.generation)
    });
    Err(ArchiveError::damaged(
        place,
        format!("it is not the object that its name says{found}"),
    ))
}

/// Reads the newest part of a generation.
pub(crate) fn newest_part(
    storage: &dyn Storage,
    generation: &Generation,
) -> Result<Option<(PartHeader, PartHash)>, ArchiveError> {
    match generation.parts.last() {
        None => Ok(None),
        Some(object) => Ok(headers(storage, &generation.id, object)?.pop()),
    }
}

/// Returns whether a part follows another one.
pub(crate) fn follows(header: &PartHeader, previous: &PartHash) -> bool {
    header.previous == HEXLOWER.encode(previous)
}
