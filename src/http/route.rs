//! How a row of the route table becomes a route: the guard around each handler,
//! and the headers of each answer.

use std::{future::Future, sync::Arc, time::Duration};

use actix_http::ConnectionType;
use actix_web::{
    HttpRequest, HttpResponse, Route as ActixRoute, guard,
    http::{
        Method, StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web::{self, Payload, ServiceConfig},
};
use deia_hive::Hive;
use deia_model::Principal;
use tokio::sync::watch;

use super::{
    admission::Admission,
    auth::{Access, address, admit, admit_again, admit_probe, is_unchanged},
    bodies::ByteBudget,
    call::Call,
    catalogue::Code,
    class::Class,
    connection,
    drain::ConnectionDrain,
    exchange::Exchange,
    json::BodyLimits,
    limit::{Limits, Standing},
    metrics::{HttpMetrics, RouteId},
    problem::Problem,
    request_id::{REQUEST_ID, request_id},
    secure,
    shares::network,
    stream::StreamPlaces,
    viewer,
};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What all handlers share.
pub(super) struct Shared {
    pub(super) hive: Hive,
    pub(super) limits: Limits,
    pub(super) admission: Admission,
    pub(super) body: BodyLimits,
    pub(super) metrics: HttpMetrics,
    /// Whether every answer is logged.
    pub(super) access_log: bool,
    pub(super) bodies: ByteBudget,
    answers: ByteBudget,
    pub(super) max_wait: Duration,
    /// Places for streams.
    pub(super) streams: StreamPlaces,
    /// Turns `true` when the server stops: long polls and streams end then.
    pub(super) stopping: watch::Receiver<bool>,
    /// The connections that requests come on.
    pub(super) connections: Arc<ConnectionDrain>,
}

impl Shared {
    pub(super) fn new(hive: Hive, stopping: watch::Receiver<bool>) -> Self {
        let config = hive.config();
        let bytes = |size| usize::try_from(size).unwrap_or(usize::MAX);
        let body = BodyLimits {
            max_bytes: bytes(config.server.max_body_bytes.as_u64()),
            max_pause: config.server.request_head_timeout,
            max_time: config.server.request_body_timeout,
        };
        Self {
            limits: Limits::new(&config.limits),
            admission: Admission::new(&config.server.admission),
            body,
            metrics: HttpMetrics::new(&super::table()),
            access_log: config.logging.access,
            bodies: ByteBudget::new(
                "bodies in hand",
                bytes(config.server.max_bytes_in_flight.as_u64()),
                body.max_bytes,
            ),
            answers: ByteBudget::new(
                "answers that are not read yet",
                bytes(config.server.max_unread_bytes.as_u64()),
                0,
            ),
            max_wait: config.server.max_wait,
            streams: StreamPlaces::new(config.server.max_streams as usize),
            stopping,
            connections: ConnectionDrain::new(),
            hive,
        }
    }
}

/// One row of the table.
pub struct Route {
    /// Its method. A route for GET serves HEAD as well.
    pub method: Method,
    /// Its path, with `{names}`.
    pub path: &'static str,
    /// What it asks of its caller.
    pub access: Access,
    /// The query parameters that it takes; others are refused.
    pub query: &'static [&'static str],
    /// Makes the handler, once it is known which row this is.
    handler: Box<dyn FnOnce(RouteId) -> ActixRoute>,
}

/// What a handler comes to.
pub(super) type Answer = Result<HttpResponse, Problem>;

/// A route for callers with a key.
pub(super) fn route<F, Fut>(
    method: Method,
    path: &'static str,
    access: Access,
    query: &'static [&'static str],
    handler: F,
) -> Route
where
    F: Fn(Call) -> Fut + Clone + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    let on_method = on(&method);
    let what = Asked {
        access,
        query,
        class: Class::of(&method, path, access, query),
    };
    let row = move |id: RouteId| {
        on_method.to(move |request: HttpRequest, payload: Payload| {
            guarded(request, payload, id, what, handler.clone())
        })
    };
    Route {
        handler: Box::new(row),
        method,
        path,
        access,
        query,
    }
}

