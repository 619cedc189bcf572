//! The way of a request through the guard to its handler, and of the answer back.

use std::{future::Future, sync::Arc};

use actix_http::ConnectionType;
use actix_web::{HttpRequest, HttpResponse, web::Payload};
use deia_hive::Hive;
use deia_model::Principal;

use crate::http::{
    body::{answer::Answer, catalogue::Code, problem::Problem},
    context::{RequestCtx, query::ANY_QUERY},
    guard::{
        class::RouteClass,
        policy::{Access, RoutePolicy},
        quotas::network,
        rate::RateLimitStatus,
        who::{admit, admit_again, admit_probe, is_unchanged},
    },
    server::{
        connection::{self, address},
        metrics::RouteId,
        request_id::{REQUEST_ID, request_id},
        security_headers,
        state::ServerState,
        telemetry::RequestTelemetry,
    },
};

/// Lets a request through to its handler, and answers it.
pub(crate) async fn guarded<F, Fut>(
    request: HttpRequest,
    payload: Payload,
    id: RouteId,
    what: RoutePolicy,
    handler: F,
) -> HttpResponse
where
    F: Fn(RequestCtx) -> Fut,
    Fut: Future<Output = Answer>,
{
    let Some(state) = state(&request) else {
        return unregistered();
    };
    let hold = state.clone();
    let mut exchange = RequestTelemetry::begin(&hold, id, &request);
    let (hive, limits) = (&state.hive, &state.limits);
    let (standing, who) = admit(hive, limits, &request, what.access, what.class).await;
    let (user, key, answer) = match who {
        Err(refused) => (refused.user, refused.key, Err(refused.problem)),
        Ok(who) => {
            exchange.is_of(&who);
            let (user, key, payer) = (Some(who.user.clone()), who.key(), who.budget());
            let body = payload.into_inner();
            let answer = handled(&exchange, &request, (state, body), who, what, handler).await;
            let queue = hold.hive.config().tasks.retry_after;
            let answer = answer.map_err(|problem| problem.with_retry_after(queue));
            let answer =
                answer.and_then(|answer| hold.answers.until_read(answer, request.method(), &payer));
            (user, key, answer)
        }
    };
    if let Err(problem) = &answer {
        exchange.refused(problem, user.as_deref(), key);
    }
    finish(&request, exchange, standing, answer)
}

/// Handles a request of an authenticated caller, once it is its turn. A caller may lose
/// access while the request waits, or while the answer is made: reads are judged again
/// before they are answered, writes in the transaction that applies them.
async fn handled<F, Fut>(
    exchange: &RequestTelemetry<'_>,
    request: &HttpRequest,
    (state, body): (Arc<ServerState>, actix_web::dev::Payload),
    who: Principal,
    what: RoutePolicy,
    handler: F,
) -> Answer
where
    F: Fn(RequestCtx) -> Fut,
    Fut: Future<Output = Answer>,
{
    let place = state.admission.enter(what.class).await?;
    let hive = state.hive.clone();
    let who = admit_again(&hive, request, &who, what.access)?;
    let trace = exchange.traceparent();
    let reads = request.method().is_safe();
    let told = who.clone();
    let call = RequestCtx::new(who, state, request.clone(), body, what, place, trace)?;
    let answer = handler(call).await.map_err(|it| it.told_to(&told));
    if reads {
        is_unchanged(&hive, request, &told, what.access)?;
    }
    answer
}

/// Lets a request of anybody through to its handler, and answers it.
pub(crate) async fn unguarded<F, Fut>(request: HttpRequest, id: RouteId, handler: F) -> HttpResponse
where
    F: Fn(Hive) -> Fut,
    Fut: Future<Output = Answer>,
{
    let Some(state) = state(&request) else {
        return unregistered();
    };
    let exchange = RequestTelemetry::probe(&state, id, &request);
    let (standing, admitted) = admit_probe(&state.limits, &request);
    let answer = match admitted {
        Err(problem) => Err(problem),
        Ok(()) => handler(state.hive.clone()).await.and_then(|answer| {
            let from = address(&request).map(network);
            state.answers.until_read(answer, request.method(), &from)
        }),
    };
    finish(&request, exchange, standing, answer)
}

fn state(request: &HttpRequest) -> Option<Arc<ServerState>> {
    request.app_data::<Arc<ServerState>>().cloned()
}

fn unregistered() -> HttpResponse {
    tracing::error!("the server was built without its shared state");
    HttpResponse::InternalServerError().finish()
}

/// Makes an answer of what the handler came to, with the headers of every answer.
fn finish(
    request: &HttpRequest,
    exchange: RequestTelemetry<'_>,
    standing: Option<RateLimitStatus>,
    answer: Answer,
) -> HttpResponse {
    let id = request_id(request.headers());
    let shown = id.to_str().unwrap_or_default();
    let mut response = match answer {
        Ok(response) => response,
        Err(problem) => {
            let problem = instead(request, problem);
            exchange.problem(&problem, shown);
            problem.into_response(shown)
        }
    };
    let is_last = exchange.is_last_on_connection();
    exchange.answered(response.status(), shown);
    let is_stranger = standing
        .as_ref()
        .is_some_and(RateLimitStatus::is_of_stranger);
    if is_stranger || is_last {
        // Connections of unauthenticated clients, and all of a server that is
        // about to stop, end with the answer.
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
        connection::close(request);
    }
    connection::answered(request);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    security_headers::write(headers, connection::is_secure(request));
    if let Some(standing) = standing {
        standing.write(headers);
    }
    response
}

/// A body that the guard of the stream cut off looks incomplete to its handler.
fn instead(request: &HttpRequest, problem: Problem) -> Problem {
    match connection::refusal(request) {
        Some(refusal) if problem.code() == Code::BodyIncomplete => refusal.into(),
        _ => problem,
    }
}

/// Tells of what was no request. The address pays for it, and its connection ends.
pub(crate) fn unreadable(request: &HttpRequest, problem: Problem) -> HttpResponse {
    let Some(state) = state(request) else {
        return unregistered();
    };
    let exchange = RequestTelemetry::probe(&state, RouteId::NONE, request);
    let standing = state.limits.stranger(address(request));
    finish(request, exchange, standing, Err(problem))
}

/// Tells callers with a key of a problem, and others that they need one.
pub(crate) async fn refused(
    request: HttpRequest,
    payload: Payload,
    problem: Problem,
) -> HttpResponse {
    let refuse = move |_: RequestCtx| std::future::ready(Err(problem.clone()));
    let what = RoutePolicy {
        access: Access::AnyKey,
        query: ANY_QUERY,
        class: RouteClass::Read,
    };
    guarded(request, payload, RouteId::NONE, what, refuse).await
}
