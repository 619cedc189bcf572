//! Framing of the messages of one connection as their bytes arrive.

use crate::{
    FramingError, FramingFault,
    chunks::{Chunks, Reach},
    head::{Framing, Head, MAX_HEAD_BYTES},
    line::{is_token, request_line},
};

/// Follows what a client sends.
#[derive(Debug)]
pub struct RequestFramer {
    at: At,
    /// True if the current request is the last one.
    last: bool,
    requests: u64,
    /// True if the client of the current request waits for `100 Continue`.
    expects: bool,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// In a head: number of bytes looked at, and offset at which the current line began.
    Head {
        seen: usize,
        line: usize,
    },
    Length(u64),
    Chunks(Chunks),
    /// After the end: nothing more is read.
    Over,
}

/// Verdict on a piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Number of bytes that may go on to the parser.
    pub bytes: usize,
    /// Treatment of the rest.
    pub rest: Remainder,
}

/// Treatment of the bytes that may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remainder {
    /// The bytes are the beginning of a head, or come after a whole request: the caller
    /// must pass them again together with what follows them.
    Held,
    /// The bytes come after the last request.
    Ignored,
    /// The bytes begin a request that is not let pass.
    Refused(FramingError),
    /// The bytes do not continue the body of a request that was let pass in part.
    Broken(FramingError),
}

impl Default for RequestFramer {
    fn default() -> Self {
        Self {
            at: BETWEEN,
            last: false,
            requests: 0,
            expects: false,
        }
    }
}

const BETWEEN: At = At::Head { seen: 0, line: 0 };

impl RequestFramer {
    /// Returns the number of requests that have arrived.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Returns true if the next byte belongs to a body.
    pub fn in_body(&self) -> bool {
        matches!(self.at, At::Length(_) | At::Chunks(_))
    }

    /// Returns true if the client of the current request waits for `100 Continue`.
    pub(crate) fn expects(&self) -> bool {
        self.expects
    }

    /// Returns true if no byte of the next request has been looked at yet.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.at, At::Head { seen: 0, .. })
    }

    /// Ends the stream: nothing more is read.
    pub(crate) fn end(&mut self) {
        self.at = At::Over;
    }

    /// Looks at the next piece, which begins with what was held. No more than one
    /// request passes: the next one is looked at when the piece is given again.
    pub fn pass(&mut self, piece: &[u8]) -> Admitted {
        let mut bytes = 0;
        loop {
            let rest = &piece[bytes..];
            match self.at {
                At::Over => {
                    return Admitted {
                        bytes,
                        rest: Remainder::Ignored,
                    };
                }
                _ if rest.is_empty() || (bytes > 0 && self.is_between()) => {
                    return Admitted {
                        bytes,
                        rest: Remainder::Held,
                    };
                }
                At::Length(left) => {
                    let taken = usize::try_from(left).map_or(rest.len(), |n| n.min(rest.len()));
                    bytes += taken;
                    self.body_left(left - taken as u64);
                }
                At::Chunks(mut chunks) => match chunks.follow(rest) {
                    Err((fine, refusal)) => {
                        self.at = At::Over;
                        let (bytes, rest) = (bytes + fine, Remainder::Broken(refusal));
                        return Admitted { bytes, rest };
                    }
                    Ok(Reach::Beyond) => {
                        self.at = At::Chunks(chunks);
                        bytes = piece.len();
                    }
                    Ok(Reach::End(end)) => {
                        bytes += end;
                        self.body_left(0);
                    }
                },
                At::Head { seen, line } => match self.head(rest, seen, line) {
                    Err(refusal) => return self.refuse(bytes, refusal),
                    Ok(None) => {
                        return Admitted {
                            bytes,
                            rest: Remainder::Held,
                        };
                    }
                    Ok(Some(end)) => bytes += end,
                },
            }
        }
    }

    fn refuse(&mut self, bytes: usize, refusal: FramingError) -> Admitted {
        self.at = At::Over;
        let rest = Remainder::Refused(refusal);
        Admitted { bytes, rest }
    }

    fn body_left(&mut self, left: u64) {
        self.at = match (left, self.last) {
            (0, true) => At::Over,
            (0, false) => BETWEEN,
            (left, _) => At::Length(left),
        };
    }

    /// Goes through a head line by line. Returns its length once it is whole.
    fn head(
        &mut self,
        head: &[u8],
        mut seen: usize,
        mut line: usize,
    ) -> Result<Option<usize>, FramingError> {
        // Clients may have left the end of a line after a body (RFC 9112, 2.2).
        let blank = usize::from(head.starts_with(b"\r\n")) * 2;
        if let Some(first) = head.get(blank)
            && !is_token(first)
            && (blank > 0 || *first != b'\r')
        {
            return Err(FramingError::malformed("that is not HTTP"));
        }
        (seen, line) = (seen.max(blank), line.max(blank));
        while let Some(more) = head
            .get(seen..)
            .and_then(|rest| rest.iter().position(|b| *b == b'\n'))
        {
            let end = seen + more;
            if end == 0 || head[end - 1] != b'\r' {
                return Err(FramingError::malformed("a line does not end with CR LF"));
            }
            // The first line is checked early: a request without a version never sends an
            // empty line.
            if line == blank {
                request_line(&head[line..end - 1])?;
            }
            if end - 1 == line {
                return self.whole(head, blank, end + 1).map(Some);
            }
            (seen, line) = (end + 1, end + 1);
        }
        if head.len() > MAX_HEAD_BYTES {
            return Err(too_large());
        }
        self.at = At::Head {
            seen: head.len(),
            line,
        };
        Ok(None)
    }

    fn whole(&mut self, head: &[u8], begin: usize, end: usize) -> Result<usize, FramingError> {
        if end > MAX_HEAD_BYTES {
            return Err(too_large());
        }
        let head = Head::parse(&head[begin..end])?;
        self.requests += 1;
        self.last = head.last;
        self.expects = head.expects;
        match head.framing {
            Framing::Length(length) => self.body_left(length),
            Framing::Chunked => self.at = At::Chunks(Chunks::new()),
        }
        Ok(end)
    }
}

