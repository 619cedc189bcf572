//! The executor of services: each task is posted to a URL, and the answer is the result.
//!
//! An answer of 202 leaves the task with the service, which completes it later by its lease, over
//! the routes of remote workers ([`Expected`]), and goes on with it while the hive is away
//! ([`later`]). A service that has not carried out a task for a while is probed; while it
//! cannot be reached, its bot offers no slots.

mod answer;
mod executor;
mod later;
mod request;
mod status;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use deia_ledger::{ClaimedTask, Ledger};
use deia_model::{FailureClass, HttpExecutor};

pub(super) use self::executor::HttpFactory;
use self::{
    answer::Kind,
    request::Sent,
    status::{Meaning, meaning_of},
};
use super::{
    attempt::{ExecutionResult, StopSignal},
    bot::AttemptKey,
    remote::{Desk, Expected},
    service::{Credentials, Exchanged, Failure, Kept, ServiceContext, attend, quoted},
};
use crate::outgoing::{Incoming, OutgoingRequest};

/// Bytes of an answer that says no, read for the error. Fixed: keeps messages readable.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// The context that all attempts of one such bot share.
struct HttpContext {
    spec: HttpExecutor,
    service: Arc<ServiceContext>,
    max_answer_bytes: usize,
    ledger: Ledger,
    /// Desk where reports find the attempts.
    desk: Desk,
    /// True once the whole hive stops.
    hive_stops: Arc<AtomicBool>,
}

/// Runs one attempt until the service answers or reports, or the attempt is stopped. Dropping the
/// future drops the request; the service may go on.
async fn run(
    cx: &HttpContext,
    claimed: &ClaimedTask,
    expected: Expected,
    stop: StopSignal,
) -> ExecutionResult {
    let key = AttemptKey::of(claimed);
    let attending = attend(&cx.service, claimed, stop.clone(), async |kept| {
        exchange(cx, claimed, expected, kept).await
    });
    let result = tokio::select! {
        biased;
        () = later::goes_on(cx, key, stop) => return ExecutionResult::settled(None),
        result = attending => result,
    };
    cx.desk.set_held(key, false);
    result
}

async fn exchange(
    cx: &HttpContext,
    claimed: &ClaimedTask,
    mut expected: Expected,
    kept: &mut Kept,
) -> Exchanged {
    let answering = request_and_answer(cx, claimed, kept);
    tokio::select! {
        biased;
        answered = answering => match answered {
            Ok(Answered::Complete) => return Exchanged::Complete,
            Ok(Answered::Later) => later::hold(cx, claimed, &expected).await,
            Err(failure) => return Exchanged::Failed(failure),
        },
        // The report has overtaken the answer.
        result = expected.end() => return Exchanged::Settled(result),
    }
    Exchanged::Settled(expected.end().await)
}

/// Sends the task and takes the answer, within the time that both have.
async fn request_and_answer(
    cx: &HttpContext,
    claimed: &ClaimedTask,
    kept: &mut Kept,
) -> Result<Answered, Failure> {
    let not_started = |reason| Failure::new(FailureClass::NotStarted, reason);
    let credentials = Credentials::resolve(&cx.service.secrets).await;
    let credentials = credentials.map_err(not_started)?;
    let of_task = Duration::from_secs(claimed.task.timeout_seconds);
    let own = cx.spec.timeout_ms.map(Duration::from_millis);
    let sent = Sent {
        limit: own.unwrap_or(of_task).min(of_task),
        hive: cx.service.line.public_url(),
    };
    let request = request::of(&cx.spec, claimed, &credentials, &sent).map_err(not_started)?;
    // The bot's actor ends the attempt when the time of the task is over.
    let limit = own.filter(|own| *own < of_task).unwrap_or(Duration::MAX);
    let ended = tokio::time::timeout(limit, answer(cx, request, limit, &credentials, kept));
    ended.await.unwrap_or_else(|_| {
        let reason = format!("no complete answer within {limit:?}");
        Err(Failure::new(FailureClass::TimedOut, reason))
    })
}

/// A good answer of a service.
enum Answered {
    /// The output was written.
    Complete,
    /// The service completes the task later.
    Later,
}

/// Sends the request and reads the answer.
async fn answer(
    cx: &HttpContext,
    request: OutgoingRequest,
    limit: Duration,
    credentials: &Credentials,
    kept: &mut Kept,
) -> Result<Answered, Failure> {
    let opened = cx.service.line.open(&cx.spec.url, request, limit).await;
    let incoming = opened.map_err(|error| Failure::of_exchange(&error))?;
    match meaning_of(incoming.status) {
        Meaning::Answer => {
            cx.service.is_at_work();
            read(cx, incoming, kept).await?;
            Ok(Answered::Complete)
        }
        Meaning::Later => {
            cx.service.is_at_work();
            Ok(Answered::Later)
        }
        Meaning::Failed(class, what) => Err(refused(incoming, class, what, credentials).await),
    }
}

/// Returns the failure that a status stands for, with the beginning of the answer.
async fn refused(
    incoming: Incoming,
    class: FailureClass,
    what: &str,
    credentials: &Credentials,
) -> Failure {
    let (status, pause) = (incoming.status, incoming.retry_after);
    // The status decides, whether or not the rest of the answer can be read.
    let body = incoming.read(MAX_REFUSAL_BYTES).await;
    let said = body.map_or_else(|_| String::new(), |it| quoted(&it.body, credentials));
    Failure::new(class, format!("answered {status}, {what}{said}")).paused_for(pause)
}

/// Reads the result from an answer of 200.
async fn read(cx: &HttpContext, mut incoming: Incoming, kept: &mut Kept) -> Result<(), Failure> {
    let internal = |reason: String| Failure::new(FailureClass::Internal, reason);
    let kind = answer::kind_of(incoming.headers()).map_err(internal)?;
    if kind == Kind::Text {
        let chunk = |error| Failure::of_exchange(&error);
        while let Some(piece) = incoming.chunk().await.map_err(chunk)? {
            kept.write(&piece).await?;
        }
        return Ok(());
    }
    let max = cx.max_answer_bytes;
    let whole = incoming.read(max).await;
    let whole = whole.map_err(|error| Failure::of_exchange(&error))?;
    if whole.truncated {
        return Err(internal(format!(
            "answered more than {max} bytes (bots.http.max_answer_bytes)"
        )));
    }
    let said = answer::parse(&whole.body).map_err(internal)?;
    kept.tokens_used = said.tokens_used;
    kept.cost_cents = said.cost_cents;
    kept.write(said.output.as_bytes()).await
}
