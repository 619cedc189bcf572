//! Verification of an archive, without restoring it: every object is read once.

use crate::{
    ArchiveError, Fault, Survey, document, files,
    layout::{self, Keys},
    lineage,
    part::{self, NO_PART, PartHash},
    storage::Storage,
    survey::{Generation, check, follows, newest_part},
};

/// Times that parts are looked up again that were bundled meanwhile. Fixed: bundles are made
/// minutes apart.
const LOOKS: usize = 3;

/// Result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Objects that were read.
    pub objects: u64,
    /// Their size, in bytes.
    pub bytes: u64,
    /// Objects that are not sound.
    pub faults: Vec<Fault>,
}

/// Reads every object of a hive, and compares checksums and chains.
///
/// # Errors
/// [`ArchiveError::Storage`].
pub fn verify(storage: &dyn Storage, hive: &str) -> Result<Verified, ArchiveError> {
    let survey = Survey::of(storage, hive)?;
    let mut verified = Verified {
        faults: survey.faults.clone(),
        objects: survey.points.len() as u64,
        ..Verified::default()
    };
    for generation in &survey.generations {
        let keys = Keys::new(hive, &generation.id);
        for snapshot in &generation.snapshots {
            for (i, chunk) in snapshot.chunks.iter().enumerate() {
                let key = keys.chunk(&snapshot.id, i);
                let place = storage.address(&key);
                let Some(bytes) = verified.read(storage, &key)? else {
                    continue;
                };
                if document::sha256(&bytes) != chunk.sha256 {
                    verified.fault(place, "its content does not match its checksum");
                }
            }
        }
        // A fault of a snapshot is among those of the survey.
        if generation.snapshots.is_empty()
            && let Some(fault) = lineage::lost_snapshot(storage, hive, &survey, generation)?
            && !survey.faults.contains(&fault)
        {
            verified.faults.push(fault);
        }
        let hashes = verified.settled_log(storage, hive, generation)?;
        for point in survey
            .points
            .iter()
            .filter(|it| it.generation == generation.id)
        {
            let place = storage.address(&layout::point(hive, &point.id));
            let known = hashes.iter().find(|(number, _)| *number == point.part);
            match known {
                Some((_, hash)) if data_encoding::HEXLOWER.encode(hash) == point.part_hash => {}
                _ => verified.fault(place, "the part that it names is not in the archive"),
            }
        }
    }
    verified.files(storage, hive, &survey)?;
    let has = |id: &str| survey.generations.iter().any(|it| it.id == id);
    for point in survey.points.iter().filter(|it| !has(&it.generation)) {
        let place = storage.address(&layout::point(hive, &point.id));
        verified.fault(place, "its generation is not in the archive");
    }
    Ok(verified)
}

impl Verified {
    /// Returns whether all objects are sound.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, place: String, reason: &str) {
        self.faults.push(Fault {
            place,
            reason: reason.to_owned(),
        });
    }

    /// Verifies the file parts, and that those exist which points and the newest parts of logs name.
    fn files(
        &mut self,
        storage: &dyn Storage,
        hive: &str,
        survey: &Survey,
    ) -> Result<(), ArchiveError> {
        let mut ends = Vec::new();
        for generation in &survey.generations {
            // A damaged part is found by those who read the log.
            match newest_part(storage, generation) {
                Err(error) if error.may_pass() => return Err(error),
                Ok(Some((header, _))) => ends.extend(header.files.map(|it| {
                    let keys = Keys::new(hive, &generation.id);
                    let key = keys.parts(header.number, header.number);
                    (storage.address(&key), &*generation.id, it)
                })),
                _ => {}
            }
        }
        let points = survey.points.iter().filter_map(|point| {
            let place = storage.address(&layout::point(hive, &point.id));
            Some((place, &*point.generation, point.files.as_ref()?))
        });
        let ends = ends.iter().map(|(place, of, at)| (place.clone(), *of, at));
        let named: Vec<_> = points.chain(ends).collect();
        let found = files::verify(storage, hive, &survey.files, &named)?;
        self.objects += found.objects;
        self.bytes += found.bytes;
        for fault in found.faults {
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
        Ok(())
    }

    /// Reads an object; a missing one is a fault.
    fn read(&mut self, storage: &dyn Storage, key: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        match document::get(storage, key) {
            Ok(bytes) => {
                self.objects += 1;
                self.bytes += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Err(error @ ArchiveError::Missing { .. }) => {
                self.faults.push(Fault::of(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Verifies the chain of parts. Parts that are put into a bundle meanwhile are looked up again.
    fn settled_log(
        &mut self,
        storage: &dyn Storage,
        hive: &str,
        generation: &Generation,
    ) -> Result<Vec<(u64, PartHash)>, ArchiveError> {
        let keys = Keys::new(hive, &generation.id);
        let mut current = generation.clone();
        for _ in 0..LOOKS {
            let before = self.clone();
            let hashes = self.log(storage, &keys, &current)?;
            if self.faults.len() == before.faults.len() {
                return Ok(hashes);
            }
            let mut again = Survey::of(storage, hive)?.generations.into_iter();
            match again.find(|it| it.id == generation.id) {
                Some(again) if again.parts != current.parts => {
                    *self = before;
                    current = again;
                }
                _ => return Ok(hashes),
            }
        }
        self.log(storage, &keys, &current)
    }

    /// Verifies the chain of parts. Returns the number and the hash of each.
    fn log(
        &mut self,
        storage: &dyn Storage,
        keys: &Keys,
        generation: &Generation,
    ) -> Result<Vec<(u64, PartHash)>, ArchiveError> {
        let mut found: Vec<(u64, PartHash)> = Vec::new();
        for (numbers, item) in &generation.parts {
            let next = found.last().map_or(numbers.0, |(number, _)| number + 1);
            // A bundle was written, and the objects that it replaces are not removed yet.
            if numbers.1 < next {
                continue;
            }
            if numbers.0 > next {
                let place = storage.address(&keys.parts(next, numbers.0 - 1));
                self.fault(place, "it is missing");
            }
            let Some(bytes) = self.read(storage, &item.key)? else {
                continue;
            };
            let place = storage.address(&item.key);
            match read_parts(&bytes, &place, generation, *numbers) {
                Err(error) => self.faults.push(Fault::of(&error)),
                Ok(parts) => {
                    for (header, hash) in parts {
                        if header.number < next && !found.is_empty() {
                            continue;
                        }
                        let before = found.last();
                        let is_next = match before {
                            Some((number, before)) if number + 1 == header.number => {
                                follows(&header, before)
                            }
                            None if header.number == 1 => follows(&header, &NO_PART),
                            _ => true,
                        };
                        if !is_next {
                            let reason = "it does not follow the part before it";
                            self.fault(place.clone(), reason);
                        }
                        found.push((header.number, hash));
                    }
                }
            }
        }
        Ok(found)
    }
}

fn read_parts(
    bytes: &[u8],
    place: &str,
    generation: &Generation,
    numbers: (u64, u64),
) -> Result<Vec<(crate::PartHeader, PartHash)>, ArchiveError> {
    let mut parts = Vec::new();
    for sealed in part::split(bytes, place)? {
        let part = sealed.open()?;
        parts.push((part.header, part.hash));
    }
    check(&parts, &generation.id, numbers, place)?;
    Ok(parts)
}
