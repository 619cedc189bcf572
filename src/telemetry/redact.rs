//! Keys and secrets are not logged on purpose anywhere. Should one get into a
//! line by accident (in a path that a client made up, or in what a library says
//! of a request), it is taken out of there before the line is written.

use std::{
    borrow::Cow,
    io::{self, Write},
};

/// What stands for what was taken out.
const HIDDEN: &str = "***";
/// What secrets begin with, and how long they are at least with that.
const SECRETS: [(&str, usize); 6] = [
    ("deia_", 44),
    ("whsec_", 20),
    ("earer ", 14),
    // A JSON object in base64url: a token.
    ("eyJ", 40),
    // The name of a session is no secret, the rest of its cookie is.
    ("login_", 60),
    ("__Host-deia=", 30),
];

/// Writes lines without the secrets in them. Lines come whole.
pub(super) struct Redacting<W>(pub(super) W);

impl<W: Write> Write for Redacting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => self.0.write_all(redact(text).as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The text without what looks like a key of ours, a webhook secret or a bearer token.
pub(crate) fn redact(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((start, end)) = first_secret(rest) {
        out.push_str(&rest[..start]);
        out.push_str(HIDDEN);
        rest = &rest[end..];
    }
    if out.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the first secret is: after what it begins with, to its end.
fn first_secret(text: &str) -> Option<(usize, usize)> {
    let found = SECRETS.iter().filter_map(|(prefix, least)| {
        text.match_indices(prefix).find_map(|(at, _)| {
            let start = at + prefix.len();
            let end = text[start..]
                .find(|c: char| !c.is_ascii_alphanumeric() && !"_-.~+/=".contains(c))
                .map_or(text.len(), |len| start + len);
            (end - at >= *least && looks_random(&text[start..end])).then_some((start, end))
        })
    });
    found.min()
}

/// Names of modules and metrics are long as well, but have no digits to speak of.
fn looks_random(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_is_kept() {
        let key = deia_hive::auth::ApiKey::generate().unwrap().reveal();
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6";
        let cookie = deia_hive::auth::LoginCookie::generate().unwrap().reveal();
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
            (format!("{jwt}, {cookie}"), "eyJ***, login_***"),
            (
                format!("cookie: __Host-deia={cookie};"),
                "cookie: __Host-deia=***;",
            ),
            (
                "login_01h455vb4pex5vsknk084sn02q ended".into(),
                "login_01h455vb4pex5vsknk084sn02q ended",
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
}
