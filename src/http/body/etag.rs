//! Resources with versions. The `ETag` is the version, in quotes.

use actix_web::http::{StatusCode, header::ETAG};
use deia_hive::HiveError;
use serde::Serialize;

use crate::http::body::{
    answer::{Answer, json, with_header},
    catalogue::Code,
    problem::Problem,
};

/// The version of a resource on which a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Any version, or no resource.
    None,
    /// This version; 0: only when there is no resource.
    Version(u64),
    /// Any version, but there must be a resource.
    Exists,
}

impl Precondition {
    /// Returns the version that the stored one must equal; `None` when any will do.
    ///
    /// # Errors
    /// [`Code::VersionMismatch`] when the resource must exist and does not.
    pub(crate) async fn version(
        self,
        current: impl AsyncFnOnce() -> Result<u64, HiveError>,
    ) -> Result<Option<u64>, Problem> {
        match self {
            Self::None => Ok(None),
            Self::Version(version) => Ok(Some(version)),
            Self::Exists => match current().await {
                Ok(version) => Ok(Some(version)),
                Err(HiveError::NotFound { kind, id }) => Err(Problem::new(
                    Code::VersionMismatch,
                    format!("there is no {kind} {id:?}"),
                )),
                Err(other) => Err(other.into()),
            },
        }
    }

    /// Returns the version that a resource must have to be changed or removed; `None`
    /// when any will do.
    ///
    /// # Errors
    /// [`Code::InvalidHeader`] for `If-None-Match`, and those of [`Self::version`].
    pub(crate) async fn of_existing(
        self,
        current: impl AsyncFnOnce() -> Result<u64, HiveError>,
    ) -> Result<Option<u64>, Problem> {
        match self {
            Self::Version(0) => Err(Problem::header(
                "If-None-Match",
                "is not allowed for this route",
            )),
            precondition => precondition.version(current).await,
        }
    }
}

/// Returns the JSON of a resource, with its version as `ETag`.
pub(crate) fn versioned(status: StatusCode, body: &impl Serialize, version: u64) -> Answer {
    with_header(json(status, body)?, ETAG, &format!("\"{version}\""))
}

/// Returns the version in an `ETag` of ours.
pub(crate) fn version(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let digit = |b: u8| b.is_ascii_digit();
    let plain = (1..=19).contains(&digits.len()) && digits.bytes().all(digit);
    // ETags are compared byte by byte: `"03"` was never given out.
    let given_out = plain && !digits.starts_with('0');
    given_out.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tag_is_read_only_as_it_was_given_out(text in "\\PC{0,30}|\"[0-9]{0,22}\"") {
            if let Some(version) = version(&text) {
                prop_assert!(version > 0);
                prop_assert_eq!(text.trim_matches('"').parse(), Ok(version));
            }
        }
    }

    #[test]
    fn etags() {
        for (tag, expected) in [
            ("\"3\"", Some(3)),
            ("\"0\"", None),
            ("\"03\"", None),
            ("\"12345678901234567890\"", None),
            ("3", None),
            ("W/\"3\"", None),
            ("\"\"", None),
            ("\"+3\"", None),
            ("\"3\", \"4\"", None),
        ] {
            assert_eq!(version(tag), expected, "{tag}");
        }
    }
}
