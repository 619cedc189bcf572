//! A part of the shipped log: some frames, and the commits among them.
//!
//! The list of its [frame](crate::frame) has the known commits, and the content are the frames of
//! the log.
//!
//! An object has one part, or several that follow each other.

use serde::{Deserialize, Serialize};

use crate::{
    ArchiveError, FilesAt, frame,
    log::{self, Checksum, FRAME_HEADER_BYTES, LogCursor, LogHeader},
    marks::PageSum,
};

pub(crate) use crate::frame::{NO_PART, PartHash};

/// Kind of the frame. Fact: the format of archives.
const KIND: (&[u8; 8], &str) = (b"deiapart", "part of a log");
/// Largest size of a part and of a chunk before its compression, in bytes. Fixed: far above the
/// largest `recovery.piece_max_bytes`; a document that names more is not of deia.
pub(crate) const PIECE_MAX_BYTES: u64 = 1 << 31;
/// A commit of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Number of frames in the log up to the end of the commit.
    pub frame: u32,
    /// Sequence number of the newest event after it.
    pub seq: u64,
    /// Time of the commit, in milliseconds since 1970.
    pub at: i64,
}

/// The description of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHeader {
    pub(crate) v: u32,
    /// The hive whose store this is.
    pub(crate) hive: String,
    /// The generation.
    pub(crate) generation: String,
    /// Number of the part in its generation, from 1.
    pub(crate) number: u64,
    /// Hash of the part before it, in hexadecimal digits.
    pub(crate) previous: String,
    pub(crate) big_endian: bool,
    pub(crate) page_bytes: u32,
    pub(crate) salts: [u32; 2],
    /// Number of the first part that has frames of this log.
    pub(crate) log_part: u64,
    /// Number of frames of the log before this part.
    pub(crate) start: u32,
    /// Checksum of the last of these.
    pub(crate) start_checksum: Checksum,
    /// Number of frames in this part.
    pub(crate) frames: u32,
    pub(crate) checksum: Checksum,
    /// True if the last frame ends a transaction.
    pub(crate) ends_commit: bool,
    /// Size of the database after the last transaction, in pages.
    pub(crate) pages: u32,
    /// Sum of the marks of all pages, in hexadecimal digits.
    pub(crate) sum: String,
    /// The history of events that the commits belong to.
    pub(crate) timeline: u64,
    /// The last known commit in this part or before it.
    pub(crate) last: Commit,
    /// True if the last frame ends a known commit. One that is not known may be in the frames of
    /// an earlier run of the store, and is later than `last`.
    pub(crate) ends_known: bool,
    /// Time of the earliest of the known commits in this part, in milliseconds since 1970; that
    /// of the last known one before it if there is none. The clock may have been set meanwhile.
    pub(crate) earliest_at: i64,
    /// True if the generation had a complete snapshot when the part was written.
    pub(crate) has_snapshot: bool,
    /// Time of writing, in milliseconds since 1970.
    pub(crate) written_at: i64,
    /// Size of the body before its compression, in bytes.
    pub(crate) body_bytes: u64,
    /// The end of the shipped files when the part was written; absent if files are not shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<FilesAt>,
}

impl PartHeader {
    /// Returns the place in the log before the part.
    pub(crate) fn begin(&self) -> LogCursor {
        LogCursor {
            header: self.log(),
            frames: self.start,
            checksum: self.start_checksum,
        }
    }

    /// Returns the place in the log behind the part.
    pub(crate) fn end(&self) -> LogCursor {
        LogCursor {
            header: self.log(),
            frames: self.start + self.frames,
            checksum: self.checksum,
        }
    }

    /// Returns the log as far as a part knows it.
    fn log(&self) -> LogHeader {
        LogHeader {
            big_endian: self.big_endian,
            page_bytes: self.page_bytes,
            salts: self.salts,
            checksum: [0, 0],
        }
    }

    /// Returns whether the sizes are such that a part can have.
    fn is_possible(&self) -> bool {
        log::is_page_size(self.page_bytes)
            && self.body_bytes <= PIECE_MAX_BYTES
            && self.start.checked_add(self.frames).is_some()
    }

    /// Returns the checksum over all pages after the part.
    pub(crate) fn page_sum(&self) -> Option<PageSum> {
        PageSum::parse(self.pages, &self.sum)
    }
}

/// A part as it was read, with its content.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) header: PartHeader,
    pub(crate) hash: PartHash,
    /// The known commits, in order.
    pub(crate) commits: Vec<Commit>,
    body: Vec<u8>,
    frames_at: usize,
}

impl Part {
    /// Returns the frames.
    pub(crate) fn frames(&self) -> &[u8] {
        &self.body[self.frames_at..]
    }
}

/// Encodes a part. Returns its bytes and its hash.
pub(crate) fn encode(
    header: &mut PartHeader,
    commits: &[Commit],
    frames: &[u8],
    level: i32,
) -> std::io::Result<(Vec<u8>, PartHash)> {
    let body = frame::body(&serde_json::to_vec(commits)?, frames)?;
    header.body_bytes = body.len() as u64;
    frame::seal(KIND.0, header, &body, level)
}

/// A part whose checksum was compared, and whose body is still compressed.
#[derive(Debug)]
pub(crate) struct Sealed<'a> {
    pub(crate) header: PartHeader,
    pub(crate) hash: PartHash,
    body: &'a [u8],
    place: &'a str,
}

/// Splits the parts of an object, after comparing the checksum of each.
///
/// # Errors
/// [`ArchiveError::Damaged`].
pub(crate) fn split<'a>(
    mut bytes: &'a [u8],
    place: &'a str,
) -> Result<Vec<Sealed<'a>>, ArchiveError> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let frame = frame::take(&mut bytes, KIND, place)?;
        let header: PartHeader = frame.header(place)?;
        if !header.is_possible() {
            let reason = "its header has values that no part has";
            return Err(ArchiveError::damaged(place, reason));
        }
        parts.push(Sealed {
            header,
            hash: frame.hash,
            body: frame.body,
            place,
        });
    }
    match parts.is_empty() {
        true => Err(ArchiveError::damaged(place, "it ends too early")),
        false => Ok(parts),
    }
}

impl Sealed<'_> {
    /// Decompresses the body, and checks that the frames are those that the header names.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`].
    pub(crate) fn open(self) -> Result<Part, ArchiveError> {
        let damaged = |reason: String| ArchiveError::damaged(self.place, reason);
        let opened = frame::open_body(self.body, self.header.body_bytes);
        let (body, frames_at) = opened.map_err(damaged)?;
        let commits = serde_json::from_slice(frame::list_of(&body, frames_at))
            .map_err(|error| damaged(format!("its list of commits cannot be read ({error})")))?;
        let mut cursor = self.header.begin();
        let frame = FRAME_HEADER_BYTES + self.header.page_bytes as usize;
        let frames = &body[frames_at..];
        if frames.len() != frame * self.header.frames as usize
            || cursor.pass(frames).is_err()
            || cursor != self.header.end()
        {
            return Err(damaged(
                "its frames are not those that its header names".into(),
            ));
        }
        Ok(Part {
            header: self.header,
            hash: self.hash,
            commits,
            body,
            frames_at,
        })
    }
}
