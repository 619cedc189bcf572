//! Users: the actors of the hive, and the limits of their keys.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::Role;

/// A person or a program that acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct User {
    /// Name of the user: the submitter of tasks and the actor of events.
    #[schema(example = "ada")]
    pub id: String,
    /// The role of the user, which limits the rights of all its keys.
    pub role: Role,
    /// True if the user may act; keys of inactive users are refused.
    pub active: bool,
    /// Counts the changes, from 1; the `ETag`.
    pub version: u64,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
}

/// A change of a user; absent fields stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The new role.
    pub role: Option<Role>,
    /// True to activate the user, false to deactivate.
    pub active: Option<bool>,
}

impl User {
    /// Returns the reason why a text is not a valid name of a user, if there is one.
    pub fn name_fault(name: &str) -> Option<&'static str> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
            return Some("must be 1 to 128 characters of a-z, A-Z, 0-9, '.', '_', '@' and '-'");
        }
        // The hive itself acts under the first name; the others have a meaning in
        // paths.
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
    fn user_names_follow_the_rule() {
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