fn too_large() -> FramingError {
    FramingError {
        fault: FramingFault::HeadTooLarge,
        detail: "the head of the request is over 32 KiB long",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    const CHUNKED: &str =
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n";

    /// Returns the bytes that pass when `stream` comes in pieces of these sizes, the
    /// remainder that ended it, and the number of requests.
    fn run(stream: &[u8], pieces: &[usize]) -> (Vec<u8>, Option<Remainder>, u64) {
        let mut framer = RequestFramer::default();
        let (mut passed, mut held, mut at) = (Vec::new(), Vec::new(), 0);
        let mut sizes = pieces.iter().copied().chain(std::iter::once(stream.len()));
        while at < stream.len() {
            let end = (at + sizes.next().unwrap_or(stream.len()).max(1)).min(stream.len());
            held.extend_from_slice(&stream[at..end]);
            at = end;
            loop {
                let before = framer.requests();
                let Admitted { bytes, rest } = framer.pass(&held);
                assert!(framer.requests() <= before + 1, "one at a time");
                passed.extend(held.drain(..bytes));
                if rest != Remainder::Held {
                    return (passed, Some(rest), framer.requests());
                }
                if bytes == 0 || held.is_empty() {
                    break;
                }
            }
        }
        (passed, None, framer.requests())
    }

    #[test]
    fn requests_follow_each_other() {
        let stream = [GET, POST, "\r\n", GET, CHUNKED, CHUNKED, POST, GET].concat();
        let (passed, rest, requests) = run(stream.as_bytes(), &[]);
        assert_eq!((passed, rest, requests), (stream.into_bytes(), None, 7));
    }

    #[test]
    fn nothing_passes_after_what_is_refused() {
        let bare = "GET /a HTTP/1.1\nHost: a\n\n";
        let list = GET.replace("Host: a", "Host: a,b");
        let chunk = CHUNKED.replace("3;x", "z");
        let body = chunk.find('z').unwrap();
        for (bad, passes) in [
            (bare, 0),
            (&*list, 0),
            ("\r\n\r\nGET / HTTP/1.1\r\n", 0),
            ("\nGET / HTTP/1.1\r\n", 0),
            ("\x16\x03\x01", 0),
            ("GET /\r\n", 0),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
            (&*chunk, body),
        ] {
            let stream = [GET, bad, GET].concat();
            let (passed, rest, _) = run(stream.as_bytes(), &[]);
            let refused = match rest {
                Some(Remainder::Refused(_)) => passes == 0,
                Some(Remainder::Broken(_)) => passes > 0,
                _ => false,
            };
            assert!(refused, "{bad:?}: {rest:?}");
            assert_eq!(passed.len(), GET.len() + passes, "{bad:?}");
        }
        let last = GET.replace("Host", "Connection: close\r\nHost");
        let stream = [&*last, GET].concat();
        let (passed, rest, requests) = run(stream.as_bytes(), &[]);
        assert_eq!(
            (passed.len(), rest, requests),
            (last.len(), Some(Remainder::Ignored), 1)
        );
    }

    #[test]
    fn a_head_is_bounded_whether_or_not_it_ends() {
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        let whole = format!("{endless}\r\nHost: a\r\n\r\n");
        for head in [endless, whole] {
            let (_, rest, _) = run(head.as_bytes(), &[1_000; 100]);
            assert_eq!(rest, Some(Remainder::Refused(too_large())));
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            messages in prop::collection::vec(prop_oneof![
                Just(GET.to_owned()), Just(POST.to_owned()), Just(CHUNKED.to_owned()),
                Just(GET.replace("\r\n", "\n")), "[ -~\r\n]{0,40}",
            ], 0..6),
            pieces in prop::collection::vec(1_usize..40, 0..60),
        ) {
            let stream = messages.concat();
            prop_assert_eq!(run(stream.as_bytes(), &pieces), run(stream.as_bytes(), &[]));
        }

        #[test]
        fn whatever_comes_the_guard_only_passes_a_prefix(stream in prop::collection::vec(any::<u8>(), 0..300)) {
            let (passed, _, _) = run(&stream, &[7; 50]);
            prop_assert!(stream.starts_with(&passed));
        }
    }
}
