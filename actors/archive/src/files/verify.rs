//! Verification of file parts, without restoring them.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

use super::{
    FilesAt, keys,
    keys::Listing,
    part::{BaseList, FilePart},
    replay::Source,
    state,
};
use crate::{ArchiveError, Fault, frame::NO_PART, storage::Storage};

/// Moments that name a file part: the place of the object that does, its generation, and the part.
pub(crate) type Named<'a> = (String, &'a str, &'a FilesAt);

/// Result of a verification of files.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) faults: Vec<Fault>,
}

impl Verified {
    fn fault(&mut self, place: String, reason: impl Into<String>) {
        self.faults.push(Fault {
            place,
            reason: reason.into(),
        });
    }

    /// Returns the value; a damaged or missing object becomes a fault.
    fn noting<T>(&mut self, read: Result<T, ArchiveError>) -> Result<Option<T>, ArchiveError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.may_pass() => Err(error),
            Err(error) => {
                let fault = Fault::of(&error);
                if !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
                Ok(None)
            }
        }
    }
}

/// Reads every file part, and compares checksums, chains, lists, and the moments that name parts.
///
/// # Errors
/// [`ArchiveError::Storage`].
pub(crate) fn verify(
    storage: &dyn Storage,
    hive: &str,
    listing: &Listing,
    named: &[Named<'_>],
) -> Result<Verified, ArchiveError> {
    let mut verified = Verified {
        faults: listing.faults.clone(),
        ..Verified::default()
    };
    let source = Source {
        storage,
        hive,
        listing,
    };
    let mut hashes = BTreeMap::new();
    let mut lists: Vec<(String, BaseList)> = Vec::new();
    for (generation, objects) in &listing.generations {
        let mut before: Option<(u64, crate::frame::PartHash)> = None;
        let mut is_live = false;
        for (number, object) in objects {
            let part = source.read(generation, *number);
            let Some(part) = verified.noting(part)? else {
                continue;
            };
            verified.objects += 1;
            verified.bytes += object.item.bytes;
            hashes.insert((generation.as_str(), *number), part.hash);
            let was_live = is_live;
            is_live |= object.is_base;
            // Parts before the oldest base are there for the sake of lists only.
            if was_live && let Some((last, _)) = before {
                for missing in last + 1..*number {
                    let key = keys::part(hive, generation, missing, false);
                    if !objects.contains_key(&missing) {
                        verified.fault(storage.address(&key), "it is missing");
                    }
                }
            }
            let follows = match before {
                Some((last, hash)) if last + 1 == *number => part.follows(&hash),
                None if *number == 1 => part.follows(&NO_PART),
                _ => true,
            };
            let begins_anew =
                part.header.base.is_some_and(|it| it.first == *number) && part.follows(&NO_PART);
            if !follows && !begins_anew {
                let reason = "it does not follow the file part before it";
                verified.fault(part.place().to_owned(), reason);
            }
            before = Some((*number, part.hash));
            verified.content(&part, &mut lists)?;
        }
    }
    for (place, list) in lists {
        for object in list.objects {
            let known = hashes.get(&(object.generation.as_str(), object.number));
            let key = keys::part(hive, &object.generation, object.number, false);
            let address = storage.address(&key);
            match known {
                Some(hash) if HEXLOWER.encode(hash) == object.hash => {}
                Some(_) => {
                    verified.fault(address, format!("it is not the object that {place} names"))
                }
                None if listing.has(&object.generation, object.number) => {}
                None => {
                    let missing = Err::<(), _>(ArchiveError::Missing { place: address });
                    verified.noting(missing)?;
                }
            }
        }
    }
    for (place, generation, at) in named {
        let known = hashes.get(&(*generation, at.part));
        if known.is_none_or(|hash| HEXLOWER.encode(hash) != at.hash) {
            let reason = format!("file part {} that it names is not in the archive", at.part);
            verified.fault(place.clone(), reason);
            continue;
        }
        let base = source.base(generation, at.part);
        if let Some(None) = verified.noting(base)? {
            let lost = (1..at.part).rev().find(|it| !listing.has(generation, *it));
            let key = keys::part(hive, generation, lost.unwrap_or(1), true);
            let place = storage.address(&key);
            verified.noting(Err::<(), _>(ArchiveError::Missing { place }))?;
        }
    }
    Ok(verified)
}

impl Verified {
    /// Compares the bytes of a part with its list, and takes a list of all files.
    fn content(
        &mut self,
        part: &FilePart,
        lists: &mut Vec<(String, BaseList)>,
    ) -> Result<(), ArchiveError> {
        if part.header.base.is_some() {
            if let Some(list) = self.noting(part.base())? {
                let objects = list.objects;
                let files = Vec::new();
                lists.push((part.place().to_owned(), BaseList { objects, files }));
            }
            return Ok(());
        }
        for put in { self.noting(part.entries())? }
            .into_iter()
            .flatten()
            .filter_map(|it| it.put)
        {
            let bytes = match state::sha256(&put.sha256) {
                Some(sha256) => part.bytes(put.at, put.bytes, &sha256).map(drop),
                None => Err(part.damaged("it has a checksum that is none")),
            };
            self.noting(bytes)?;
        }
        Ok(())
    }
}
