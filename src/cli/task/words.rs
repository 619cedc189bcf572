//! Parts of tasks in words.

use deia_model::{EndReason, RetryOverride};

use crate::cli::format;

/// Returns the reason why a task failed or was cancelled, in words.
pub(super) fn because(reason: EndReason) -> String {
    let why = match reason {
        EndReason::Attempts => "its attempts were used up",
        EndReason::Permanent => "no further attempt could succeed",
        EndReason::Poison => "it took too many bots down",
        EndReason::Expired => "it did not start in time",
        EndReason::Dependency => "a task that it depends on did not complete",
        EndReason::Cancelled => "it was cancelled by a caller",
        EndReason::Session => "the bot of its session died",
    };
    format!("{why} ({})", reason.as_str())
}

/// Renders the retry settings of a task.
pub(super) fn retry(retry: &RetryOverride) -> String {
    let parts = [
        retry
            .min_ms
            .map(|ms| format!("from {}", format::millis(ms))),
        retry.max_ms.map(|ms| format!("to {}", format::millis(ms))),
        retry.factor.map(|n| format!("times {n}")),
        retry
            .jitter
            .map(|n| format!("spread by {}", format::share(n))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
