//! The way of a request through the guard to its handler, and of the answer back.

use std::{future::Future, sync::Arc};

use actix_http::ConnectionType;
use actix_web::{
    HttpRequest, HttpResponse,
    dev::Payload,
    web::{self},
};
use deia_hive::Hive;
use deia_model::{AddressRange, Feature};

use crate::http::{
    body::{answer::Answer, catalogue::Code, json, problem::Problem},
    context::{Admitted, RequestCtx},
    guard::{
        class::RouteClass,
        overload::{peek::default_priority, rank::Tier},
        policy::{Access, RoutePolicy},
        rate::RateLimitStatus,
        who::{authenticate, authorize, is_unchanged, reauthorize},
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

/// Answers a request of a route that needs a key.
pub(crate) async fn guarded<F, Fut>(
    request: HttpRequest,
    payload: web::Payload,
    route: RouteId,
    policy: RoutePolicy,
    handler: F,
) -> HttpResponse
where
    F: Fn(RequestCtx) -> Fut,
    Fut: Future<Output = Answer>,
{
    let Some(state) = state(&request) else {
        return unregistered();
    };
    let mut telemetry = RequestTelemetry::begin(&state, route, &request);
    let answer = pass(&mut telemetry, payload.into_inner(), policy, handler).await;
    let answer = answer.map_err(|problem| {
        let problem = problem.with_retry_after(&state.hive.config());
        telemetry.refused(&problem);
        problem
    });
    finish(telemetry, answer)
}

/// Lets a request through: key, rate, permission, admission, handler.
///
/// A caller may lose access while the request waits, or while the answer is made: all
/// requests are authorized again when they are admitted, and reads once more before they
/// are answered. Writes are authorized in the transaction that applies them.
async fn pass<F, Fut>(
    telemetry: &mut RequestTelemetry<'_>,
    body: Payload,
    policy: RoutePolicy,
    handler: F,
) -> Answer
where
    F: Fn(RequestCtx) -> Fut,
    Fut: Future<Output = Answer>,
{
    let (state, request) = (telemetry.state, telemetry.request);
    let who = match authenticate(state, request).await {
        Ok(who) => who,
        Err(failure) => {
            telemetry.charge(state.limits.load().anonymous(address(request)))?;
            telemetry.failed(&failure);
            return Err(failure.problem);
        }
    };
    telemetry.identified(&who);
    telemetry.charge(state.limits.load().principal(policy.class, &who.budget()))?;
    authorize(&who, policy.access)?;
    state.hive.access().note_admitted(&who);
    admits(&state.hive, policy)?;
    let admission = state.admission.load_full();
    let overload = &admission.overload;
    overload.sample().await;
    let mut body = body;
    let (mut contender, mut tier) = (overload.arrived(&who.user), policy.tier());
    let mut first = None;
    if policy.class == RouteClass::Submit && overload.refuses_submissions() {
        first = json::arrived(&mut body).await;
        if let Some(priority) = json::whole(request, first.as_ref()).and_then(default_priority) {
            (contender, tier) = (contender.decided(), Some(Tier::Submit(priority)));
        }
    }
    if let Err(refused) = overload.admit(policy.class, tier, contender) {
        drop(first);
        overload.hold_back().await;
        return Err(refused);
    }
    let permit = admission.enter(policy.class, tier.is_some()).await?;
    let who = reauthorize(&state.hive, request, &who, policy.access)?;
    if policy.fails_closed {
        state.hive.audit().admits_changes()?;
    }
    let admitted = Admitted {
        who: who.clone(),
        contender,
        first,
        permit,
        body,
        traceparent: telemetry.traceparent(),
    };
    let context = RequestCtx::new(Arc::clone(state), request.clone(), policy, admitted)?;
    let answer = handler(context).await;
    if request.method().is_safe() {
        is_unchanged(&state.hive, request, &who, policy.access)?;
    }
    let answer = answer.map_err(|problem| problem.for_caller(&who))?;
    state
        .answers
        .until_read(answer, request.method(), &who.budget())
}

/// Refuses a request that the level in force does not admit.
fn admits(hive: &Hive, policy: RoutePolicy) -> Result<(), Problem> {
    if !policy.in_read_only
        && let Err(error) = hive.shedding().admits_changes()
    {
        let problem = Problem::from(error);
        return Err(match policy.class {
            RouteClass::Submit => problem.of_feature(Feature::TaskOrchestration.as_str()),
            _ => problem,
        });
    }
    match policy.needs {
        Some(feature) => Ok(hive.shedding().needs(feature)?),
        None => Ok(()),
    }
}

/// Answers a request of a route that needs no key.
pub(crate) async fn unguarded<F, Fut>(
    request: HttpRequest,
    route: RouteId,
    handler: F,
) -> HttpResponse
where
    F: Fn(Hive) -> Fut,
    Fut: Future<Output = Answer>,
{
    let Some(state) = state(&request) else {
        return unregistered();
    };
    let mut telemetry = RequestTelemetry::probe(&state, route, &request);
    let answer = pass_open(&mut telemetry, handler).await;
    finish(telemetry, answer)
}

/// Lets a request through that needs no key, at the rate of its address.
async fn pass_open<F, Fut>(telemetry: &mut RequestTelemetry<'_>, handler: F) -> Answer
where
    F: Fn(Hive) -> Fut,
    Fut: Future<Output = Answer>,
{
    let (state, request) = (telemetry.state, telemetry.request);
    let from = address(request);
    telemetry.charge(state.limits.load().probe(from))?;
    let answer = handler(state.hive.clone()).await?;
    state
        .answers
        .until_read(answer, request.method(), &from.map(AddressRange::of_caller))
}

/// Answers what the framer refused before it was a request. The address pays for it, and
/// its connection ends.
pub(crate) fn unreadable(request: &HttpRequest, problem: Problem) -> HttpResponse {
    let Some(state) = state(request) else {
        return unregistered();
    };
    let mut telemetry = RequestTelemetry::probe(&state, RouteId::NONE, request);
    // The budget of the address changes the headers of the answer, not its problem.
    let _ = telemetry.charge(state.limits.load().anonymous(address(request)));
    finish(telemetry, Err(problem))
}

/// Answers callers with a key with a problem, and others that they need one.
pub(crate) async fn refused(
    request: HttpRequest,
    payload: web::Payload,
    problem: Problem,
) -> HttpResponse {
    let refuse = move |_: RequestCtx| std::future::ready(Err(problem.clone()));
    let policy = RoutePolicy {
        access: Access::AnyKey,
        class: RouteClass::Read,
        query: None,
        fails_closed: false,
        in_read_only: true,
        needs: None,
    };
    guarded(request, payload, RouteId::NONE, policy, refuse).await
}

fn state(request: &HttpRequest) -> Option<Arc<ServerState>> {
    request.app_data::<Arc<ServerState>>().cloned()
}

fn unregistered() -> HttpResponse {
    tracing::error!("the server was built without its shared state");
    HttpResponse::InternalServerError().finish()
}

/// Returns the response for an answer, with the headers of every response.
fn finish(telemetry: RequestTelemetry<'_>, answer: Answer) -> HttpResponse {
    let request = telemetry.request;
    let id = request_id(request.headers());
    let shown = id.to_str().unwrap_or_default();
    let mut response = match answer {
        Ok(response) => response,
        Err(problem) => {
            let problem = instead(request, problem);
            telemetry.problem(&problem, shown);
            problem.into_response(shown)
        }
    };
    let is_last = telemetry.is_last_on_connection();
    let rate = telemetry.answered(response.status(), shown);
    let is_anonymous = rate.as_ref().is_some_and(RateLimitStatus::is_of_anonymous);
    if is_anonymous || is_last {
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
    if let Some(rate) = rate {
        rate.write(headers);
    }
    response
}

/// Returns the framer's refusal in place of the handler's: a body that the framer cut off
/// looks incomplete to the handler.
fn instead(request: &HttpRequest, problem: Problem) -> Problem {
    match connection::refusal(request) {
        Some(refusal) if problem.code() == Code::BodyIncomplete => refusal.into(),
        _ => problem,
    }
}
