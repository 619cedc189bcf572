//! Parsing of the head of a request, which decides where its body ends.

use std::net::Ipv6Addr;

use crate::{
    FramingError, FramingFault,
    line::{RequestLine, is_token, request_line},
};

/// Maximum number of bytes of a head. Fact: RFC 9110, 5.4: a server limits the fields
/// that it processes (431); actix-web allows as much.
pub(crate) const MAX_HEAD_BYTES: usize = 32 << 10;
/// Maximum number of fields of a head. Fact: RFC 9110, 5.4: a server limits the fields
/// that it processes (431).
const MAX_FIELDS: usize = 64;

/// End of the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// Parts of a head that matter for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// End of the body.
    pub framing: Framing,
    /// True if the request is the last one of the connection.
    pub last: bool,
    /// True if the client waits for `100 Continue` before it sends the body.
    pub expects: bool,
}

impl Head {
    /// Reads a whole head, from its first line to the empty line.
    ///
    /// # Errors
    /// Refuses anything that another parser might read in another way.
    pub fn parse(head: &[u8]) -> Result<Self, FramingError> {
        let mut lines = lines(head);
        let first = request_line(lines.next().unwrap_or_default())?;
        let mut fields = Fields::default();
        let mut count = 0;
        for line in lines {
            if line.is_empty() {
                break;
            }
            count += 1;
            if count > MAX_FIELDS {
                return Err(FramingError {
                    fault: FramingFault::HeadTooLarge,
                    detail: "the head has more than 64 fields",
                });
            }
            fields.take(line)?;
        }
        fields.conclude(first)
    }
}

/// Takes the expectations out of a head, so that no parser behind answers them: the value
/// of each is replaced by one that means nothing.
pub(crate) fn hide_expectations(head: &mut [u8]) {
    const EXPECT: &[u8] = b"\nexpect:";
    let mut at = 0;
    while let Some(found) = head[at..]
        .windows(EXPECT.len())
        .position(|bytes| bytes.eq_ignore_ascii_case(EXPECT))
    {
        let value = at + found + EXPECT.len();
        let end = head[value..].iter().position(|byte| *byte == b'\r');
        let end = end.map_or(head.len(), |end| value + end);
        head[value..end].fill(b'-');
        at = end;
    }
}

/// Returns the lines of a head, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The fields that matter for framing.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, line: &'a [u8]) -> Result<(), FramingError> {
        let colon = line.iter().position(|byte| *byte == b':');
        let Some((name, value)) = colon.map(|at| (&line[..at], &line[at + 1..])) else {
            return Err(FramingError::malformed("a line of the head has no colon"));
        };
        if name.is_empty() || !name.iter().all(is_token) {
            return Err(FramingError::malformed(
                "a line of the head does not begin with a name and its colon",
            ));
        }
        if value
            .iter()
            .any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f)
        {
            return Err(FramingError::malformed("a header has a control character"));
        }
        self.know(name, value.trim_ascii())
    }

    fn know(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), FramingError> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            4 if is("host") => {
                if self.host.replace(value).is_some() {
                    return Err(FramingError::malformed("there is more than one Host"));
                }
                match is_authority(value) {
                    true => Ok(()),
                    false => Err(FramingError::malformed(
                        "Host is not one host with an optional port",
                    )),
                }
            }
            6 if is("expect") => match value.eq_ignore_ascii_case(b"100-continue") {
                true => {
                    self.expects = true;
                    Ok(())
                }
                false => Err(FramingError {
                    fault: FramingFault::ExpectationFailed,
                    detail: "nothing but 100-continue can be expected",
                }),
            },
            7 if is("upgrade") => match mentions(value, b"websocket") {
                // The parser behind would take the rest of the connection for the body.
                true => Err(FramingError::malformed("there are no WebSockets here")),
                false => Ok(()),
            },
            10 if is("connection") => {
                self.close |= mentions(value, b"close");
                self.keep_alive |= mentions(value, b"keep-alive");
                Ok(())
            }
            14 if is("content-length") => match (self.length, number(value)) {
                (Some(_), _) => Err(FramingError::malformed(
                    "there is more than one Content-Length",
                )),
                (None, None) => Err(FramingError::malformed("Content-Length is not a number")),
                (None, length) => {
                    self.length = length;
                    Ok(())
                }
            },
            17 if is("transfer-encoding") => {
                let once = !std::mem::replace(&mut self.chunked, true);
                match once && value.eq_ignore_ascii_case(b"chunked") {
                    true => Ok(()),
                    false => Err(FramingError::malformed(
                        "Transfer-Encoding is something else than chunked, once",
                    )),
                }
            }
            _ => Ok(()),
        }
    }

    fn conclude(self, first: RequestLine<'_>) -> Result<Head, FramingError> {
        let is_1_1 = first.is_1_1;
        let same = |authority: &[u8], host: &[u8]| authority.eq_ignore_ascii_case(host);
        match (self.host, first.authority) {
            (None, _) if is_1_1 => return Err(FramingError::malformed("there is no Host")),
            (Some(host), Some(authority)) if !same(authority, host) => {
                return Err(FramingError::malformed(
                    "the target has another host than Host",
                ));
            }
            (None, Some(authority)) if !is_authority(authority) => {
                return Err(FramingError::malformed("the host of the target is not one"));
            }
            _ => {}
        }
        let framing = match (self.chunked, self.length) {
            (true, Some(_)) => {
                return Err(FramingError::malformed(
                    "there are both Content-Length and Transfer-Encoding",
                ));
            }
            (true, None) if !is_1_1 => {
                return Err(FramingError::malformed("HTTP/1.0 has no Transfer-Encoding"));
            }
            (true, None) => Framing::Chunked,
            (false, None) if first.is_post && !is_1_1 => {
                return Err(FramingError::malformed(
                    "POST in HTTP/1.0 has no Content-Length",
                ));
            }
            (false, length) => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Head {
            framing,
            last: self.close || !(is_1_1 || self.keep_alive),
            // HTTP/1.0 has no interim answers (RFC 9110, 10.1.1).
            expects: self.expects && is_1_1,
        })
    }
}

