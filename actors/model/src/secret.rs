//! Secrets: references to them, and the names of stored ones.

mod recognise;

use std::{collections::BTreeMap, fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

pub(super) use self::recognise::{holds_key, is_secret_name, secret_shape};
use super::{Timestamp, Violation, WebhookId};

/// Maximum number of secrets of a bot. Fact: the API, whose schema states it.
pub(super) const MAX_OF_BOT: usize = 64;
/// Maximum length of the name of a variable, in characters. Fact: the API, whose schema
/// states it.
pub(super) const MAX_NAME: usize = 128;

/// A reference to a secret of a bot. The value is looked up at the start of each
/// attempt and is nowhere in the specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// The content of a file, without the end of its last line. An absolute path,
    /// in a place that `bots.secret_files` allows.
    File(String),
    /// A variable in the environment of the server, one that `bots.secret_env` allows.
    Env(String),
    /// A secret that was put into the secret store of the hive, by its name.
    Store(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, place) = match self {
            Self::File(path) => ("file", path),
            Self::Env(name) => ("env", name),
            Self::Store(name) => ("store", name),
        };
        write!(f, "{kind}:{place}")
    }
}

impl FromStr for SecretRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("store", name)) if !name.is_empty() => Ok(Self::Store(name.to_owned())),
            _ => Err("expected file:PATH, env:NAME or store:NAME"),
        }
    }
}

/// The secrets of a bot: the variable in which its program finds each, and the place of
/// the value.
pub type SecretRefs = BTreeMap<String, SecretRef>;

/// The places in which the secrets of bots may be (`bots.secret_files`,
/// `bots.secret_env`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretPlaces {
    /// Files, and directories of files.
    pub files: Vec<String>,
    /// Variables of the server's own environment.
    pub env: Vec<String>,
}

impl SecretPlaces {
    /// Returns the allowed file or directory that `path` is equal to or below of.
    /// Compares the text; links are not resolved.
    pub fn place_of(&self, path: &str) -> Option<&str> {
        let within = |place: &&String| is_plain(path) && Path::new(path).starts_with(place);
        self.files.iter().find(within).map(String::as_str)
    }

    /// Returns the errors in these references; pointers are below `/secrets`.
    pub fn violations(&self, secrets: &SecretRefs) -> Vec<Violation> {
        let wrong = secrets.iter().filter_map(|(name, reference)| {
            let detail = match reference {
                SecretRef::File(path) if !is_plain(path) => {
                    "must be an absolute path without . and ..".to_owned()
                }
                SecretRef::File(path) if self.place_of(path).is_none() => {
                    format!("{reference} is in no place that bots.secret_files allows")
                }
                SecretRef::Env(variable) if !self.env.contains(variable) => {
                    format!("{reference} is not a variable that bots.secret_env allows")
                }
                SecretRef::Store(stored) => SecretName::of_bots(stored).err()?.to_owned(),
                SecretRef::File(_) | SecretRef::Env(_) => return None,
            };
            Some(Violation {
                pointer: pointer(name),
                detail,
            })
        });
        wrong.collect()
    }
}

/// Returns whether `path` is absolute and has no `.` or `..` parts.
pub fn is_plain(path: &str) -> bool {
    let dots = |part: &str| matches!(part, "." | "..");
    path.starts_with('/') && !path.contains('\0') && !path.split('/').any(dots)
}

/// Returns the errors in the secrets of a bot that has these plain-text variables.
pub(super) fn violations(secrets: &SecretRefs, env: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut refuse = |pointer: String, detail: &str| {
        found.push(Violation {
            pointer,
            detail: detail.into(),
        });
    };
    if secrets.len() > MAX_OF_BOT {
        refuse("/secrets".into(), "has more than 64 secrets");
    }
    for (name, reference) in secrets {
        if secret_shape(name).is_some() || secret_shape(&reference.to_string()).is_some() {
            refuse(
                "/secrets".into(),
                "has a secret in the place of a reference to one",
            );
        } else if name.is_empty() || name.chars().count() > MAX_NAME || name.contains(['=', '\0']) {
            refuse(
                "/secrets".into(),
                "has a name that is empty, over 128 characters long, or has a '=' or a NUL character",
            );
        } else if name.starts_with("DEIA_") {
            refuse(
                pointer(name),
                "has a name that starts with DEIA_, which deia sets itself",
            );
        } else if env.contains_key(name) {
            refuse(pointer(name), "is a variable of env as well");
        }
    }
    found
}

