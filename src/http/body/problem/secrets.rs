//! Texts that would show a secret.

use deia_model::Violation;

use super::Problem;
use crate::telemetry::redact::redact;

/// Returns whether a text that would be stored and shown has a secret in it: a key, a
/// token, a cookie.
pub(crate) fn is_secret(text: &str) -> bool {
    redact(text) != text
}

/// Refuses a text in a body that has a secret in it.
pub(crate) fn refuse_secret(pointer: &str, text: Option<&str>) -> Result<(), Problem> {
    match text {
        Some(text) if is_secret(text) => Err(Problem::invalid(vec![Violation {
            pointer: pointer.to_owned(),
            detail: "looks like a secret: it would be kept and shown".to_owned(),
        }])),
        _ => Ok(()),
    }
}