/// A route for anybody.
pub(super) fn open<F, Fut>(path: &'static str, handler: F) -> Route
where
    F: Fn(Hive) -> Fut + Clone + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    let row = move |id: RouteId| {
        on(&Method::GET).to(move |request: HttpRequest| unguarded(request, id, handler.clone()))
    };
    Route {
        handler: Box::new(row),
        method: Method::GET,
        path,
        access: Access::Open,
        query: Call::ANY_QUERY,
    }
}

fn on(method: &Method) -> ActixRoute {
    if *method == Method::GET {
        ActixRoute::new().guard(guard::Any(guard::Get()).or(guard::Head()))
    } else {
        ActixRoute::new().method(method.clone())
    }
}

/// Registers the table, and what answers where it has nothing.
pub(super) fn register(table: Vec<Route>, config: &mut ServiceConfig) {
    let mut rest = table.into_iter().enumerate().peekable();
    while let Some((number, first)) = rest.next() {
        let path = first.path;
        let mut allow = allowed(&first.method).to_owned();
        let mut resource = web::resource(path).route((first.handler)(RouteId::row(number)));
        while let Some((number, next)) = rest.next_if(|(_, next)| next.path == path) {
            allow.push_str(", ");
            allow.push_str(allowed(&next.method));
            resource = resource.route((next.handler)(RouteId::row(number)));
        }
        // Method names and commas only: always a valid header.
        let allow = HeaderValue::try_from(allow).unwrap_or(HeaderValue::from_static(""));
        let refuse = move |request: HttpRequest, payload: Payload| {
            let problem = Problem::method_not_allowed(allow.clone());
            refused(request, payload, problem)
        };
        config.service(resource.default_service(web::to(refuse)));
    }
    config.default_service(web::to(nowhere));
}

/// Answers what no path is for: what the guard of the stream refused comes here
/// as well, whatever path it had.
async fn nowhere(request: HttpRequest, payload: Payload) -> HttpResponse {
    if let Some(refusal) = connection::stands_for(&request) {
        return unreadable(&request, refusal.into());
    }
    if viewer::is_for_front(&request) {
        return unguarded(request, RouteId::NONE, viewer::front).await;
    }
    let shown: String = request.path().chars().take(128).collect();
    let problem = Problem::new(Code::RouteNotFound, format!("there is no route {shown}"));
    refused(request, payload, problem).await
}

/// Tells of what was no request. The address pays for it, and its connection ends.
fn unreadable(request: &HttpRequest, problem: Problem) -> HttpResponse {
    let Some(shared) = shared(request) else {
        return unregistered();
    };
    let exchange = Exchange::probe(&shared, RouteId::NONE, request);
    let standing = shared.limits.stranger(address(request));
    finish(request, exchange, standing, Err(problem))
}

fn allowed(method: &Method) -> &str {
    match *method {
        Method::GET => "GET, HEAD",
        ref other => other.as_str(),
    }
}

/// Tells callers with a key of a problem, and others that they need one.
async fn refused(request: HttpRequest, payload: Payload, problem: Problem) -> HttpResponse {
    let refuse = move |_: Call| std::future::ready(Err(problem.clone()));
    let what = Asked {
        access: Access::AnyKey,
        query: Call::ANY_QUERY,
        class: Class::Read,
    };
    guarded(request, payload, RouteId::NONE, what, refuse).await
}

/// What a row asks of its requests.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) access: Access,
    pub(super) query: &'static [&'static str],
    pub(super) class: Class,
}

