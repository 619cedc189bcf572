//! Recognition of secrets in plain text: by their form, and by the names of variables.

use crate::{ApiKey, WebSessionCookie};

/// Returns whether the text contains an API key or the cookie of a web session.
pub(crate) fn holds_key(text: &str) -> bool {
    /// Length of a cookie, in bytes. Fact: the format of cookies.
    const COOKIE_BYTES: usize = "web_session_".len() + 26 + ".".len() + 43;
    let is_cookie = |at: usize| {
        let cookie = text.get(at..at + COOKIE_BYTES);
        cookie.and_then(WebSessionCookie::parse).is_some()
    };
    ApiKey::is_within(text)
        || text
            .match_indices("web_session_")
            .any(|(at, _)| is_cookie(at))
}

/// Words in the name of a variable that mark its value as secret.
const SECRET_WORDS: [&str; 10] = [
    "TOKEN",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
    "APIKEY",
    "PASS",
];
/// Last words of names that refer to a secret, such as its place or its id.
const POINTING_WORDS: [&str; 10] = [
    "FILE", "PATH", "DIR", "URL", "URI", "ID", "NAME", "TYPE", "TTL", "LIMIT",
];

/// Returns whether the name of a variable marks its value as secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(['_', '-', '.']).collect();
    let last = words.last().copied().unwrap_or_default();
    if POINTING_WORDS.contains(&last) || words.contains(&"PUBLIC") {
        return false;
    }
    last == "KEY" || words.iter().any(|word| SECRET_WORDS.contains(word))
}

/// Prefixes of secrets of well-known kinds, with their minimum length and a
/// description.
const SHAPES: [(&str, usize, &str); 12] = [
    ("sk-ant-", 24, "an API key"),
    ("sk-proj-", 24, "an API key"),
    ("ghp_", 30, "a GitHub token"),
    ("gho_", 30, "a GitHub token"),
    ("ghs_", 30, "a GitHub token"),
    ("github_pat_", 30, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("AKIA", 20, "an AWS access key"),
    ("whsec_", 20, "a webhook secret"),
    ("eyJ", 60, "a JSON Web Token"),
];

/// Returns the kind of a secret found anywhere in the text, by its form.
pub(crate) fn secret_shape(text: &str) -> Option<&'static str> {
    if holds_key(text) {
        return Some("a key of deia");
    }
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let shape = |(prefix, least, what): &(&str, usize, &'static str)| {
        text.match_indices(prefix).find_map(|(at, _)| {
            let before = text[..at].chars().next_back();
            let begins = before.is_none_or(|c| !c.is_ascii_alphanumeric());
            let end = text[at..]
                .find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c))
                .map_or(text.len(), |length| at + length);
            let digits = text[at..end].bytes().filter(u8::is_ascii_digit).count();
            (begins && end - at >= *least && digits >= 2).then_some(*what)
        })
    };
    SHAPES
        .iter()
        .find_map(shape)
        .or_else(|| has_password(text).then_some("a URL with a password"))
}

/// Returns whether the text contains a URL with a password:
/// `scheme://user:password@host`.
fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, found)| {
        let rest = &text[at + found.len()..];
        let end = rest.find(['/', '?', '#', ' ', '"', '\'']);
        let authority = &rest[..end.unwrap_or(rest.len())];
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.and_then(|user| user.split_once(':'))
            .is_some_and(|(_, password)| !password.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_names_are_recognised_by_their_words() {
        for (name, expected) in [
            ("ANTHROPIC_API_KEY", true),
            ("GITHUB_TOKEN", true),
            ("db_password", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("APP_SECRET", true),
            ("MAX_TOKENS", false),
            ("KEYBOARD", false),
            ("DEPLOY_KEY_FILE", false),
            ("TOKEN_PATH", false),
            ("AWS_ACCESS_KEY_ID", false),
            ("SSH_PUBLIC_KEY", false),
            ("COMPASS", false),
            ("RUST_LOG", false),
            ("", false),
        ] {
            assert_eq!(is_secret_name(name), expected, "{name}");
        }
    }

    #[test]
    fn secrets_are_recognised_by_their_shape() {
        let key = ApiKey::generate().unwrap().reveal();
        let random = "1aB2".repeat(9);
        for (text, expected) in [
            (key.clone(), Some("a key of deia")),
            (format!("--with={key}"), Some("a key of deia")),
            (
                format!("a={};", WebSessionCookie::generate().unwrap().reveal()),
                Some("a key of deia"),
            ),
            (
                format!("--header=Bearer sk-ant-{random}"),
                Some("an API key"),
            ),
            (format!("ghp_{random}"), Some("a GitHub token")),
            (format!("xghp_{random}"), None),
            (
                ["-----BEGIN RSA ", "PRIVATE KEY-----\nMII"].concat(),
                Some("a private key"),
            ),
            (
                "postgres://deia:hunter2@db/deia".into(),
                Some("a URL with a password"),
            ),
            ("postgres://deia@db/deia".into(), None),
            ("see https://example.com/a:b@c".into(), None),
            ("sk-ant-".into(), None),
            ("task-AKIAN".into(), None),
            ("deia_hive::actors".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(secret_shape(&text), expected, "{text}");
        }
    }
}
