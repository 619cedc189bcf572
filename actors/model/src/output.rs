//! The output of a task as a stream: positions in it, and the data of its events.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::TaskStatus;

/// A position in the outputs of the attempts of a task: the id of an event of their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputPosition {
    /// The attempt, from 1.
    pub attempt: u32,
    /// Number of bytes of its output up to here.
    pub offset: u64,
}

/// A text that is not the id of a position in an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the number of an attempt, a point, and a number of bytes, as in 1.4096")]
pub struct InvalidOutputPosition;

impl fmt::Display for OutputPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt, self.offset)
    }
}

impl FromStr for OutputPosition {
    type Err = InvalidOutputPosition;

    /// Parses the text that [`Display`](fmt::Display) writes, and no other spelling of it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (attempt, offset) = text.split_once('.').ok_or(InvalidOutputPosition)?;
        let position = Self {
            attempt: attempt.parse().map_err(|_| InvalidOutputPosition)?,
            offset: offset.parse().map_err(|_| InvalidOutputPosition)?,
        };
        match position.attempt > 0 && position.to_string() == text {
            true => Ok(position),
            false => Err(InvalidOutputPosition),
        }
    }
}

/// The data of an event `output`: a piece of the output of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputChunk {
    /// The attempt.
    pub attempt: u32,
    /// Offset of the first byte of the piece.
    pub offset: u64,
    /// The piece as text. Bytes that are not UTF-8 are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The bytes of the piece in base64, instead of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// The data of an event `gap`: the output of an attempt is missing from that byte on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputGap {
    /// The attempt.
    pub attempt: u32,
    /// Offset of the first missing byte.
    pub offset: u64,
    /// The reason why it is missing.
    pub reason: String,
}

/// The data of an event `end`: the attempt is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputEnd {
    /// The attempt.
    pub attempt: u32,
    /// Length of its whole output in bytes; absent after a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// The end of the attempt: `succeeded`, or an outcome as in the failed attempts of a task;
    /// absent if the task does not list it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Status of the task.
    pub status: TaskStatus,
    /// True if the stream ends here: no attempt follows, or none was asked for.
    pub last: bool,
}

/// Returns the number of bytes at the end of a text that are the beginning of one character, and
/// may be completed by the bytes that follow.
pub fn unfinished_character(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|n| {
            let tail = &bytes[bytes.len() - n..];
            // An invalid byte has a length, a missing end has none.
            let missing = |error: std::str::Utf8Error| error.error_len().is_none();
            tail[0] >= 0xc0 && std::str::from_utf8(tail).is_err_and(missing)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_become_a_character_is_unfinished() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"abc", 0),
            ("\u{e4}".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"a\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\xff", 0),
            (b"\x82\x82\x82", 0),
            (b"\xe2\xff", 0),
        ] {
            assert_eq!(unfinished_character(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn positions_have_one_spelling() {
        let at = OutputPosition {
            attempt: 2,
            offset: 4_096,
        };
        assert_eq!(at.to_string(), "2.4096");
        for (text, expected) in [
            ("2.4096", Some(at)),
            (
                "1.0",
                Some(OutputPosition {
                    attempt: 1,
                    offset: 0,
                }),
            ),
            ("0.0", None),
            ("02.4096", None),
            ("2.+4096", None),
            ("2", None),
            ("2.", None),
            (".4", None),
            ("", None),
            ("2.4096.1", None),
            ("4294967296.0", None),
            ("1.18446744073709551616", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }
}
