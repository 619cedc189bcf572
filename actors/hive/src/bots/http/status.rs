//! The meaning of the status of an answer. Pure.

use deia_model::FailureClass;

/// Meaning of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The body is the result.
    Answer,
    /// The service completes the task later.
    Later,
    /// The attempt failed; the text says how, for people.
    Failed(FailureClass, &'static str),
}

/// Returns the meaning of a status.
pub(super) fn meaning_of(status: u16) -> Meaning {
    use FailureClass as Class;
    let (class, what) = match status {
        200 => return Meaning::Answer,
        202 => return Meaning::Later,
        300..400 => (
            Class::NotStarted,
            "a redirect, and redirects are not followed: give the bot the final URL",
        ),
        401 | 403 | 407 => (Class::Auth, "the service refuses the bot's credentials"),
        402 => (Class::Quota, "the service wants to be paid"),
        404 | 405 | 406 | 410 | 415 | 421 | 426 | 431 => (
            Class::NotStarted,
            "the service takes no such requests: check the bot's URL and headers",
        ),
        408 => (Class::Transport, "the request did not arrive in time"),
        409 => (Class::Internal, "a conflict"),
        425 | 503 => (Class::Overloaded, "the service takes no tasks now"),
        429 => (Class::RateLimited, "too many requests"),
        400..500 => (Class::Permanent, "the service refuses the task"),
        500..600 => (Class::Internal, "an error of the service"),
        _ => (
            Class::Internal,
            "and not 200 with the output, or 202 to complete the task later",
        ),
    };
    Meaning::Failed(class, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_meaning() {
        use FailureClass as Class;
        assert_eq!(meaning_of(200), Meaning::Answer);
        assert_eq!(meaning_of(202), Meaning::Later);
        for (statuses, class) in [
            (&[201, 204, 206, 700][..], Class::Internal),
            (&[301, 302, 303, 307, 308], Class::NotStarted),
            (&[401, 403, 407], Class::Auth),
            (&[402], Class::Quota),
            (&[404, 405, 410, 415], Class::NotStarted),
            (&[408], Class::Transport),
            (&[429], Class::RateLimited),
            (&[425, 503], Class::Overloaded),
            (&[400, 413, 418, 422, 451], Class::Permanent),
            (&[409, 500, 502, 504, 507, 599], Class::Internal),
        ] {
            for &status in statuses {
                let found = meaning_of(status);
                let is_it = matches!(found, Meaning::Failed(of, _) if of == class);
                assert!(is_it, "{status}: {found:?}");
            }
        }
    }
}
