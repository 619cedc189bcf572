//! Keys and secrets are never logged on purpose. If one gets into a line by accident
//! (in a path that a client made up, or in a message of a library about a request), it
//! is removed before the line is written.

use std::{
    borrow::Cow,
    io::{self, Write},
    ops::Range,
};

/// Replacement for a removed secret.
const HIDDEN: &str = "***";
/// Prefixes of secrets, and their minimum lengths including the prefix.
const SECRETS: [(&str, usize); 6] = [
    ("deia_", 44),
    ("whsec_", 20),
    ("earer ", 14),
    // A JSON object in base64url: a token.
    ("eyJ", 40),
    // The id of a session is not secret, the rest of its cookie is.
    ("web_session_", 60),
    ("__Host-deia=", 30),
];

/// Writes lines with their secrets removed. Lines are complete.
pub(super) struct Redacting<W>(pub(super) W);

impl<W: Write> Write for Redacting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(&redacted(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Prints an error about a command line, which may have a key in the wrong place.
///
/// # Errors
/// Standard output or error cannot be written.
pub(crate) fn print(error: &clap::Error) -> io::Result<()> {
    let plain = error.render().to_string();
    match redact(&plain) {
        Cow::Borrowed(_) => error.print(),
        Cow::Owned(shown) if error.use_stderr() => io::stderr().write_all(shown.as_bytes()),
        Cow::Owned(shown) => io::stdout().write_all(shown.as_bytes()),
    }
}

/// Returns the text without keys of deia, webhook secrets and bearer tokens, also when
/// some of its characters are percent-encoded.
pub(crate) fn redact(text: &str) -> Cow<'_, str> {
    match redacted(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Cow::Owned(text),
            // The secrets that are cut out are ASCII, so valid text stays valid.
            Err(_) => Cow::Borrowed(HIDDEN),
        },
    }
}

/// Like [`redact`], for bytes.
fn redacted(text: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut found = secrets(text);
    if text.contains(&b'%') {
        let decoded = Decoded::of(text);
        let places = secrets(&decoded.bytes);
        found.extend(places.into_iter().map(|place| decoded.place(place)));
        found.sort_by_key(|place| place.start);
    }
    let mut out = Vec::new();
    let mut told = 0;
    for place in &found {
        if place.end <= told {
            continue;
        }
        // A secret that overlaps the previous one is removed with it.
        if place.start >= told {
            out.extend_from_slice(&text[told..place.start]);
            out.extend_from_slice(HIDDEN.as_bytes());
        }
        told = place.end;
    }
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[told..]);
    Cow::Owned(out)
}

/// Returns whether not even the prefix of a secret is present, as in most lines.
fn is_plain(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| {
        !text.contains('%') && !SECRETS.iter().any(|(prefix, _)| text.contains(prefix))
    })
}

/// Returns the ranges of the secrets: each from behind its prefix to its end.
fn secrets(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(place) = first_secret(text, from) {
        from = place.end;
        found.push(place);
    }
    found
}

fn first_secret(text: &[u8], from: usize) -> Option<Range<usize>> {
    let of_kind = |(prefix, least): &(&str, usize)| {
        let prefix = prefix.as_bytes();
        let begins = |at: &usize| text[*at..].starts_with(prefix);
        let mut places = (from..text.len()).filter(begins);
        places.find_map(|at| {
            let start = at + prefix.len();
            let belongs = |b: &u8| b.is_ascii_alphanumeric() || b"_-.~+/=".contains(b);
            let length = text[start..].iter().take_while(|b| belongs(b)).count();
            let place = start..start + length;
            let is_secret = place.end - at >= *least && looks_random(&text[place.clone()]);
            is_secret.then_some(place)
        })
    };
    SECRETS
        .iter()
        .filter_map(of_kind)
        .min_by_key(|place| (place.start, place.end))
}

/// Names of modules and metrics are long as well, but have hardly any digits.
fn looks_random(text: &[u8]) -> bool {
    text.iter().filter(|b| b.is_ascii_digit()).count() >= 2
}

/// A text with its percent-encoding undone, however often it was applied.
struct Decoded {
    bytes: Vec<u8>,
    /// Offset of each byte in the original text, and at the end the length of that
    /// text.
    from: Vec<usize>,
}

impl Decoded {
    /// Maximum number of rounds: nobody encodes more often by mistake. A `%25` before
    /// another code, repeatedly, counts for none. Fixed: a bound of the work on one line,
    /// whatever it has.
    const ROUNDS: usize = 8;

    fn of(text: &[u8]) -> Self {
        let mut decoded = Self {
            bytes: text.to_vec(),
            from: (0..=text.len()).collect(),
        };
        for _ in 0..Self::ROUNDS {
            if !decoded.decode() {
                break;
            }
        }
        decoded
    }