fn pointer(name: &str) -> String {
    format!("/secrets/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The name of a stored secret: `<scope>/<name>`. The scope is the subsystem that the
/// secret belongs to, so that no reference of a bot leads to the secret of another
/// subsystem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

impl SecretName {
    const BOTS: &'static str = "bots";

    /// Returns the stored secret that bots refer to by `name`.
    ///
    /// # Errors
    /// The rule that `name` violates.
    pub fn of_bots(name: &str) -> Result<Self, &'static str> {
        format!("{}/{name}", Self::BOTS).parse()
    }

    /// Returns the stored secret of an endpoint: its keys, and the values of its headers.
    pub fn of_webhook(id: WebhookId) -> Self {
        Self(format!("webhooks/{id}"))
    }

    /// Returns the whole name, with its scope.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name without its scope, if bots may refer to it.
    pub fn for_bots(&self) -> Option<&str> {
        self.0.strip_prefix(Self::BOTS)?.strip_prefix('/')
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| {
            let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            (1..=64).contains(&part.len())
                && part.bytes().all(|b| word(b) || b"-_.".contains(&b))
                && part.bytes().next().is_some_and(word)
        };
        match text.split_once('/') {
            Some((scope, name)) if part(scope) && part(name) => Ok(Self(text.to_owned())),
            _ => Err(
                "the name of a stored secret must be 1 to 64 characters of a-z 0-9 - _ . and begin with a letter or a digit",
            ),
        }
    }
}

/// A stored secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretInfo {
    /// Name of the secret.
    pub name: SecretName,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change of the value.
    pub changed_at: Timestamp,
}

/// A stored secret that bots may refer to, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotSecret {
    /// The name that bots use to refer to the secret.
    #[schema(example = "anthropic")]
    pub name: String,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change of the value.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
}

impl SecretInfo {
    /// Returns the description for those who refer to the secret, if bots may.
    pub fn into_bot_secret(self) -> Option<BotSecret> {
        Some(BotSecret {
            name: self.name.for_bots()?.to_owned(),
            created_at: self.created_at,
            changed_at: self.changed_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_written_as_they_are_read() {
        for (text, json) in [
            ("file:/etc/deia/a", r#"{"file":"/etc/deia/a"}"#),
            ("env:API_KEY", r#"{"env":"API_KEY"}"#),
            ("store:api", r#"{"store":"api"}"#),
        ] {
            let reference: SecretRef = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
            assert_eq!(serde_json::to_string(&reference).unwrap(), json);
            assert_eq!(serde_json::from_str::<SecretRef>(json).unwrap(), reference);
        }
        for text in ["", "file", "file:", "hunter2", "vault:x"] {
            assert!(text.parse::<SecretRef>().is_err(), "{text}");
        }
        for json in ["{}", r#"{"file":"/a","env":"B"}"#, r#"{"value":"x"}"#] {
            assert!(serde_json::from_str::<SecretRef>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn only_allowed_places_may_be_referred_to() {
        let places = SecretPlaces {
            files: vec!["/etc/deia/secrets".into(), "/run/one".into()],
            env: vec!["API_KEY".into()],
        };
        for (reference, allowed) in [
            ("file:/etc/deia/secrets/a", true),
            ("file:/etc/deia/secrets/sub/a", true),
            ("file:/run/one", true),
            ("file:/etc/deia/secrets-of-others", false),
            ("file:/etc/deia/secrets/../shadow", false),
            ("file:/etc/deia/secrets/./a", false),
            ("file:etc/deia/secrets/a", false),
            ("file:/etc/shadow", false),
            ("env:API_KEY", true),
            ("env:HOME", false),
            ("store:anthropic", true),
            ("store:../webhooks/a", false),
            ("store:A", false),
        ] {
            let secrets = [("X".to_owned(), reference.parse().unwrap())].into();
            let found = places.violations(&secrets);
            assert_eq!(found.is_empty(), allowed, "{reference}: {found:?}");
            assert!(found.iter().all(|it| it.pointer == "/secrets/X"));
        }
    }

    #[test]
    fn stored_names_have_a_scope() {
        let name = SecretName::of_bots("anthropic").unwrap();
        assert_eq!(name.as_str(), "bots/anthropic");
        assert_eq!(name.for_bots(), Some("anthropic"));
        let other: SecretName = "webhooks/wh_1".parse().unwrap();
        assert_eq!(other.for_bots(), None);
        for text in ["", "a", "a/", "/a", "a/b/c", "a/B", "a/-b"] {
            assert!(text.parse::<SecretName>().is_err(), "{text}");
        }
    }
}
