//! Parsing of the first line of a request: a method, a target, a version.

use crate::{FramingError, FramingFault};

/// Maximum number of bytes of the target. Fact: RFC 9112, 3: 8,000 octets at least are to
/// be supported.
const MAX_TARGET_BYTES: usize = 8 << 10;
/// Maximum number of bytes of a method. Fact: the IANA registry of methods has no longer
/// one but UPDATEREDIRECTREF.
const MAX_METHOD_BYTES: usize = 16;

/// Parts of the first line that matter for framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine<'a> {
    /// True if the version is 1.1, false if it is 1.0.
    pub(crate) is_1_1: bool,
    /// True if the method is POST.
    pub(crate) is_post: bool,
    /// The authority of a target in absolute form.
    pub(crate) authority: Option<&'a [u8]>,
}

/// Reads the first line.
pub(crate) fn request_line(line: &[u8]) -> Result<RequestLine<'_>, FramingError> {
    const MALFORMED: FramingError =
        FramingError::malformed("the first line is not a method, a target and HTTP/1.1");
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => {
            return Err(FramingError::malformed(
                "the version is not HTTP/1.1 or HTTP/1.0",
            ));
        }
    };
    if method.is_empty() || method.len() > MAX_METHOD_BYTES || !method.iter().all(is_of_method) {
        return Err(MALFORMED);
    }
    if method == b"CONNECT" {
        return Err(FramingError::malformed("this is not a proxy"));
    }
    let authority = check_target(method, target)?;
    Ok(RequestLine {
        is_1_1,
        is_post: method == b"POST",
        authority,
    })
}

/// Accepts a path with an optional query (RFC 9112, 3.2.1), the same after a scheme and
/// an authority (3.2.2), or `*` for OPTIONS. Returns the authority, if there is one.
fn check_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Option<&'a [u8]>, FramingError> {
    if target.len() > MAX_TARGET_BYTES {
        return Err(FramingError {
            fault: FramingFault::TargetTooLong,
            detail: "the target is over 8192 bytes long",
        });
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(None);
    }
    let after_scheme = [&b"http://"[..], b"https://"]
        .iter()
        .find_map(|scheme| target.strip_prefix(*scheme));
    let (authority, path) = match after_scheme {
        None => (None, target),
        Some(rest) => {
            let end = rest.iter().position(|byte| b"/?".contains(byte));
            let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
            (Some(authority), path)
        }
    };
    if path.first() != Some(&b'/') {
        return Err(FramingError::malformed("the path does not begin with /"));
    }
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !b"#\"<>\\`".contains(byte);
    match path.iter().all(allowed) {
        true => Ok(authority),
        false => Err(FramingError::malformed(
            "the target has a fragment or a character that must be percent-encoded",
        )),
    }
}

/// Returns true for a character of a method: all registered methods consist of these.
fn is_of_method(byte: &u8) -> bool {
    byte.is_ascii_alphabetic() || *byte == b'-'
}

/// Returns true for a character of a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Head;

    #[test]
    fn first_lines() {
        for line in [
            "GET / HTTP/1.1",
            "GET /a?b=c%20&d={e} HTTP/1.0",
            "OPTIONS * HTTP/1.1",
        ] {
            assert!(request_line(line.as_bytes()).is_ok(), "{line}");
        }
        for line in [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET\t/\tHTTP/1.1",
            "GET / HTTP/2.0",
            "PRI * HTTP/2.0",
            "GET / http/1.1",
            "GET / HTTP/1.10",
            "GET / HTTP/01.1",
            "G(T / HTTP/1.1",
            "G#T / HTTP/1.1",
            "G3T / HTTP/1.1",
            "GETGETGETGETGETGET / HTTP/1.1",
            "GET * HTTP/1.1",
            "GET a HTTP/1.1",
            "GET http://a HTTP/1.1",
            "GET http://a?b HTTP/1.1",
            "GET ftp://a/ HTTP/1.1",
            "CONNECT a:1 HTTP/1.1",
            "CONNECT / HTTP/1.1",
            "GET /#a HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "GET /\x01 HTTP/1.1",
            "GET /\\a HTTP/1.1",
            "",
            " ",
            "GET  HTTP/1.1",
        ] {
            assert!(request_line(line.as_bytes()).is_err(), "{line}");
        }
        for (target, host, fine) in [
            ("http://a:1/x?y", "A:1", true),
            ("https://a/", "a", true),
            ("http://b/", "a", false),
            ("http://a:2/", "a", false),
            ("http://u@a/", "a", false),
            ("http:///", "a", false),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(Head::parse(head.as_bytes()).is_ok(), fine, "{target}");
        }
        let long = format!("GET /{} HTTP/1.1", "x".repeat(MAX_TARGET_BYTES));
        let refusal = request_line(long.as_bytes()).unwrap_err();
        assert_eq!(refusal.fault, FramingFault::TargetTooLong);
    }
}
