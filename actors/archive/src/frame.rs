//! The frame of a part, of the log and of files: sizes, a header, a body, and the SHA-256 of all.
//!
//! ```text
//! kind        8 bytes
//! length of the header, u32, and of the body, u64, little-endian
//! header      JSON
//! body        zstd: length of a list, u32; the list, JSON; content
//! SHA-256     32 bytes, of everything before
//! ```

use std::io;

use ring::digest::{SHA256, digest};
use serde::{Serialize, de::DeserializeOwned};

use crate::{ArchiveError, document};

/// Size of a hash, in bytes. Fact: SHA-256.
const SHA_BYTES: usize = 32;
/// Size of the name of a kind, in bytes. Fact: the format of archives.
const KIND_BYTES: usize = 8;
/// Size of everything before the header, in bytes. Fact: the format of archives.
const PREFIX_BYTES: usize = KIND_BYTES + 4 + 8;

/// Hash of a part, which the next part names.
pub(crate) type PartHash = [u8; SHA_BYTES];
/// Value of `previous` in the first part of a chain.
pub(crate) const NO_PART: PartHash = [0; SHA_BYTES];

/// A frame whose checksum was compared, and whose body is still compressed.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    header: &'a [u8],
    pub(crate) hash: PartHash,
    pub(crate) body: &'a [u8],
}

/// Returns the SHA-256 of bytes.
pub(crate) fn hash(bytes: &[u8]) -> PartHash {
    let mut hash = NO_PART;
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn length(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(io::Error::other)
}

/// Returns a body: a list, and the content behind it.
pub(crate) fn body(list: &[u8], content: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(4 + list.len() + content.len());
    body.extend_from_slice(&length(list.len())?.to_le_bytes());
    body.extend_from_slice(list);
    body.extend_from_slice(content);
    Ok(body)
}

/// Decompresses a body of that size. Returns it with the offset of the content behind its list.
pub(crate) fn open_body(packed: &[u8], bytes: u64) -> Result<(Vec<u8>, usize), String> {
    let size = usize::try_from(bytes).map_err(|_| "its body is too large".to_owned())?;
    let body = zstd::bulk::decompress(packed, size)
        .map_err(|error| format!("it cannot be decompressed ({error})"))?;
    let list = body
        .first_chunk()
        .and_then(|it| usize::try_from(u32::from_le_bytes(*it)).ok());
    let content_at = list
        .map_or(usize::MAX, |list| list.saturating_add(4))
        .min(body.len());
    Ok((body, content_at))
}

/// Returns the list of a body that [`open_body`] returned.
pub(crate) fn list_of(body: &[u8], content_at: usize) -> &[u8] {
    body.get(4..content_at).unwrap_or_default()
}

/// Encodes a frame. Returns its bytes and its hash.
pub(crate) fn seal<T: Serialize>(
    kind: &[u8; KIND_BYTES],
    header: &T,
    body: &[u8],
    level: i32,
) -> io::Result<(Vec<u8>, PartHash)> {
    let json = serde_json::to_vec(header)?;
    let compressed = zstd::bulk::compress(body, level)?;
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + json.len() + compressed.len() + SHA_BYTES);
    bytes.extend_from_slice(kind);
    bytes.extend_from_slice(&length(json.len())?.to_le_bytes());
    bytes.extend_from_slice(&(compressed.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&json);
    bytes.extend_from_slice(&compressed);
    let hash = hash(&bytes);
    bytes.extend_from_slice(&hash);
    Ok((bytes, hash))
}

/// Takes the frame at the beginning of some bytes, after comparing its checksum. `what` names the
/// kind for messages.
///
/// # Errors
/// [`ArchiveError::Damaged`].
pub(crate) fn take<'a>(
    bytes: &mut &'a [u8],
    (kind, what): (&[u8; KIND_BYTES], &str),
    place: &str,
) -> Result<Frame<'a>, ArchiveError> {
    let cut = || ArchiveError::damaged(place, "it ends too early");
    let all = *bytes;
    if all.get(..KIND_BYTES).ok_or_else(cut)? != kind {
        return Err(ArchiveError::damaged(place, format!("it is no {what}")));
    }
    let number = |at: usize, count: usize| {
        let bytes = all.get(at..at + count)?;
        let mut number = [0; 8];
        number[..count].copy_from_slice(bytes);
        usize::try_from(u64::from_le_bytes(number)).ok()
    };
    let header_bytes = number(KIND_BYTES, 4).ok_or_else(cut)?;
    let body_bytes = number(KIND_BYTES + 4, 8).ok_or_else(cut)?;
    let header_end = PREFIX_BYTES.checked_add(header_bytes).ok_or_else(cut)?;
    let body_end = header_end.checked_add(body_bytes).ok_or_else(cut)?;
    let end = body_end.checked_add(SHA_BYTES).ok_or_else(cut)?;
    let stored = all.get(body_end..end).ok_or_else(cut)?;
    let hash = hash(&all[..body_end]);
    if hash != stored {
        let reason = "its content does not match its checksum";
        return Err(ArchiveError::damaged(place, reason));
    }
    *bytes = &all[end..];
    Ok(Frame {
        header: &all[PREFIX_BYTES..header_end],
        hash,
        body: &all[header_end..body_end],
    })
}

impl Frame<'_> {
    /// Parses the header.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`].
    pub(crate) fn header<T: DeserializeOwned>(&self, place: &str) -> Result<T, ArchiveError> {
        document::parse(self.header).map_err(|reason| ArchiveError::damaged(place, reason))
    }
}
