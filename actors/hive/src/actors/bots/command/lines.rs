//! Cuts a stream of bytes into lines, in bounded memory.

/// Bytes of a line that are kept; the rest of a longer one is left out.
pub(super) const MAX_LINE_BYTES: usize = 4 << 10;

/// A line that is being put together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    /// Bytes of this line that were left out.
    left_out: usize,
}

impl Lines {
    /// Adds bytes, and gives every line that they end.
    pub(super) fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(&str)) {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        // `split` gives at least one piece; each further one follows a line's end.
        self.extend(pieces.next().unwrap_or_default());
        for piece in pieces {
            self.emit(&mut emit);
            self.extend(piece);
        }
    }

    /// The stream has ended: gives the last line when it lacks its end.
    pub(super) fn end(&mut self, mut emit: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.emit(&mut emit);
        }
    }

    fn extend(&mut self, piece: &[u8]) {
        let room = MAX_LINE_BYTES - self.partial.len();
        let kept = piece.len().min(room);
        self.partial.extend_from_slice(&piece[..kept]);
        self.left_out += piece.len() - kept;
    }

    fn emit(&mut self, emit: &mut impl FnMut(&str)) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        let line = String::from_utf8_lossy(line);
        if self.left_out == 0 {
            emit(&line);
        } else {
            emit(&format!("{line} [{} bytes more]", self.left_out));
        }
        self.partial.clear();
        self.left_out = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| found.push(line.to_owned()));
        }
        lines.end(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_come() {
        for (chunks, expected) in [
            (vec![&b""[..]], vec![]),
            (vec![b"a\nb\n"], vec!["a", "b"]),
            (vec![b"a", b"b\nc"], vec!["ab", "c"]),
            (vec![b"a\n", b"\n", b"b"], vec!["a", "", "b"]),
            (vec![b"a\r\nb\xff\n"], vec!["a", "b\u{fffd}"]),
        ] {
            assert_eq!(split(&chunks), expected, "{chunks:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_and_takes_no_memory() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for _ in 0..1_000 {
            lines.push(&[b'x'; 1_000], |line| found.push(line.to_owned()));
        }
        assert!(found.is_empty() && lines.partial.capacity() <= 2 * MAX_LINE_BYTES);
        lines.push(b"\nshort\n", |line| found.push(line.to_owned()));
        assert_eq!(
            found[0],
            format!("{} [995904 bytes more]", "x".repeat(4_096))
        );
        assert_eq!(found[1], "short");
    }
}
