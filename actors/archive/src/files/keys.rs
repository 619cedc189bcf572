//! Keys of file parts, and the listing of them.
//!
//! ```text
//! <hive>/files/<generation>/<number>.part     changes of files
//! <hive>/files/<generation>/<number>.base     a list of all files
//! ```
//!
//! They are beside the generations, because later generations go on to use them.

use std::collections::BTreeMap;

use crate::{
    ArchiveError, Fault,
    storage::{Item, Storage},
    survey::list,
};

/// Returns the prefix of all file parts of a hive.
pub(super) fn files(hive: &str) -> String {
    format!("{hive}/files/")
}

/// Returns the key of a file part.
pub(super) fn part(hive: &str, generation: &str, number: u64, is_base: bool) -> String {
    let kind = if is_base { "base" } else { "part" };
    format!("{}{generation}/{number:012}.{kind}", files(hive))
}

/// Returns the generation, the number and the kind that a key names, below the prefix.
fn parse(below: &str) -> Option<(&str, u64, bool)> {
    let (generation, name) = below.split_once('/')?;
    let (number, kind) = name.split_once('.')?;
    let is_base = match kind {
        "base" => true,
        "part" => false,
        _ => return None,
    };
    let number = (number.len() == 12).then(|| number.parse().ok())??;
    (number > 0).then_some((generation, number, is_base))
}

/// An object with a file part.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(super) is_base: bool,
    pub(super) item: Item,
}

/// The file parts of a hive, by generation and number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    pub(super) generations: BTreeMap<String, BTreeMap<u64, Object>>,
    /// Objects whose names are none of file parts, and those of which there are two.
    pub(crate) faults: Vec<Fault>,
    /// Size of all, in bytes.
    pub(crate) bytes: u64,
}

impl Listing {
    /// Lists the file parts of a hive.
    ///
    /// # Errors
    /// [`ArchiveError::Storage`].
    pub(crate) fn of(storage: &dyn Storage, hive: &str) -> Result<Self, ArchiveError> {
        let mut listing = Self::default();
        let prefix = files(hive);
        for item in list(storage, &prefix)? {
            listing.bytes += item.bytes;
            let place = storage.address(&item.key);
            let Some((generation, number, is_base)) = parse(&item.key[prefix.len()..]) else {
                let reason = "its name is none of an object of an archive";
                listing.fault(place, reason);
                continue;
            };
            let parts = listing.generations.entry(generation.to_owned());
            let object = Object { is_base, item };
            if parts.or_default().insert(number, object).is_some() {
                listing.fault(place, "another file part has its number");
            }
        }
        Ok(listing)
    }

    fn fault(&mut self, place: String, reason: &str) {
        self.faults.push(Fault {
            place,
            reason: reason.to_owned(),
        });
    }

    /// Returns the objects of a generation.
    pub(super) fn of_generation(&self, generation: &str) -> &BTreeMap<u64, Object> {
        static NONE: BTreeMap<u64, Object> = BTreeMap::new();
        self.generations.get(generation).unwrap_or(&NONE)
    }

    /// Returns whether there is such an object.
    pub(super) fn has(&self, generation: &str, number: u64) -> bool {
        self.of_generation(generation).contains_key(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for (number, is_base) in [(1, true), (12, false)] {
            let key = part("h", "gen-1", number, is_base);
            let below = key.strip_prefix("h/files/").unwrap();
            assert_eq!(parse(below), Some(("gen-1", number, is_base)));
        }
        for other in [
            "",
            "g/1.part",
            "g/000000000001",
            "g/000000000001.new",
            "g/000000000000.part",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
