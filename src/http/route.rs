//! Rows of the route table, and their registration with actix-web, each behind the
//! guard.

use std::future::Future;

use actix_web::{
    HttpRequest, HttpResponse, Route as ActixRoute, guard,
    http::{Method, header::HeaderValue},
    web::{self, Payload, ServiceConfig},
};
use deia_hive::Hive;
use deia_model::{Action, Feature};

use crate::http::{
    body::{answer::Answer, catalogue::Code, problem::Problem},
    context::RequestCtx,
    guard::{
        class::RouteClass,
        pass,
        policy::{Access, RoutePolicy},
    },
    operation::Description,
    server::{
        connection,
        metrics::{RouteId, without_patterns},
    },
    viewer,
};

/// A row of the table.
pub struct Route {
    /// The method. A route for GET serves HEAD as well.
    pub method: Method,
    /// The path, with `{names}`.
    pub path: &'static str,
    /// The access that the route needs.
    pub access: Access,
    /// The feature without which a call cannot be served.
    pub needs: Option<Feature>,
    /// True if calls are served while the hive is read-only.
    pub in_read_only: bool,
    /// The events that a call leaves; absent from routes that only read.
    pub leaves: Option<Leaves>,
    /// The class of requests; absent from open routes, which have the budget of probes.
    pub(crate) class: Option<RouteClass>,
    /// The section of the OpenAPI document.
    pub(crate) tag: &'static str,
    pub(crate) operation_id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static Description,
    pub(crate) handler: Handler,
}

/// The trace that a successful call of a route leaves in the log of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// At least one event of these actions, with the caller as its actor. A call that
    /// finds everything as it should be changes nothing, and leaves none.
    Events(&'static [Action]),
    /// An event of another system, of the action that the caller names.
    External,
    /// No event, for this reason.
    Nothing(&'static str),
}

/// A handler that is bound to its row.
pub(crate) type Handler = Box<dyn FnOnce(ActixRoute, RouteId) -> ActixRoute>;

/// Binds a handler for callers with a key.
pub(crate) fn guarded<F, Fut>(policy: RoutePolicy, handler: F) -> Handler
where
    F: Fn(RequestCtx) -> Fut + Clone + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    Box::new(move |route, id| {
        route.to(move |request: HttpRequest, payload: Payload| {
            pass::guarded(request, payload, id, policy, handler.clone())
        })
    })
}

/// Binds a handler for anybody.
pub(crate) fn open<F, Fut>(handler: F) -> Handler
where
    F: Fn(Hive) -> Fut + Clone + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    Box::new(move |route, id| {
        route.to(move |request: HttpRequest| pass::unguarded(request, id, handler.clone()))
    })
}

impl Route {
    /// Returns the path as OpenAPI writes it: without the patterns of parameters.
    pub fn template(&self) -> String {
        without_patterns(self.path)
    }

    fn bind(self, id: RouteId) -> ActixRoute {
        (self.handler)(on(&self.method), id)
    }
}

fn on(method: &Method) -> ActixRoute {
    if *method == Method::GET {
        ActixRoute::new().guard(guard::Any(guard::Get()).or(guard::Head()))
    } else {
        ActixRoute::new().method(method.clone())
    }
}

/// Registers the table, and the answers to all other requests.
pub(crate) fn register(table: Vec<Route>, config: &mut ServiceConfig) {
    let mut rest = table.into_iter().enumerate().peekable();
    while let Some((number, first)) = rest.next() {
        let path = first.path;
        let mut allow = allowed(&first.method).to_owned();
        let mut resource = web::resource(path).route(first.bind(RouteId::row(number)));
        while let Some((number, next)) = rest.next_if(|(_, next)| next.path == path) {
            allow.push_str(", ");
            allow.push_str(allowed(&next.method));
            resource = resource.route(next.bind(RouteId::row(number)));
        }
        // Method names and commas only: always a valid header.
        let allow = HeaderValue::try_from(allow).unwrap_or(HeaderValue::from_static(""));
        let refuse = move |request: HttpRequest, payload: Payload| {
            let problem = Problem::method_not_allowed(allow.clone());
            pass::refused(request, payload, problem)
        };
        config.service(resource.default_service(web::to(refuse)));
    }
    config.default_service(web::to(nowhere));
}

/// Answers requests without a route. Requests that the framer refused come here too,
/// whatever their path.
async fn nowhere(request: HttpRequest, payload: Payload) -> HttpResponse {
    if let Some(refusal) = connection::stands_for(&request) {
        return pass::unreadable(&request, refusal.into());
    }
    if viewer::is_for_front(&request) {
        return pass::unguarded(request, RouteId::NONE, viewer::front).await;
    }
    let shown: String = request.path().chars().take(128).collect();
    let problem = Problem::new(Code::RouteNotFound, format!("there is no route {shown}"));
    pass::refused(request, payload, problem).await
}

fn allowed(method: &Method) -> &str {
    match *method {
        Method::GET => "GET, HEAD",
        ref other => other.as_str(),
    }
}
