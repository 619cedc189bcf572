//! The executor of language models: each task is a message of the user, and the text of the model
//! is the output, which can be followed while it comes.
//!
//! The APIs are those of OpenAI, which others offer as well: chat completions and responses, always
//! streamed. No tools are offered to the model.

mod answer;
mod chat;
mod error;
mod executor;
mod pause;
mod request;
mod responses;
mod sse;
mod usage;

use std::{sync::Arc, time::Duration};

use deia_ledger::ClaimedTask;
use deia_model::{FailureClass, LlmExecutor};
use reqwest::header::CONTENT_TYPE;

pub(super) use self::executor::LlmFactory;
use self::{
    answer::Answer,
    error::ApiError,
    sse::{SseParser, TooLong},
    usage::Prices,
};
use super::{
    attempt::{ExecutionResult, StopSignal},
    service::{Credentials, Failure, Kept, ServiceContext, attend, quoted},
};
use crate::outgoing::Incoming;

/// Bytes of an answer that says no, read for the error. Fixed: keeps messages readable.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// The context that all attempts of one such bot share.
struct LlmContext {
    spec: LlmExecutor,
    service: Arc<ServiceContext>,
    /// Time within which an answer begins and goes on (`bots.llm.idle_timeout`).
    idle_timeout: Duration,
    max_event_bytes: usize,
}

/// Runs one attempt until the model has answered or the attempt is stopped. Dropping the future
/// drops the request, which ends the generation at most providers.
async fn run(cx: &LlmContext, claimed: &ClaimedTask, stop: StopSignal) -> ExecutionResult {
    attend(&cx.service, claimed, stop, async |kept| {
        exchange(cx, claimed, kept).await.into()
    })
    .await
}

async fn exchange(cx: &LlmContext, claimed: &ClaimedTask, kept: &mut Kept) -> Result<(), Failure> {
    let not_started = |reason| Failure::new(FailureClass::NotStarted, reason);
    let credentials = Credentials::resolve(&cx.service.secrets).await;
    let credentials = credentials.map_err(not_started)?;
    let url = request::url_of(&cx.spec).map_err(not_started)?;
    let request = request::of(&cx.spec, claimed, &credentials).map_err(not_started)?;
    let opened = cx.service.line.open(&url, request, cx.idle_timeout).await;
    let incoming = opened.map_err(|error| Failure::of_exchange(&error))?;
    if incoming.status != 200 {
        return Err(refused(cx, incoming, &credentials).await);
    }
    let kind = incoming.headers().get(CONTENT_TYPE);
    let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    let kind = kind.unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("text/event-stream") {
        let reason = format!("the answer is {kind:?}; expected text/event-stream");
        return Err(Failure::new(FailureClass::Internal, reason));
    }
    cx.service.is_at_work();
    let mut answer = Answer::of(cx.spec.api);
    let read = read(cx, incoming, &mut answer, &credentials, kept).await;
    // A failed answer was paid for as well.
    if let Some(usage) = answer.usage() {
        kept.tokens_used = Some(usage.total);
        kept.cost_cents = Prices::of(&cx.spec).map(|prices| prices.cents(usage));
    }
    read?;
    answer.conclude()?;
    match kept.is_empty() {
        true => Err(Failure::new(
            FailureClass::Internal,
            "the model gave an empty answer",
        )),
        false => Ok(()),
    }
}

/// Returns the failure that an answer other than 200 stands for.
async fn refused(cx: &LlmContext, incoming: Incoming, credentials: &Credentials) -> Failure {
    let status = incoming.status;
    let pause = pause::of(incoming.headers(), incoming.retry_after);
    // The status decides where the rest of the answer cannot be read in time.
    let body = tokio::time::timeout(cx.idle_timeout, incoming.read(MAX_REFUSAL_BYTES)).await;
    let body = body.ok().and_then(Result::ok);
    let body = body.map(|answered| answered.body).unwrap_or_default();
    let (class, what) = ApiError::parse(&body).meaning(status);
    let said = quoted(&body, credentials);
    Failure::new(class, format!("answered {status}, {what}{said}")).paused_for(pause)
}

/// Reads the events of an answer, and writes the text as it comes.
async fn read(
    cx: &LlmContext,
    mut incoming: Incoming,
    answer: &mut Answer,
    credentials: &Credentials,
    kept: &mut Kept,
) -> Result<(), Failure> {
    let mut parser = SseParser::new(cx.max_event_bytes);
    loop {
        let piece = tokio::time::timeout(cx.idle_timeout, incoming.chunk()).await;
        let piece = piece.map_err(|_| silent(cx))?;
        let piece = piece.map_err(|error| Failure::of_exchange(&error))?;
        let Some(piece) = piece else {
            let reason = "the provider ended the answer before it was complete";
            return Err(Failure::new(FailureClass::Transport, reason));
        };
        let events = parser.push(&piece).map_err(too_long)?;
        for event in events {
            let taken = answer.take(&event);
            let text = taken.map_err(|failure| failure.redacted(credentials))?;
            kept.write(text.as_bytes()).await?;
            if answer.is_complete() {
                return Ok(());
            }
        }
    }
}

fn silent(cx: &LlmContext) -> Failure {
    let limit = cx.idle_timeout;
    let reason = format!("the answer did not go on within {limit:?} (bots.llm.idle_timeout)");
    Failure::new(FailureClass::TimedOut, reason)
}

fn too_long(error: TooLong) -> Failure {
    let max = error.max_bytes;
    let reason = format!("an event of the answer has over {max} bytes (bots.llm.max_event_bytes)");
    Failure::new(FailureClass::Internal, reason)
}
