//! Metrics, traces and logs of a request, from its head to its answer.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use actix_web::{HttpRequest, http::StatusCode};
use deia_hive::{
    ApiCall,
    access::DenialRecord,
    trace,
    trace::{OpenSpan, SpanKind},
};
use deia_model::{KeyId, Principal, TraceContext};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::{rate::RateLimitStatus, who::RejectedCaller},
    server::{
        connection::address,
        metrics::{InFlight, RouteId, without_patterns},
        state::ServerState,
    },
};

/// The target of the lines of the access log.
pub const ACCESS_TARGET: &str = "deia::access";

/// A request in progress.
pub(crate) struct RequestTelemetry<'a> {
    pub(crate) request: &'a HttpRequest,
    pub(crate) state: &'a Arc<ServerState>,
    route: RouteId,
    in_flight: InFlight<'a>,
    /// The `traceparent` of the request, if it is valid.
    incoming: Option<String>,
    trace: Option<TraceContext>,
    span: Option<OpenSpan>,
    user: Option<Arc<str>>,
    key: Option<KeyId>,
    rate: Option<RateLimitStatus>,
    /// True once the caller is authenticated.
    is_authenticated: bool,
}

impl<'a> RequestTelemetry<'a> {
    /// Begins a request that may be traced.
    pub(crate) fn begin(
        state: &'a Arc<ServerState>,
        route: RouteId,
        request: &'a HttpRequest,
    ) -> Self {
        let (incoming, trace) = traceparent(request).unzip();
        let span = trace::request(trace);
        Self {
            trace: span.as_ref().map(|span| span.context).or(trace),
            incoming,
            span,
            ..Self::probe(state, route, request)
        }
    }

    /// Begins a request that is not traced.
    pub(crate) fn probe(
        state: &'a Arc<ServerState>,
        route: RouteId,
        request: &'a HttpRequest,
    ) -> Self {
        Self {
            request,
            state,
            route,
            in_flight: state.metrics.begin(),
            incoming: None,
            trace: None,
            span: None,
            user: None,
            key: None,
            rate: None,
            is_authenticated: false,
        }
    }

    /// Returns whether the server is about to stop, so that this answer ends its
    /// connection.
    pub(crate) fn is_last_on_connection(&self) -> bool {
        self.state.connections.is_last_call()
    }

    /// Notes the caller.
    pub(crate) fn identified(&mut self, who: &Principal) {
        self.user = Some(Arc::clone(&who.user));
        self.key = who.key();
        self.is_authenticated = true;
    }

    /// Notes the known part of a caller whose authentication failed.
    pub(crate) fn failed(&mut self, failure: &RejectedCaller) {
        self.user.clone_from(&failure.user);
        self.key = failure.key;
    }

    /// Notes a request that was taken from a budget, for the headers of the answer.
    ///
    /// # Errors
    /// [`Code::RateLimited`] when nothing was left of the budget.
    pub(crate) fn charge(&mut self, rate: Option<RateLimitStatus>) -> Result<(), Problem> {
        self.rate = rate;
        match self.rate.as_ref().and_then(|rate| rate.wait) {
            Some(wait) => Err(Problem::rate_limited(wait)),
            None => Ok(()),
        }
    }

    /// Returns the parent span of the work for this request: its own span when that is
    /// recorded, else the caller's. A span that is not recorded is left out of the chain.
    pub(crate) fn traceparent(&self) -> Option<String> {
        match &self.span {
            Some(span) => Some(span.context.to_string()),
            None => self.incoming.clone(),
        }
    }

    /// Counts a problem, and logs an internal error.
    pub(crate) fn problem(&self, problem: &Problem, request_id: &str) {
        self.in_flight.problem(problem.code());
        if problem.code() == Code::Internal {
            let (method, path) = (self.request.method(), self.request.path());
            let cause = problem.cause().unwrap_or("not known");
            let trace_id = self.trace.map(|trace| trace.trace());
            tracing::error!(request_id, trace_id, %method, path, cause, "internal error");
        }
    }

    /// Records a denial, if the problem is one.
    pub(crate) fn refused(&self, problem: &Problem) {
        let code = problem.code();
        if !matches!(
            code.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            return;
        }
        let route = self.state.metrics.template(self.route);
        self.state.hive.access().note_denial(DenialRecord {
            reason: code.as_str(),
            user: self.user.as_deref().map(str::to_owned),
            address: address(self.request),
            key: self.key,
            permission: problem.permission(),
            route: format!("{} {route}", self.request.method()),
        });
    }

    /// Records the answered request as an event, if the settings say so.
    fn record(&self, status: u16, request_id: &str, took: Duration) {
        let calls = self.state.hive.api_calls();
        let user = self.user.as_ref().filter(|_| self.is_authenticated);
        let Some(user) = user.filter(|_| calls.is_recorded(request_id)) else {
            return;
        };
        calls.note(ApiCall {
            user: user.clone(),
            method: self.request.method().to_string(),
            route: without_patterns(self.state.metrics.template(self.route)),
            status,
            request_id: request_id.to_owned(),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            address: address(self.request),
            trace_id: self.trace.map(|trace| trace.trace()),
        });
    }

    /// Counts, logs, records and traces the answer. Returns what is left of the caller's budget.
    pub(crate) fn answered(self, status: StatusCode, request_id: &str) -> Option<RateLimitStatus> {
        let took = self.in_flight.answered(self.route, status);
        let (method, path) = (self.request.method(), self.request.path());
        let status = status.as_u16();
        self.record(status, request_id, took);
        if self.state.access_log.load(Relaxed) {
            let peer = self.request.peer_addr().map(|peer| peer.ip().to_string());
            let trace_id = self.trace.map(|trace| trace.trace());
            let route = self.state.metrics.template(self.route);
            let duration_ms = took.as_secs_f64() * 1_000.0;
            tracing::info!(target: ACCESS_TARGET, request_id, trace_id, %method, route, path, status, duration_ms, user = self.user.as_deref(), peer, "answered");
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
            // A server span has failed only when the server did (OpenTelemetry).
            let error = (status >= 500).then(|| status.to_string());
            let name = format!("{method} {route}");
            span.end(name, SpanKind::Server, attributes, error);
        }
        self.rate
    }
}

/// Returns the `traceparent` of a request, if there is one and it is valid.
fn traceparent(request: &HttpRequest) -> Option<(String, TraceContext)> {
    let mut values = request.headers().get_all("traceparent");
    let value = values.next()?.to_str().ok()?;
    let context = TraceContext::parse(value)?;
    values.next().is_none().then(|| (value.to_owned(), context))
}
