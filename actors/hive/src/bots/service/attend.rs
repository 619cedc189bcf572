//! The course of an attempt: an exchange that can be stopped, and what is kept of it.

use std::time::Instant;

use deia_ledger::ClaimedTask;
use deia_model::AttemptEnd;

use super::{Failure, Kept, ServiceContext};
use crate::bots::{
    attempt::{ExecutionResult, StopCause, StopSignal, stop_requested},
    output::Spooled,
};

/// Bytes of a stored output that the result repeats. Fact: the API, whose schema states
/// it.
const HEAD_BYTES: usize = 64 << 10;

/// End of an exchange with a service.
pub(in crate::bots) enum Exchanged {
    /// All output was written.
    Complete,
    /// The attempt failed.
    Failed(Failure),
    /// The service has reported the end, which is recorded.
    Settled(ExecutionResult),
}

impl From<Result<(), Failure>> for Exchanged {
    fn from(exchanged: Result<(), Failure>) -> Self {
        match exchanged {
            Ok(()) => Self::Complete,
            Err(failure) => Self::Failed(failure),
        }
    }
}

/// Runs an exchange until it ends or the attempt is stopped, which drops it. Its output is stored
/// however it ended.
pub(in crate::bots) async fn attend(
    cx: &ServiceContext,
    claimed: &ClaimedTask,
    mut stop: StopSignal,
    exchange: impl AsyncFnOnce(&mut Kept) -> Exchanged,
) -> ExecutionResult {
    let began = Instant::now();
    let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let already = stop.borrow().clone();
    if let Some(cause) = already {
        return ExecutionResult::stopped(cause, 0);
    }
    remove_old(cx, claimed).await;
    let (task, attempt) = (claimed.task.id, claimed.task.attempt);
    let mut kept = Kept::new(cx.outputs.keep(task, attempt, cx.output_limits));
    let ended = tokio::select! {
        biased;
        ended = exchange(&mut kept) => Ok(ended),
        cause = stop_requested(&mut stop) => Err(cause),
    };
    let ended = match ended {
        Ok(Exchanged::Complete) => Ok(kept.complete().into()),
        other => other,
    };
    let result = conclude(ended, kept, elapsed_ms()).await;
    match (&result.end, &result.error) {
        (AttemptEnd::Succeeded, _) => cx.succeeded(),
        (_, Some(error)) => cx.note(claimed, error),
        (end, None) => cx.note(claimed, &format!("ended: {}", end.description())),
    }
    result
}

/// Removes the outputs of attempts that are too old to be kept.
async fn remove_old(cx: &ServiceContext, claimed: &ClaimedTask) {
    let task = claimed.task.id;
    let too_old = claimed.task.attempt.saturating_sub(cx.kept_outputs);
    if too_old == 0 {
        return;
    }
    let outputs = cx.outputs.clone();
    let removing = tokio::task::spawn_blocking(move || outputs.remove_up_to(task, too_old));
    if let Ok(Err(error)) = removing.await {
        tracing::warn!(%task, %error, "outputs of earlier attempts cannot be removed");
    }
}

/// Stores the output, and returns the result of the attempt.
async fn conclude(
    ended: Result<Exchanged, StopCause>,
    kept: Kept,
    elapsed_ms: u64,
) -> ExecutionResult {
    let (tokens_used, cost_cents) = (kept.tokens_used, kept.cost_cents);
    let is_empty = kept.is_empty();
    let mut result = match ended {
        Ok(Exchanged::Complete) => ExecutionResult::bare(AttemptEnd::Succeeded, elapsed_ms),
        Ok(Exchanged::Failed(failure)) => failure.result(elapsed_ms),
        // Output that was reported is not here.
        Ok(Exchanged::Settled(result)) => {
            drop(kept.finish(false).await);
            return result;
        }
        Err(cause) => ExecutionResult::stopped(cause, elapsed_ms),
    };
    let is_success = result.end == AttemptEnd::Succeeded;
    // A request that was refused left no output, and no evidence is needed.
    let is_refusal = is_empty && matches!(result.end, AttemptEnd::BotFault | AttemptEnd::Refused);
    let spooled = match kept.finish(!is_success && !is_refusal).await {
        Ok(spooled) => spooled,
        Err((failure, spooled)) => {
            if is_success {
                result = failure.result(elapsed_ms);
            }
            spooled
        }
    };
    result.output_bytes = spooled.in_file;
    result.output = Some(text_of(spooled)).filter(|text| is_success || !text.is_empty());
    result.tokens_used = tokens_used;
    result.cost_cents = cost_cents;
    result
}

/// Returns the part of an output that a result holds: all, or the beginning of what is in a file.
fn text_of(spooled: Spooled) -> String {
    let Spooled { mut bytes, in_file } = spooled;
    if in_file.is_some_and(|whole| whole > bytes.len() as u64) {
        bytes.truncate(HEAD_BYTES);
        // A character that is cut here is whole in the file.
        if let Err(error) = std::str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            bytes.truncate(error.valid_up_to());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
