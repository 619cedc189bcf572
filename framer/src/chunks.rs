//! Chunked bodies (RFC 9112, 7.1), followed to their end, with bounds on the bytes
//! that are not data.

use crate::FramingError;

/// Maximum number of bytes that the line of a chunk may have after its size. Fact: RFC
/// 9112, 7.1.1: a recipient ought to limit chunk extensions.
const MAX_EXTENSION_BYTES: u32 = 128;
/// Maximum number of such bytes in all lines of a body together. Fact: RFC 9112, 7.1.1: a
/// recipient ought to limit chunk extensions.
const MAX_EXTENSIONS_BYTES: u32 = 4_096;
/// Maximum number of digits of the size of a chunk. Fact: RFC 9112, 7.1: large sizes must
/// not overflow; these fit into 64 bits.
const MAX_SIZE_DIGITS: u32 = 15;

/// Position of the next byte in a chunked body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks {
    at: At,
    /// Number of bytes that are left of the data of the chunk.
    left: u64,
    /// Number of digits in this line so far.
    digits: u32,
    extension_bytes: u32,
    /// Number of bytes of extensions in all lines so far.
    extensions_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    EndCr,
    EndLf,
}

/// Extent of a body in a piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The body goes on beyond the piece.
    Beyond,
    /// The body ends after this number of bytes of the piece.
    End(usize),
}

impl Chunks {
    pub(crate) fn new() -> Self {
        Self {
            at: At::Size,
            left: 0,
            digits: 0,
            extension_bytes: 0,
            extensions_bytes: 0,
        }
    }

    /// Follows the body through a piece of the stream.
    ///
    /// # Errors
    /// Returns the number of well-formed bytes before the fault, and the fault, if the
    /// stream is not a chunked body.
    pub(crate) fn follow(&mut self, piece: &[u8]) -> Result<Reach, (usize, FramingError)> {
        let mut i = 0;
        while let Some(byte) = piece.get(i) {
            if self.at == At::Data {
                let rest = piece.len() - i;
                let taken = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                self.left -= taken as u64;
                i += taken;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            match self.step(*byte) {
                Err(refusal) => return Err((i, refusal)),
                Ok(true) => return Ok(Reach::End(i + 1)),
                Ok(false) => i += 1,
            }
        }
        Ok(Reach::Beyond)
    }

    /// Takes one byte that is not data. Returns true at the end of the body.
    fn step(&mut self, byte: u8) -> Result<bool, FramingError> {
        const SIZE: FramingError = FramingError::malformed("the size of a chunk is not one");
        const LINE: FramingError = FramingError::malformed("a chunk does not end with its line");
        self.at = match (self.at, byte) {
            (At::Size, b'\r' | b';') if self.digits == 0 => return Err(SIZE),
            (At::Size, b'\r') => At::SizeLf,
            (At::Size, b';') => self.extension()?,
            (At::Size, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(SIZE)?;
                self.digits += 1;
                if self.digits > MAX_SIZE_DIGITS {
                    return Err(SIZE);
                }
                self.left = self.left << 4 | u64::from(digit);
                At::Size
            }
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\t' | b' '..=b'~') => self.extension()?,
            (At::Extension, _) => {
                let detail = "the extension of a chunk has a character that it may not have";
                return Err(FramingError::malformed(detail));
            }
            (At::SizeLf, b'\n') => {
                (self.digits, self.extension_bytes) = (0, 0);
                match self.left {
                    0 => At::EndCr,
                    _ => At::Data,
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::EndCr, b'\r') => At::EndLf,
            (At::EndCr, _) => return Err(FramingError::malformed("trailers are not taken")),
            (At::EndLf, b'\n') => return Ok(true),
            _ => return Err(LINE),
        };
        Ok(false)
    }

    fn extension(&mut self) -> Result<At, FramingError> {
        self.extension_bytes += 1;
        self.extensions_bytes += 1;
        let bounded = self.extension_bytes <= MAX_EXTENSION_BYTES
            && self.extensions_bytes <= MAX_EXTENSIONS_BYTES;
        match bounded {
            true => Ok(At::Extension),
            false => Err(FramingError::malformed(
                "the extensions of chunks are too long",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows the body whole and divided in two at every place, and asserts that the
    /// results agree.
    fn follow(body: &str) -> Option<usize> {
        let bytes = body.as_bytes();
        let whole = Chunks::new().follow(bytes);
        for at in 0..=bytes.len() {
            let mut chunks = Chunks::new();
            let parts = match chunks.follow(&bytes[..at]) {
                Ok(Reach::Beyond) => match chunks.follow(&bytes[at..]) {
                    Ok(Reach::End(end)) => Ok(Reach::End(at + end)),
                    Err((end, refusal)) => Err((at + end, refusal)),
                    beyond => beyond,
                },
                over => over,
            };
            assert_eq!(parts, whole, "{body:?} divided at {at}");
        }
        match whole {
            Ok(Reach::End(end)) => Some(end),
            Ok(Reach::Beyond) => panic!("{body:?} does not end"),
            Err(_) => None,
        }
    }

    #[test]
    fn bodies_end_after_the_last_chunk() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "00000a;x=\"y\"\r\n0123456789\r\n000;z\r\n\r\n",
        ] {
            assert_eq!(
                follow(&format!("{body}GET /")),
                Some(body.len()),
                "{body:?}"
            );
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let long = format!("1;{}\r\na\r\n", "x".repeat(128));
        let many = format!("1;{}\r\na\r\n", "x".repeat(99)).repeat(41);
        for body in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1 \r\na\r\n",
            " 1\r\n",
            "1\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\ra",
            ";\r\n",
            "1;\x01\r\n",
            "1;\u{e9}\r\n",
            "0000000000000001\r\na\r\n",
            "ffffffffffffffff\r\n",
            "10000000000000000\r\n",
            "0\r\nX: y\r\n\r\n",
            "0\r\n\n",
            "0\n\n",
            &long,
            &many,
        ] {
            assert_eq!(follow(body), None, "{body:?}");
        }
    }
}
