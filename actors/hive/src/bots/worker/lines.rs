//! Lines of the protocol, cut out of a stream of bytes in bounded memory.

/// A line of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line, without its end.
    Whole(Vec<u8>),
    /// A line over the limit was dropped.
    TooLong {
        /// Length of the line in bytes.
        bytes: u64,
        /// The beginning of the line.
        head: Vec<u8>,
    },
}

/// Bytes that are kept of the beginning of a line that is dropped. Fixed: enough for the
/// type, the id and the attempt of a message.
const HEAD_BYTES: usize = 512;

/// Memory that is kept for the next lines, in bytes. Fixed: a buffer, whose size changes
/// nothing that can be seen.
const KEPT_BYTES: usize = 64 << 10;

/// The lines of a stream. Holds at most one line of the limit, and the bytes that were read
/// last.
#[derive(Debug)]
pub(super) struct JsonLines {
    max_bytes: usize,
    buffer: Vec<u8>,
    /// Bytes at the beginning of the buffer that were taken already.
    taken: usize,
    /// Bytes of the unfinished line that were searched for its end already.
    searched: usize,
    /// Length so far, and beginning, of a line that is being dropped.
    dropping: Option<(u64, Vec<u8>)>,
}

impl JsonLines {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
            dropping: None,
        }
    }

    /// Adds bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.is_empty() {
            // The memory of a long line is not kept.
            self.buffer.shrink_to(KEPT_BYTES);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next line that is complete. Empty lines are left out. Call it until there is
    /// none before more bytes are added.
    pub(super) fn take(&mut self) -> Option<Line> {
        loop {
            let rest = &self.buffer[self.taken..];
            let end = rest[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|at| self.searched + at) else {
                self.searched = rest.len();
                // The end of the line may be `\r\n`, of which the second half is still to come.
                let text = rest.strip_suffix(b"\r").unwrap_or(rest);
                if text.len() > self.max_bytes || self.dropping.is_some() {
                    let head = || (0, head_of(rest));
                    self.dropping.get_or_insert_with(head).0 += rest.len() as u64;
                    self.buffer = Vec::new();
                    (self.taken, self.searched) = (0, 0);
                }
                return None;
            };
            let line = &rest[..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let found = match self.dropping.take() {
                Some((before, head)) => Some(Line::TooLong {
                    bytes: before + end as u64,
                    head,
                }),
                None if line.len() > self.max_bytes => Some(Line::TooLong {
                    bytes: end as u64,
                    head: head_of(line),
                }),
                None if line.trim_ascii().is_empty() => None,
                None => Some(Line::Whole(line.to_vec())),
            };
            self.taken += end + 1;
            self.searched = 0;
            if found.is_some() {
                return found;
            }
        }
    }
}

fn head_of(line: &[u8]) -> Vec<u8> {
    line[..line.len().min(HEAD_BYTES)].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 8;

    fn lines_of(chunks: &[&[u8]]) -> Vec<Line> {
        let mut lines = JsonLines::new(MAX);
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.take() {
                found.push(line);
            }
            assert!(lines.buffer.len() - lines.taken <= MAX + 1, "{lines:?}");
        }
        found
    }

    #[test]
    fn lines_are_cut_and_long_ones_dropped() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        let long = |bytes, head: &str| Line::TooLong {
            bytes,
            head: head.as_bytes().to_vec(),
        };
        for (stream, expected) in [
            ("", vec![]),
            ("a", vec![]),
            ("a\nb\n", vec![whole("a"), whole("b")]),
            ("a\r\n\r\n  \n\nb\n", vec![whole("a"), whole("b")]),
            ("12345678\nx\n", vec![whole("12345678"), whole("x")]),
            ("123456789\nx\n", vec![long(9, "123456789"), whole("x")]),
            ("12345678901234567890", vec![]),
        ] {
            assert_eq!(lines_of(&[stream.as_bytes()]), expected, "{stream:?}");
        }
        assert_eq!(lines_of(&[b"12345678\r", b"\n"]), [whole("12345678")]);
        assert_eq!(
            lines_of(&[b"1234567890", b"1234567890", b"12\nx\n"]),
            [long(22, "1234567890"), whole("x")]
        );
    }

    /// The lines without the beginnings of long ones, which depend on what was read at once.
    fn headless(mut lines: Vec<Line>) -> Vec<Line> {
        for line in &mut lines {
            if let Line::TooLong { head, .. } = line {
                head.clear();
            }
        }
        lines
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_pieces_read(
            stream in prop::collection::vec(prop::sample::select(b"ab\r\n {".to_vec()), 0..200),
            size in 1_usize..20,
        ) {
            let whole = headless(lines_of(&[&stream]));
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            prop_assert_eq!(&headless(lines_of(&pieces)), &whole);
            let ends = stream.iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(whole.len() <= ends, "{} {}", whole.len(), ends);
        }
    }
}
