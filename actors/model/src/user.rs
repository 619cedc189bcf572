//! Users: who acts, and what all their keys may do at most.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::Role;

/// Somebody, or something, that acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct User {
    /// Names the user: the submitter of tasks and the actor of events.
    #[schema(example = "ada")]
    pub id: String,
    /// What any of their keys may do at most.
    pub role: Role,
    /// Whether they may act; the keys of one who may not are refused.
    pub active: bool,
    /// Counts the changes, from 1; the `ETag`.
    pub version: u64,
    /// When the user was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the user was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
}

/// What shall be different about a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The role.
    pub role: Option<Role>,
    /// Whether they may act.
    pub active: Option<bool>,
}

impl User {
    /// What makes a text no name of a user, if anything does.
    pub fn name_fault(name: &str) -> Option<&'static str> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
            return Some("must be 1 to 128 characters of a-z, A-Z, 0-9, '.', '_', '@' and '-'");
        }
        // The hive itself acts under the first name; the others mean something in a path.
        match name {
            "deia" => Some("is the name under which the hive itself acts"),
            "." | ".." => Some("must not be '.' or '..'"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
        for (name, ok) in [
            ("ada", true),
            ("ada.l@example-1.org", true),
            ("_", true),
            (&longest, true),
            (&too_long, false),
            ("", false),
            ("a b", false),
            ("ä", false),
            ("a/b", false),
            ("deia", false),
            (".", false),
            ("..", false),
        ] {
            assert_eq!(User::name_fault(name).is_none(), ok, "{name}");
        }
    }
}