/// Returns true if a list has that element.
fn mentions(list: &[u8], element: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|one| one.trim_ascii().eq_ignore_ascii_case(element))
}

/// Parses a number of digits only: no sign, no list, nothing that overflows.
fn number(text: &[u8]) -> Option<u64> {
    let digits = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// Returns true for `host`, `host:port`, `[v6]` or `[v6]:port`.
fn is_authority(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let (host_is_fine, rest) = match text.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
            None => return false,
        },
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (host, rest) = text.split_at(end);
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            let fine = (1..=255).contains(&host.len()) && host.bytes().all(allowed);
            (fine, rest)
        }
    };
    let port_is_fine = match rest.strip_prefix(':') {
        None => rest.is_empty(),
        Some(port) => port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    };
    host_is_fine && port_is_fine
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fields: &str) -> Result<Head, FramingError> {
        Head::parse(format!("POST /x HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes())
    }

    #[test]
    fn a_body_ends_in_one_place() {
        for (fields, framing) in [
            ("Host: a", Framing::Length(0)),
            ("Host: a\r\nContent-Length: 7", Framing::Length(7)),
            ("Host: a\r\ncontent-length:\t011 ", Framing::Length(11)),
            ("Host: a\r\nTransfer-Encoding: Chunked", Framing::Chunked),
        ] {
            assert_eq!(with(fields).unwrap().framing, framing, "{fields}");
        }
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 0x1",
            "Content-Length: 1 1",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding:\x0bchunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Upgrade: websocket\r\nConnection: upgrade",
        ] {
            let refusal = with(&format!("Host: a\r\n{fields}")).unwrap_err();
            assert_eq!(refusal.fault, FramingFault::Malformed, "{fields}");
        }
    }

    #[test]
    fn there_is_one_host_and_nothing_else_in_it() {
        for host in [
            "a",
            "a:1",
            "a.b-c_d:65535",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:80",
        ] {
            assert!(with(&format!("Host: {host}")).is_ok(), "{host}");
        }
        for host in [
            "",
            "a/b",
            "u@a",
            "u:p@a",
            "a,b",
            "a b",
            "a:",
            "a:x",
            "a:65536",
            "a:1:2",
            "[::1",
            "[a]",
            "[::1]x",
            "[::1%25lo]",
            "a?b",
            "a#b",
            "\u{e9}",
            "*",
        ] {
            assert!(with(&format!("Host: {host}")).is_err(), "{host}");
        }
        assert!(with("Host: a\r\nHost: a").is_err());
        assert!(with("X: y").is_err());
    }

    #[test]
    fn lines_are_names_and_values() {
        for line in ["X:", "X: \u{e9}", "x-y: a\tb", "X:a"] {
            assert!(with(&format!("Host: a\r\n{line}")).is_ok(), "{line}");
        }
        for line in [
            "X",
            "X : a",
            ": a",
            "X\t: a",
            " X: a",
            "X: a\r\n b",
            "X: a\0",
            "X: a\rb",
            "X: \x7f",
            "X[]: a",
            "\u{e9}: a",
        ] {
            assert!(with(&format!("Host: a\r\n{line}")).is_err(), "{line}");
        }
        let many = "X: a\r\n".repeat(MAX_FIELDS);
        let refusal = with(&format!("{many}Host: a")).unwrap_err();
        assert_eq!(refusal.fault, FramingFault::HeadTooLarge);
        let other = with("Host: a\r\nExpect: 200-ok").unwrap_err();
        assert_eq!(other.fault, FramingFault::ExpectationFailed);
        assert!(with("Host: a\r\nExpect: 100-Continue").is_ok());
    }

    #[test]
    fn the_last_request_says_so() {
        for (fields, last) in [
            ("Host: a", false),
            ("Host: a\r\nConnection: keep-alive", false),
            ("Host: a\r\nConnection: x, Close", true),
        ] {
            assert_eq!(with(fields).unwrap().last, last, "{fields}");
        }
        assert!(Head::parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().last);
        let kept = b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
        assert!(!Head::parse(kept).unwrap().last);
        let chunked = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(Head::parse(chunked).is_err());
    }
}
