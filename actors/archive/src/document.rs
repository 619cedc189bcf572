//! Small objects of an archive: JSON on the first line, its SHA-256 on the second.

use std::io;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ArchiveError, storage::Storage};

/// Version of the objects that this program writes and reads. Fact: the format of archives.
pub(crate) const VERSION: u32 = 1;

/// Returns the SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

/// Reads an object.
pub(crate) fn get(storage: &dyn Storage, key: &str) -> Result<Vec<u8>, ArchiveError> {
    storage.get(key).map_err(|source| {
        let place = storage.address(key);
        match source.kind() {
            io::ErrorKind::NotFound => ArchiveError::Missing { place },
            _ => ArchiveError::Storage { place, source },
        }
    })
}

/// Writes an object.
pub(crate) fn put(storage: &dyn Storage, key: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
    let written = storage.put(key, bytes);
    written.map_err(|source| ArchiveError::Storage {
        place: storage.address(key),
        source,
    })
}

/// Writes an object of which there must be none. One with the same content is that of an earlier
/// call whose answer was lost.
pub(crate) fn create(storage: &dyn Storage, key: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
    match storage.create(key, bytes) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match get(storage, key)? == bytes {
                true => Ok(()),
                false => Err(ArchiveError::Fenced {
                    place: storage.address(key),
                }),
            }
        }
        Err(source) => Err(ArchiveError::Storage {
            place: storage.address(key),
            source,
        }),
    }
}

/// Writes a document of which there must be none.
pub(crate) fn write<T: Serialize>(
    storage: &dyn Storage,
    key: &str,
    value: &T,
) -> Result<(), ArchiveError> {
    let json = serde_json::to_string(value).map_err(|error| ArchiveError::Storage {
        place: storage.address(key),
        source: error.into(),
    })?;
    let text = format!("{json}\n{}\n", sha256(json.as_bytes()));
    create(storage, key, text.as_bytes())
}

/// The version of an object.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// Parses the JSON of an object of this version.
///
/// # Errors
/// The reason why it is none.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let other = |error: serde_json::Error| format!("it was written by another version ({error})");
    let Version { v } = serde_json::from_slice(json).map_err(other)?;
    if v != VERSION {
        return Err(format!("it has version {v}, and this deia reads {VERSION}"));
    }
    serde_json::from_slice(json).map_err(other)
}

/// Reads a document, after checking that it is as it was written.
pub(crate) fn read<T: DeserializeOwned>(
    storage: &dyn Storage,
    key: &str,
) -> Result<T, ArchiveError> {
    let bytes = get(storage, key)?;
    let damaged = |reason: &str| ArchiveError::damaged(storage.address(key), reason);
    let text = str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
    let (json, rest) = text
        .split_once('\n')
        .ok_or_else(|| damaged("it ends too early"))?;
    if rest.strip_suffix('\n') != Some(sha256(json.as_bytes()).as_str()) {
        return Err(damaged("its content does not match its checksum"));
    }
    parse(json.as_bytes()).map_err(|reason| damaged(&reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Doc {
        v: u32,
        list: Vec<i32>,
    }

    fn doc(v: u32) -> Doc {
        Doc {
            v,
            list: vec![1, 2, 3],
        }
    }

    fn storage(dir: &tempfile::TempDir) -> Directory {
        let storage = Directory::new(dir.path().to_owned());
        storage.prepare().unwrap();
        storage
    }

    #[test]
    fn every_changed_byte_of_a_document_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(&dir);
        write(&storage, "a", &doc(1)).unwrap();
        assert_eq!(read::<Doc>(&storage, "a").unwrap(), doc(1));
        let whole = storage.get("a").unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            storage.put("a", &flipped).unwrap();
            assert!(read::<Doc>(&storage, "a").is_err(), "byte {at}");
            storage.put("a", &whole[..at]).unwrap();
            assert!(read::<Doc>(&storage, "a").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn document_of_another_version_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(&dir);
        write(&storage, "a", &doc(2)).unwrap();
        let error = read::<Doc>(&storage, "a").unwrap_err().to_string();
        assert!(error.contains("it has version 2"), "{error}");
    }

    #[test]
    fn repeated_write_succeeds_and_another_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(&dir);
        write(&storage, "a", &doc(1)).unwrap();
        write(&storage, "a", &doc(1)).unwrap();
        let error = write(&storage, "a", &doc(2)).unwrap_err();
        assert!(matches!(error, ArchiveError::Fenced { .. }), "{error}");
        assert_eq!(read::<Doc>(&storage, "a").unwrap(), doc(1));
    }
}
