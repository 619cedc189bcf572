//! Server-sent events, from bytes that come in any pieces (WHATWG HTML, 9.2.6). Pure.

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// Type of the event; empty without one.
    pub(super) name: String,
    /// Data, lines joined by line feeds.
    pub(super) data: String,
}

/// An event that exceeds the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    pub(super) max_bytes: usize,
}

/// Parser of a stream of events. Comments, ids and delays are left out.
pub(super) struct SseParser {
    max_bytes: usize,
    /// Line that has not ended yet.
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    /// True after a carriage return: a line feed that follows belongs to it.
    after_cr: bool,
    is_first_line: bool,
}

impl SseParser {
    /// Returns a parser of events of at most that many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            line: Vec::new(),
            event: SseEvent::default(),
            has_data: false,
            after_cr: false,
            is_first_line: true,
        }
    }

    /// Takes a piece of the stream, and returns the events that are complete with it.
    ///
    /// # Errors
    /// An event is too long.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<SseEvent>, TooLong> {
        let mut events = Vec::new();
        let mut rest = piece;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                self.line.extend_from_slice(rest);
                break;
            };
            self.line.extend_from_slice(&rest[..end]);
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            self.check_length()?;
            events.extend(self.end_line());
        }
        self.check_length()?;
        Ok(events)
    }

    fn check_length(&self) -> Result<(), TooLong> {
        let max_bytes = self.max_bytes;
        match self.line.len() + self.event.data.len() > max_bytes {
            true => Err(TooLong { max_bytes }),
            false => Ok(()),
        }
    }

    /// Takes a whole line. An empty one ends the event.
    fn end_line(&mut self) -> Option<SseEvent> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut line = &*text;
        if std::mem::take(&mut self.is_first_line) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            // An event without data is none.
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment has no name.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "\u{feff}data: {\"a\":\"\u{e9}\u{1f600}\"}\n\n: ping\r\n\r\nevent: delta\r\ndata: x\r\ndata:y\r\n\r\nid: 7\rdata\r\rdata: [DONE]\n\n";

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent {
            name: name.into(),
            data: data.into(),
        }
    }

    fn expected() -> Vec<SseEvent> {
        vec![
            event("", "{\"a\":\"\u{e9}\u{1f600}\"}"),
            event("delta", "x\ny"),
            event("", ""),
            event("", "[DONE]"),
        ]
    }

    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<SseEvent> {
        let mut parser = SseParser::new(1_000);
        let pushed = pieces
            .into_iter()
            .flat_map(|piece| parser.push(piece).unwrap());
        pushed.collect()
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_split() {
        let bytes = STREAM.as_bytes();
        assert_eq!(parse([bytes]), expected());
        assert_eq!(parse(bytes.chunks(1)), expected(), "byte by byte");
        for at in 0..=bytes.len() {
            let (first, rest) = bytes.split_at(at);
            assert_eq!(parse([first, rest]), expected(), "split at {at}");
        }
    }

    #[test]
    fn event_without_its_end_is_none() {
        assert_eq!(parse([&b"data: x\n"[..]]), []);
        assert_eq!(parse([&b"data: x"[..]]), []);
        assert_eq!(parse([&b"event: x\n\ndata: y\n\n"[..]]), [event("", "y")]);
    }

    #[test]
    fn long_events_are_refused_however_they_come() {
        let long = format!("data: {}\n\n", "x".repeat(40));
        let lines = "data: 123456789\n".repeat(4);
        for text in [&long, &lines] {
            for size in [1, 7, 1_000] {
                let mut parser = SseParser::new(32);
                let mut pushed = text.as_bytes().chunks(size).map(|it| parser.push(it));
                let refused = pushed.any(|it| it == Err(TooLong { max_bytes: 32 }));
                assert!(refused, "{text:?} in pieces of {size}");
            }
        }
        let many = "data: 123\n\n".repeat(100);
        let mut parser = SseParser::new(32);
        assert_eq!(parser.push(many.as_bytes()).unwrap().len(), 100);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_events(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd')], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().filter(|at| *at <= bytes.len()).collect();
            cuts.sort_unstable();
            let mut from = 0;
            let mut pieces = Vec::new();
            for at in cuts {
                pieces.push(&bytes[from..at]);
                from = at;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(parse(pieces), parse([&bytes[..]]));
        }
    }
}
