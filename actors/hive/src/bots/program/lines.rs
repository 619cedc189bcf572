//! Splits a stream of bytes into lines, in bounded memory.

/// Bytes kept of a line; the rest of a longer line is dropped. Fixed: keeps messages
/// readable.
pub(in crate::bots) const MAX_LINE_BYTES: usize = 4 << 10;

/// A line under construction.
#[derive(Debug, Default)]
pub(in crate::bots) struct Lines {
    partial: Vec<u8>,
    /// Number of bytes dropped from this line.
    left_out: usize,
    /// True if the last byte was a carriage return: the next bytes overwrite the line.
    returned: bool,
    /// True if the beginning of this line was emitted already.
    shown: bool,
}

impl Lines {
    /// Adds bytes and emits every line that they complete. If a program overwrites a line (`\r`, a
    /// progress bar), the last version is emitted.
    pub(in crate::bots) fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let text = piece
                .strip_suffix(b"\n")
                .or_else(|| piece.strip_suffix(b"\r"));
            self.extend(text.unwrap_or(piece));
            match piece.last() {
                Some(b'\n') => self.end_line(&mut emit),
                Some(b'\r') => self.returned = true,
                _ => {}
            }
        }
    }

    /// Emits an incomplete line, so that it is visible. The rest becomes a line of its own.
    pub(in crate::bots) fn show_partial(&mut self, mut emit: impl FnMut(&str)) {
        if self.has_news() {
            self.emit(&mut emit);
            self.shown = true;
        }
    }

    /// Returns whether the current line has bytes that were not emitted yet.
    pub(in crate::bots) fn has_news(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Ends the stream: emits the last line if its end is missing.
    pub(in crate::bots) fn end(&mut self, mut emit: impl FnMut(&str)) {
        if self.has_news() || self.left_out > 0 {
            self.end_line(&mut emit);
        }
    }

    fn extend(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if std::mem::replace(&mut self.returned, false) {
            self.partial.clear();
            self.left_out = 0;
        }
        // Only the beginning of an overlong line is emitted.
        let full = self.shown && self.left_out > 0;
        let room = match full {
            true => 0,
            false => MAX_LINE_BYTES - self.partial.len(),
        };
        let kept = text.len().min(room);
        self.partial.extend_from_slice(&text[..kept]);
        self.left_out += text.len() - kept;
    }

    fn end_line(&mut self, emit: &mut impl FnMut(&str)) {
        let shown = std::mem::replace(&mut self.shown, false);
        // Everything but the end of the line was emitted already.
        if !shown || self.has_news() || self.left_out > 0 {
            self.emit(emit);
        }
        self.left_out = 0;
        self.returned = false;
    }

    /// Emits the pending bytes, followed by the number of bytes left out of the line.
    fn emit(&mut self, emit: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.partial);
        if self.left_out == 0 {
            emit(&line);
        } else {
            emit(&format!("{line} [{} bytes more]", self.left_out));
        }
        self.partial.clear();
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
    fn lines_do_not_depend_on_chunk_sizes() {
        for (chunks, expected) in [
            (vec![&b""[..]], vec![]),
            (vec![b"a\nb\n"], vec!["a", "b"]),
            (vec![b"a", b"b\nc"], vec!["ab", "c"]),
            (vec![b"a\n", b"\n", b"b"], vec!["a", "", "b"]),
            (vec![b"a\r\nb\xff\n"], vec!["a", "b\u{fffd}"]),
            (vec![b"a\r", b"\nb"], vec!["a", "b"]),
            (vec![b"10%\r50%\r", b"100%\rdone\n"], vec!["done"]),
            (vec![b"10%\r50%\r"], vec!["50%"]),
            (vec![b"10%\r\r\n\nx"], vec!["10%", "", "x"]),
        ] {
            assert_eq!(split(&chunks), expected, "{chunks:?}");
        }
    }

    #[test]
    fn unterminated_line_is_shown_once_and_continues() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut emit = |line: &str| found.push(line.to_owned());
        lines.push(b"Password: ", &mut emit);
        lines.show_partial(&mut emit);
        lines.show_partial(&mut emit);
        lines.push(b"\n10%\r20%", &mut emit);
        lines.show_partial(&mut emit);
        lines.push(b"\r30%", &mut emit);
        lines.show_partial(&mut emit);
        lines.push(b" more\nlast", &mut emit);
        lines.end(&mut emit);
        assert_eq!(found, ["Password: ", "20%", "30%", " more", "last"]);
    }

    #[test]
    fn long_line_that_is_shown_early_takes_no_memory() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for _ in 0..1_000 {
            lines.push(&[b'x'; 1_000], |line| found.push(line.to_owned()));
            lines.show_partial(|line| found.push(line.to_owned()));
        }
        lines.push(b"\nshort\n", |line| found.push(line.to_owned()));
        assert_eq!(found.len(), 1_001, "never too long, so all of it is shown");

        let mut lines = Lines::default();
        let mut found = Vec::new();
        for _ in 0..10 {
            lines.push(&[b'x'; 5_000], |line| found.push(line.to_owned()));
            lines.show_partial(|line| found.push(line.to_owned()));
        }
        lines.push(b"\nshort\n", |line| found.push(line.to_owned()));
        assert!(found[0].ends_with(" [904 bytes more]"), "{found:?}");
        assert_eq!(found[1..], [" [45904 bytes more]", "short"]);
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
