//! Small objects of an archive: JSON on the first line, its SHA-256 on the second.

use std::io;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde::{Serialize, de::DeserializeOwned};

use crate::{ArchiveError, storage::Storage};

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

/// Writes a document.
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
    put(storage, key, text.as_bytes())
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
    serde_json::from_str(json)
        .map_err(|error| damaged(&format!("it was written by another version ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;

    #[test]
    fn every_changed_byte_of_a_document_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Directory::new(dir.path().to_owned());
        write(&storage, "a", &vec![1, 2, 3]).unwrap();
        assert_eq!(read::<Vec<i32>>(&storage, "a").unwrap(), [1, 2, 3]);
        let whole = storage.get("a").unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            storage.put("a", &flipped).unwrap();
            assert!(read::<Vec<i32>>(&storage, "a").is_err(), "byte {at}");
            storage.put("a", &whole[..at]).unwrap();
            assert!(read::<Vec<i32>>(&storage, "a").is_err(), "cut at {at}");
        }
    }
}
