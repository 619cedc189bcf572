//! Keys of the objects of an archive.
//!
//! ```text
//! <hive>/generations/<generation>/generation.json
//! <hive>/generations/<generation>/log/<first part>-<last part>
//! <hive>/generations/<generation>/snapshots/<snapshot>/snapshot.json
//! <hive>/generations/<generation>/snapshots/<snapshot>/<chunk>
//! <hive>/points/<point>.json
//! <hive>/files/<generation>/<number>.part or .base
//! ```

/// Name of the object that describes a snapshot; written last.
pub(crate) const SNAPSHOT: &str = "snapshot.json";
/// Name of the object that describes a generation; written first.
pub(crate) const GENERATION: &str = "generation.json";

/// Returns the id of a generation. Ids sort by the number, and never by a clock.
pub(crate) fn generation_id(number: u64, unique: &str) -> String {
    format!("gen-{number:08}-{unique}")
}

/// Returns the number of a generation, by its id.
pub(crate) fn generation_number(id: &str) -> Option<u64> {
    let (number, unique) = id.strip_prefix("gen-")?.split_once('-')?;
    match number.len() >= 8 && !unique.is_empty() {
        true => number.parse().ok(),
        false => None,
    }
}

/// Keys of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) hive: String,
    pub(crate) generation: String,
}

impl Keys {
    pub(crate) fn new(hive: &str, generation: &str) -> Self {
        Self {
            hive: hive.to_owned(),
            generation: generation.to_owned(),
        }
    }

    /// Returns the prefix of all objects of the generation.
    pub(crate) fn prefix(&self) -> String {
        format!("{}{}/", generations(&self.hive), self.generation)
    }

    pub(crate) fn generation(&self) -> String {
        format!("{}{GENERATION}", self.prefix())
    }

    pub(crate) fn log(&self) -> String {
        format!("{}log/", self.prefix())
    }

    pub(crate) fn parts(&self, first: u64, last: u64) -> String {
        format!("{}{first:012}-{last:012}", self.log())
    }

    pub(crate) fn snapshots(&self) -> String {
        format!("{}snapshots/", self.prefix())
    }

    pub(crate) fn snapshot(&self, snapshot: &str) -> String {
        format!("{}{snapshot}/{SNAPSHOT}", self.snapshots())
    }

    pub(crate) fn chunk(&self, snapshot: &str, chunk: usize) -> String {
        format!("{}{snapshot}/{chunk:08}", self.snapshots())
    }
}

/// Returns the prefix of all generations of a hive.
pub(crate) fn generations(hive: &str) -> String {
    format!("{hive}/generations/")
}

/// Returns the prefix of all restore points of a hive.
pub(crate) fn points(hive: &str) -> String {
    format!("{hive}/points/")
}

/// Returns the key of a restore point.
pub(crate) fn point(hive: &str, id: &str) -> String {
    format!("{}{id}.json", points(hive))
}

/// Returns the numbers of the first and the last part in an object, by the last name of its
/// key.
pub(crate) fn part_numbers(key: &str) -> Option<(u64, u64)> {
    let name = key.rsplit('/').next()?;
    let (first, last) = name.split_once('-')?;
    let number = |text: &str| match text.len() == 12 {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    let (first, last) = (number(first)?, number(last)?);
    (first >= 1 && first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_generations_are_read_from_ids() {
        for number in [1, 12, 99_999_999, 100_000_000] {
            let id = generation_id(number, "0193a1c2");
            assert_eq!(generation_number(&id), Some(number), "{id}");
        }
        for other in [
            "",
            "gen-1-a",
            "gen-00000001",
            "gen-00000001-",
            "gen-0000000x-a",
        ] {
            assert_eq!(generation_number(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_of_parts_are_read_from_keys() {
        let keys = Keys::new("hive-1", "gen-2");
        let key = keys.parts(3, 41);
        assert_eq!(
            key,
            "hive-1/generations/gen-2/log/000000000003-000000000041"
        );
        assert_eq!(part_numbers(&key), Some((3, 41)));
        for other in [
            "",
            "a",
            "1-2",
            "000000000005-000000000004",
            "000000000000-000000000004",
            "00000000000x-000000000004",
        ] {
            assert_eq!(part_numbers(other), None, "{other}");
        }
    }
}