async fn guarded<F, Fut>(
    request: HttpRequest,
    payload: Payload,
    id: RouteId,
    what: Asked,
    handler: F,
) -> HttpResponse
where
    F: Fn(Call) -> Fut,
    Fut: Future<Output = Answer>,
{
    let Some(shared) = shared(&request) else {
        return unregistered();
    };
    let hold = shared.clone();
    let mut exchange = Exchange::begin(&hold, id, &request);
    let (hive, limits) = (&shared.hive, &shared.limits);
    let (standing, who) = admit(hive, limits, &request, what.access, what.class).await;
    let (user, key, answer) = match who {
        Err(refused) => (refused.user, refused.key, Err(refused.problem)),
        Ok(who) => {
            exchange.is_of(&who);
            let (user, key, payer) = (Some(who.user.clone()), who.key(), who.budget());
            let body = payload.into_inner();
            let answer = handled(&exchange, &request, (shared, body), who, what, handler).await;
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
    exchange: &Exchange<'_>,
    request: &HttpRequest,
    (shared, body): (Arc<Shared>, actix_web::dev::Payload),
    who: Principal,
    what: Asked,
    handler: F,
) -> Answer
where
    F: Fn(Call) -> Fut,
    Fut: Future<Output = Answer>,
{
    let place = shared.admission.enter(what.class).await?;
    let hive = shared.hive.clone();
    let who = admit_again(&hive, request, &who, what.access)?;
    let trace = exchange.traceparent();
    let reads = request.method().is_safe();
    let told = who.clone();
    let call = Call::new(who, shared, request.clone(), body, what, place, trace)?;
    let answer = handler(call).await.map_err(|it| it.told_to(&told));
    if reads {
        is_unchanged(&hive, request, &told, what.access)?;
    }
    answer
}

async fn unguarded<F, Fut>(request: HttpRequest, id: RouteId, handler: F) -> HttpResponse
where
    F: Fn(Hive) -> Fut,
    Fut: Future<Output = Answer>,
{
    let Some(shared) = shared(&request) else {
        return unregistered();
    };
    let exchange = Exchange::probe(&shared, id, &request);
    let (standing, admitted) = admit_probe(&shared.limits, &request);
    let answer = match admitted {
        Err(problem) => Err(problem),
        Ok(()) => handler(shared.hive.clone()).await.and_then(|answer| {
            let from = address(&request).map(network);
            shared.answers.until_read(answer, request.method(), &from)
        }),
    };
    finish(&request, exchange, standing, answer)
}

fn shared(request: &HttpRequest) -> Option<Arc<Shared>> {
    request.app_data::<Arc<Shared>>().cloned()
}

fn unregistered() -> HttpResponse {
    tracing::error!("the server was built without its shared state");
    HttpResponse::InternalServerError().finish()
}

/// Makes an answer of what the handler came to, with the headers of every answer.
fn finish(
    request: &HttpRequest,
    exchange: Exchange<'_>,
    standing: Option<Standing>,
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
    let is_stranger = standing.as_ref().is_some_and(Standing::is_of_stranger);
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
    secure::write(headers, connection::is_secure(request));
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

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    let bytes = serde_json::to_vec(body)
        .map_err(|error| Problem::internal(format!("an answer cannot be written: {error}")))?;
    Ok(HttpResponse::build(status)
        .content_type(HeaderValue::from_static("application/json"))
        .body(bytes))
}

/// The answer with one more header. All that is written here is visible ASCII.
pub(super) fn with_header(mut answer: HttpResponse, name: HeaderName, text: &str) -> Answer {
    let value = HeaderValue::from_str(text)
        .map_err(|error| Problem::internal(format!("a header cannot be written: {error}")))?;
    answer.headers_mut().insert(name, value);
    Ok(answer)
}

/// The answer, told to be that of an earlier request with the same key if it is.
pub(super) fn with_replayed(answer: HttpResponse, replayed: bool) -> Answer {
    match replayed {
        true => with_header(answer, REPLAYED, "true"),
        false => Ok(answer),
    }
}

/// A JSON answer with status 200.
pub(super) fn ok(body: &impl serde::Serialize) -> Answer {
    json(StatusCode::OK, body)
}
