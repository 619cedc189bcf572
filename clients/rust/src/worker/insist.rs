//! Errors after which a worker tries again, and the pauses before it does.

use std::time::Duration;

use tokio::time::sleep;

use crate::ClientError;

/// First pause; each further one is twice as long. Fixed: of the client library, whose
/// callers do not depend on it.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause, unless the hive names one: well below three of its default heartbeats.
/// Fixed: of the client library, whose callers do not depend on it.
const LONGEST: Duration = Duration::from_secs(5);

/// Returns whether the same request may succeed later. A proxy before a hive that restarts
/// answers with pages of its own, so an answer that is not one of a hive counts as well.
pub(super) fn may_pass(error: &ClientError) -> bool {
    let is_fault = error.problem().is_some_and(|it| it.status >= 500);
    error.is_passing() || is_fault || matches!(error, ClientError::Protocol { .. })
}

/// The pauses between the attempts of one request.
#[derive(Default)]
pub(super) struct Pauses {
    last: Duration,
}

impl Pauses {
    /// Waits before the next attempt.
    pub(super) async fn pause(&mut self, error: &ClientError) {
        sleep(self.next(error)).await;
    }

    fn next(&mut self, error: &ClientError) -> Duration {
        self.last = (self.last * 2).clamp(FIRST, LONGEST);
        let asked = error.problem().and_then(|problem| problem.retry_after);
        asked.unwrap_or(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problem;

    fn problem(status: u16, retry_after: Option<Duration>) -> ClientError {
        ClientError::Problem(Box::new(Problem {
            status,
            retry_after,
            ..Problem::default()
        }))
    }

    #[test]
    fn what_may_pass_and_what_may_not() {
        let url = || "http://hive".to_owned();
        let reason = || "reset".to_owned();
        for (error, passes) in [
            (
                ClientError::Unreachable {
                    url: url(),
                    reason: reason(),
                },
                true,
            ),
            (
                ClientError::Protocol {
                    url: url(),
                    reason: reason(),
                },
                true,
            ),
            (
                ClientError::Untrusted {
                    url: url(),
                    reason: reason(),
                },
                false,
            ),
            (problem(503, None), true),
            (problem(500, None), true),
            (problem(429, None), true),
            (problem(409, None), false),
            (problem(401, None), false),
            (problem(422, None), false),
        ] {
            assert_eq!(may_pass(&error), passes, "{error:?}");
        }
    }

    #[test]
    fn pauses_grow_to_a_limit_unless_the_hive_names_one() {
        let mut pauses = Pauses::default();
        let next: Vec<_> = (0..8)
            .map(|_| pauses.next(&problem(503, None)).as_millis())
            .collect();
        assert_eq!(next, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        let asked = Duration::from_secs(9);
        assert_eq!(pauses.next(&problem(503, Some(asked))), asked);
    }
}
