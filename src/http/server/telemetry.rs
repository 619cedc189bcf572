//! A request from its head to its answer, as it is counted, traced and logged.

use actix_web::{HttpRequest, http::StatusCode};
use deia_hive::{
    access::Denial,
    trace,
    trace::{OpenSpan, SpanKind},
};
use deia_model::{KeyId, Principal, TraceContext};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    server::{
        connection::address,
        metrics::{InFlight, RouteId},
        state::ServerState,
    },
};

/// The target of the lines of the access log.
pub const ACCESS_TARGET: &str = "deia::access";

/// A request that is being worked on.
pub(crate) struct RequestTelemetry<'a> {
    request: &'a HttpRequest,
    state: &'a ServerState,
    route: RouteId,
    in_flight: InFlight<'a>,
    /// As it came, if it is valid.
    incoming: Option<String>,
    trace: Option<TraceContext>,
    span: Option<OpenSpan>,
    user: Option<String>,
}

impl<'a> RequestTelemetry<'a> {
    /// One that may be traced.
    pub(crate) fn begin(state: &'a ServerState, route: RouteId, request: &'a HttpRequest) -> Self {
        let (incoming, trace) = traceparent(request).unzip();
        let span = trace::request(trace);
        Self {
            trace: span.as_ref().map(|span| span.context).or(trace),
            incoming,
            span,
            ..Self::probe(state, route, request)
        }
    }

    /// One that is of no interest to traces.
    pub(crate) fn probe(state: &'a ServerState, route: RouteId, request: &'a HttpRequest) -> Self {
        Self {
            request,
            state,
            route,
            in_flight: state.metrics.begin(),
            incoming: None,
            trace: None,
            span: None,
            user: None,
        }
    }

    /// Returns whether the server is about to stop, so that this answer ends its
    /// connection.
    pub(crate) fn is_last_on_connection(&self) -> bool {
        self.state.connections.is_last_call()
    }

    /// Who asks is known.
    pub(crate) fn is_of(&mut self, who: &Principal) {
        if self.state.access_log {
            self.user = Some(who.user.to_string());
        }
    }

    /// The parent of what is done for this request: its own span when that is
    /// recorded, else what came with it. One that is not recorded does not stand
    /// between others.
    pub(crate) fn traceparent(&self) -> Option<String> {
        match &self.span {
            Some(span) => Some(span.context.to_string()),
            None => self.incoming.clone(),
        }
    }

    /// It is told of a problem.
    pub(crate) fn problem(&self, problem: &Problem, request_id: &str) {
        self.in_flight.problem(problem.code());
        if problem.code() == Code::Internal {
            let (method, path) = (self.request.method(), self.request.path());
            let cause = problem.cause().unwrap_or("not known");
            let trace_id = self.trace.map(|trace| trace.trace());
            tracing::error!(request_id, trace_id, %method, path, cause, "internal error");
        }
    }

    /// It was refused; what nobody may do is recorded.
    pub(crate) fn refused(&self, problem: &Problem, user: Option<&str>, key: Option<KeyId>) {
        let code = problem.code();
        if !matches!(
            code.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            return;
        }
        let route = self.state.metrics.template(self.route);
        self.state.hive.access().note_denial(Denial {
            reason: code.as_str(),
            user: user.map(str::to_owned),
            address: address(self.request),
            key,
            permission: problem.permission(),
            route: format!("{} {route}", self.request.method()),
        });
    }

    /// It was answered.
    pub(crate) fn answered(self, status: StatusCode, request_id: &str) {
        let took = self.in_flight.answered(self.route, status);
        let (method, path) = (self.request.method(), self.request.path());
        let status = status.as_u16();
        if self.state.access_log {
            let peer = self.request.peer_addr().map(|peer| peer.ip().to_string());
            let trace_id = self.trace.map(|trace| trace.trace());
            let route = self.state.metrics.template(self.route);
            let duration_ms = took.as_secs_f64() * 1_000.0;
            tracing::info!(target: ACCESS_TARGET, request_id, trace_id, %method, route, path, status, duration_ms, user = self.user, peer, "answered");
        } else {
            tracing::debug!(request_id, %method, path, status, "answered");
        }
        if let Some(span) = self.span {
            let route = self.state.metrics.template(self.route);
            let attributes = vec![
                ("http.request.method", method.as_str().into()),
                ("http.route", route.into()),
                ("http.response.status_code", u32::from(status).into()),
                ("deia.request_id", request_id.into()),
            ];
            // Of a server only its own failures are errors of the span.
            let error = (status >= 500).then(|| status.to_string());
            let name = format!("{method} {route}");
            span.end(name, SpanKind::Server, attributes, error);
        }
    }
}

/// The `traceparent` of a request, if there is one and it is valid.
fn traceparent(request: &HttpRequest) -> Option<(String, TraceContext)> {
    let mut values = request.headers().get_all("traceparent");
    let value = values.next()?.to_str().ok()?;
    let context = TraceContext::parse(value)?;
    values.next().is_none().then(|| (value.to_owned(), context))
}
