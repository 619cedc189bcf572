//! An attempt, from its order to its result.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use deia_model::{AttemptEnd, Timestamp};
use tokio::time::timeout;

use super::{
    WorkerContext,
    desk::{Answer, Desk, End, Ticket, Wish},
    verdict::{Interruption, result_of},
};
use crate::bots::{
    attempt::{ExecutionResult, StopCause, StopSignal, stop_requested},
    bot::AttemptKey,
    executor::{BotDown, ExecutionEnd},
    log::{LoggedAttempt, Stream},
    output::{OutputSpool, Spooled, result_text},
};

/// Waits for the answer to an attempt and returns its result. An attempt that the program does not
/// give up in time takes the bot down.
pub(super) async fn attend(
    cx: Rc<WorkerContext>,
    desk: Rc<Desk>,
    mut ticket: Ticket,
    mut stop: StopSignal,
) -> ExecutionEnd {
    let began = Instant::now();
    forget_old_outputs(&cx, ticket.key);
    let interruption = tokio::select! {
        biased;
        answer = &mut ticket.answer => {
            return Ok(finish(&cx, &desk, ticket.key, answer.ok(), None, began).await);
        }
        cause = stop_requested(&mut stop) => Interruption::Stop(cause),
        Ok(fault) = &mut ticket.not_kept => Interruption::NotKept(fault),
    };
    if !desk.cancel(ticket.key, interruption.words()) {
        return Ok(never_given(interruption));
    }
    let mut is_refused = false;
    let grace = match &interruption {
        // The session ends the program, if that is needed.
        Interruption::Stop(StopCause::BotStopping) => Duration::MAX,
        _ => cx.grace,
    };
    let answer = match timeout(grace, &mut ticket.answer).await {
        Ok(answer) => answer,
        Err(_) => {
            is_refused = true;
            desk.wish(Wish::Kill);
            (&mut ticket.answer).await
        }
    };
    let is_charged = is_refused
        && matches!(&answer, Ok(answer) if matches!(answer.end, End::Killed { refused: true }));
    let words = interruption.words();
    let result = finish(
        &cx,
        &desk,
        ticket.key,
        answer.ok(),
        Some(interruption),
        began,
    )
    .await;
    match is_charged {
        false => Ok(result),
        true => Err(BotDown {
            reason: format!(
                "the worker did not give up {} within bots.term_grace ({words})",
                ticket.key.task
            )
            .into(),
            result: Some(Box::new(result)),
        }),
    }
}

/// Returns the result of an attempt that the program has not heard of.
fn never_given(interruption: Interruption) -> ExecutionResult {
    match interruption {
        Interruption::Stop(cause) => ExecutionResult::stopped(cause, 0),
        // Only an attempt that was given has output.
        Interruption::NotKept(fault) => ExecutionResult::output_not_kept(fault, 0),
    }
}

/// Makes the result of an answered attempt.
async fn finish(
    cx: &WorkerContext,
    desk: &Desk,
    key: AttemptKey,
    answer: Option<Answer>,
    interruption: Option<Interruption>,
    began: Instant,
) -> ExecutionResult {
    let Some(Answer { end, spool }) = answer else {
        // The desk is gone, and this attempt with it.
        return std::future::pending().await;
    };
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut result = result_of(interruption, end, ms, Timestamp::now());
    keep(&mut result, spool, cx.output_limits.memory).await;
    note(cx, key, &result);
    desk.finished();
    result
}

/// Stores the output, and adds it to the result.
async fn keep(result: &mut ExecutionResult, spool: OutputSpool, max_bytes: u64) {
    let succeeded = result.end == AttemptEnd::Succeeded;
    let Spooled { bytes, in_file } = match spool.finish(!succeeded).await {
        Ok(kept) => kept,
        Err((fault, kept)) => {
            if succeeded {
                *result = ExecutionResult::output_not_kept(fault, result.execution_time_ms);
            }
            kept
        }
    };
    let (text, _) = result_text::text(bytes);
    let is_shown = !text.is_empty() || result.end == AttemptEnd::Succeeded;
    result.output = is_shown.then_some(text);
    result.output_bytes = in_file;
    result_text::cut(result, max_bytes);
}

fn note(cx: &WorkerContext, key: AttemptKey, result: &ExecutionResult) {
    let of = LoggedAttempt {
        task: key.task,
        attempt: key.number,
    };
    let text = match (&result.end, &result.error) {
        (AttemptEnd::Succeeded, _) => return,
        (_, Some(error)) => error.clone(),
        (end, None) => format!("ended: {}", end.description()),
    };
    cx.log.line(Some(of), Stream::Deia, &text);
}

/// Removes the outputs of attempts that are not kept any more, off the arbiter.
fn forget_old_outputs(cx: &WorkerContext, key: AttemptKey) {
    let too_old = key.number.saturating_sub(cx.kept_outputs);
    if too_old == 0 {
        return;
    }
    let (outputs, task) = (cx.outputs.clone(), key.task);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = outputs.remove_up_to(task, too_old) {
            tracing::warn!(%task, %error, "outputs of earlier attempts cannot be removed");
        }
    });
}
