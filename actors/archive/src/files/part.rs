//! File parts: changes of files with the changed bytes, or a part of the list of all files.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::keys;
use crate::{
    ArchiveError, document,
    frame::{self, PartHash},
    part::PIECE_MAX_BYTES,
    storage::Storage,
};

/// Kind of the frame. Fact: the format of archives.
const KIND: (&[u8; 8], &str) = (b"deiafile", "part of files");

/// Place of a part in a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BasePlace {
    /// Number of the first part of the base.
    pub(super) first: u64,
    /// True for the last part of the base: the list of all files is complete.
    pub(super) is_last: bool,
}

/// The description of a file part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) v: u32,
    pub(super) hive: String,
    pub(super) generation: String,
    /// Number of the part in its generation, from 1.
    pub(super) number: u64,
    /// Hash of the part before it, in hexadecimal digits. A base whose predecessor is lost names
    /// none: zeros.
    pub(super) previous: String,
    /// Place in a base; absent for a part with changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<BasePlace>,
    /// Time of writing, in milliseconds since 1970.
    pub(super) written_at: i64,
    /// Size of the body before its compression, in bytes.
    pub(super) body_bytes: u64,
    /// Size of the content in the body, in bytes.
    pub(super) content_bytes: u64,
}

/// A change of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Name: the path below the data directory, or one that only the archive has.
    pub(super) name: String,
    /// The new bytes; absent if the file is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) put: Option<Put>,
}

/// Bytes of a file, and the file after them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Put {
    /// Offset in the file.
    pub(super) from: u64,
    /// Number of bytes.
    pub(super) bytes: u64,
    /// Offset in the content of the part.
    pub(super) at: u64,
    /// SHA-256 of the bytes, in hexadecimal digits.
    pub(super) sha256: String,
    /// Length of the file after this change: what is behind it is cut off.
    pub(super) length: u64,
    #[serde(flatten)]
    pub(super) facts: Facts,
}

/// Facts about a file besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Permissions of its owner.
    pub(super) mode: u32,
    /// Time of the last change, in nanoseconds since 1970.
    pub(super) modified: i64,
    /// A mark of its maker: a file with another one is shipped again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) tag: String,
}

/// A part of the list of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BaseList {
    /// Objects that the files of this list are in.
    pub(super) objects: Vec<ListedObject>,
    pub(super) files: Vec<ListedFile>,
}

/// An object that has bytes of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListedObject {
    pub(super) generation: String,
    pub(super) number: u64,
    /// Hash of the part, in hexadecimal digits.
    pub(super) hash: String,
    /// Size of its content, in bytes.
    pub(super) bytes: u64,
}

/// A file, and the places of its bytes in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListedFile {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) facts: Facts,
    pub(super) extents: Vec<ListedExtent>,
}

/// Some bytes of a file: index of the object in the list, offset in its content, number of bytes,
/// SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListedExtent(
    pub(super) u32,
    pub(super) u64,
    pub(super) u64,
    pub(super) String,
);

/// A file part as it was read.
#[derive(Debug)]
pub(super) struct FilePart {
    pub(super) header: Header,
    pub(super) hash: PartHash,
    body: Vec<u8>,
    content_at: usize,
    place: String,
}

/// Encodes a file part. Returns its bytes and its hash.
pub(super) fn encode<T: Serialize>(
    header: &mut Header,
    list: &T,
    content: &[u8],
    level: i32,
) -> std::io::Result<(Vec<u8>, PartHash)> {
    let body = frame::body(&serde_json::to_vec(list)?, content)?;
    header.body_bytes = body.len() as u64;
    header.content_bytes = content.len() as u64;
    frame::seal(KIND.0, header, &body, level)
}

impl FilePart {
    /// Reads the part that a key names, and checks that it is that one.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`], [`ArchiveError::Damaged`], [`ArchiveError::Storage`].
    pub(super) fn read(
        storage: &dyn Storage,
        hive: &str,
        generation: &str,
        (number, is_base): (u64, bool),
    ) -> Result<Self, ArchiveError> {
        let key = keys::part(hive, generation, number, is_base);
        let (bytes, place) = (document::get(storage, &key)?, storage.address(&key));
        let damaged = |reason: String| ArchiveError::damaged(&place, reason);
        let mut rest = bytes.as_slice();
        let frame = frame::take(&mut rest, KIND, &place)?;
        let header: Header = frame.header(&place)?;
        let is_it = header.hive == hive
            && header.generation == generation
            && header.number == number
            && header.base.is_some() == is_base
            && rest.is_empty();
        if !is_it {
            return Err(damaged(format!(
                "it is not the object that its name says: it has file part {} of {}",
                header.number, header.generation
            )));
        }
        if header.body_bytes > PIECE_MAX_BYTES {
            return Err(damaged("its header has values that no part has".into()));
        }
        let (body, content_at) =
            frame::open_body(frame.body, header.body_bytes).map_err(damaged)?;
        if (body.len() - content_at) as u64 != header.content_bytes {
            let reason = "its content is not that which its header names";
            return Err(damaged(reason.into()));
        }
        let hash = frame.hash;
        Ok(Self {
            header,
            hash,
            body,
            content_at,
            place,
        })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> ArchiveError {
        ArchiveError::damaged(&self.place, reason)
    }

    /// Returns whether the part follows another one.
    pub(super) fn follows(&self, previous: &PartHash) -> bool {
        self.header.previous == HEXLOWER.encode(previous)
    }

    /// Returns the changes of a part that is no base.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`].
    pub(super) fn entries(&self) -> Result<Vec<Entry>, ArchiveError> {
        self.list()
    }

    /// Returns the list of a part of a base.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`].
    pub(super) fn base(&self) -> Result<BaseList, ArchiveError> {
        self.list()
    }

    fn list<T: serde::de::DeserializeOwned>(&self) -> Result<T, ArchiveError> {
        serde_json::from_slice(frame::list_of(&self.body, self.content_at))
            .map_err(|error| self.damaged(format!("its list cannot be read ({error})")))
    }

    /// Returns bytes of the content, after comparing their checksum.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`].
    pub(super) fn bytes(
        &self,
        at: u64,
        count: u64,
        sha256: &PartHash,
    ) -> Result<&[u8], ArchiveError> {
        let content = &self.body[self.content_at..];
        let range = usize::try_from(at).ok().zip(usize::try_from(count).ok());
        let bytes = range.and_then(|(at, count)| content.get(at..at.checked_add(count)?));
        match bytes {
            Some(bytes) if frame::hash(bytes) == *sha256 => Ok(bytes),
            _ => Err(self.damaged("it has not the bytes of a file that a list names")),
        }
    }
}
