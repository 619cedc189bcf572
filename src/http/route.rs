//! Rows of the route table, and their registration with actix-web, each behind the
//! guard.

use std::future::Future;

use actix_web::{
    HttpRequest, HttpResponse, Route as ActixRoute, guard,
    http::{Method, header::HeaderValue},
    web::{self, Payload, ServiceConfig},
};
use deia_hive::Hive;

use crate::http::{
    body::{answer::Answer, catalogue::Code, problem::Problem},
    context::RequestCtx,
    guard::{
        class::RouteClass,
        pass::{guarded, refused, unguarded, unreadable},
        policy::{Access, RoutePolicy},
    },
    server::{connection, metrics::RouteId},
    viewer,
};

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

/// A route for callers with a key.
pub(crate) fn route<F, Fut>(
    method: Method,
    path: &'static str,
    access: Access,
    class: RouteClass,
    query: &'static [&'static str],
    handler: F,
) -> Route
where
    F: Fn(RequestCtx) -> Fut + Clone + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    let on_method = on(&method);
    let policy = RoutePolicy {
        access,
        class,
        query: Some(query),
    };
    let row = move |id: RouteId| {
        on_method.to(move |request: HttpRequest, payload: Payload| {
            guarded(request, payload, id, policy, handler.clone())
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
pub(crate) fn open<F, Fut>(path: &'static str, handler: F) -> Route
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
        query: &[],
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
pub(crate) fn register(table: Vec<Route>, config: &mut ServiceConfig) {
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

fn allowed(method: &Method) -> &str {
    match *method {
        Method::GET => "GET, HEAD",
        ref other => other.as_str(),
    }
}