    /// Undoes one round. Returns whether there was something to undo.
    fn decode(&mut self) -> bool {
        let (mut bytes, mut from) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < self.bytes.len() {
            from.push(self.from[at]);
            match code(&self.bytes[at..]) {
                Some((byte, length)) => {
                    bytes.push(byte);
                    at += length;
                }
                None => {
                    bytes.push(self.bytes[at]);
                    at += 1;
                }
            }
        }
        from.extend(self.from.last());
        let changed = bytes.len() < self.bytes.len();
        (self.bytes, self.from) = (bytes, from);
        changed
    }

    /// Returns the range in the original text.
    fn place(&self, place: Range<usize>) -> Range<usize> {
        self.from[place.start]..self.from[place.end]
    }
}

/// Returns the byte that a text begins with the code of, and the length of the code.
/// `%2541` is like `%41`: the sign may itself be encoded, repeatedly.
fn code(text: &[u8]) -> Option<(u8, usize)> {
    let hex = |at: usize| {
        let digit = char::from(*text.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    if text.first() != Some(&b'%') {
        return None;
    }
    let mut at = 1;
    while text[at..].starts_with(b"25") && hex(at + 2).is_some() && hex(at + 3).is_some() {
        at += 2;
    }
    Some((hex(at)? << 4 | hex(at + 1)?, at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_is_kept() {
        let key = deia_model::ApiKey::generate().unwrap().reveal();
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6";
        let cookie = deia_model::WebSessionCookie::generate().unwrap().reveal();
        for (text, expected) in [
            (
                format!("GET /x/{key} and {key}"),
                "GET /x/deia_*** and deia_***",
            ),
            (
                format!("\"authorization\": \"Bearer {key}\""),
                "\"authorization\": \"Bearer ***\"",
            ),
            ("Bearer eyJhbGciOiJIUzI1NiJ9.e30.x".into(), "Bearer ***"),
            (
                "secret whsec_C2FVsBQIhrscChlQIMV5 end".into(),
                "secret whsec_*** end",
            ),
            (format!("{jwt}, {cookie}"), "eyJ***, web_session_***"),
            (
                format!("cookie: __Host-deia={cookie};"),
                "cookie: __Host-deia=***;",
            ),
            (
                "web_session_01h455vb4pex5vsknk084sn02q ended".into(),
                "web_session_01h455vb4pex5vsknk084sn02q ended",
            ),
            ("deia_hive::actors::bots".into(), "deia_hive::actors::bots"),
            ("Bearer realm=\"deia\"".into(), "Bearer realm=\"deia\""),
            (String::new(), ""),
        ] {
            assert_eq!(redact(&text), expected);
        }
        let name = "deia_store_commit_duration_seconds_bucket_and_more_of_it";
        assert_eq!(redact(name), name);
    }

    #[test]
    fn a_secret_is_found_in_every_percent_encoding() {
        let key = deia_model::ApiKey::generate().unwrap().reveal();
        let secret = key.split('_').nth(2).unwrap();
        let every = |text: &str| -> String {
            let codes = text.bytes().map(|byte| format!("%{byte:02X}"));
            codes.collect()
        };
        let again = |text: &str| text.replace('%', "%25");
        for text in [
            key.replace('_', "%5f"),
            key.replace('_', "%5F"),
            every(&key),
            key.replacen('d', "%64", 1),
            again(&key.replace('_', "%5f")),
            again(&again(&again(&every(&key)))),
            key.replace('_', "%%35f"),
            key.replacen('_', "%5f", 1),
            format!("{key}%2f{}", key.replace('_', "%5f")),
        ] {
            let line = format!("GET /x/{text}?y HTTP/1.1");
            let shown = redact(&line).into_owned();
            let decoded =
                String::from_utf8_lossy(&Decoded::of(shown.as_bytes()).bytes).into_owned();
            assert!(!decoded.contains(secret), "{line} {shown}");
            assert!(
                shown.starts_with("GET /x/") && shown.ends_with("***?y HTTP/1.1"),
                "{shown}"
            );
        }
        for text in ["100 %", "%", "%4", "%25", "a%20b", "%zz", "%ff%00"] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_redacted_as_well() {
        let key = deia_model::ApiKey::generate().unwrap().reveal();
        let mut out = Vec::new();
        let line = [b"\xff ", key.as_bytes(), b" \xfe"].concat();
        Redacting(&mut out).write_all(&line).unwrap();
        assert_eq!(out, b"\xff deia_*** \xfe");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_redacted_without_a_panic(text: Vec<u8>, more in "[%25fF_deia ]{0,64}") {
            let _ = redacted(&text);
            let _ = redact(&more);
        }
    }
}
