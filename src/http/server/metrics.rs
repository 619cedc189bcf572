//! The counts and measurements of the HTTP server itself.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Instant,
};

use actix_web::http::{Method, StatusCode};
use deia_hive::metrics::{Exposition, table as rows};
use deia_ledger::metrics::Histogram;

use crate::http::body::catalogue::Code;

/// The template of requests without a route.
const UNMATCHED: &str = "unmatched";
/// Classes of statuses: 1xx to 5xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The row of the table that a request matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteId(usize);

impl RouteId {
    /// Returns the row of that number.
    pub(crate) fn row(number: usize) -> Self {
        Self(number)
    }

    /// No row.
    pub(crate) const NONE: Self = Self(usize::MAX);
}

/// Returns the path of a route as OpenAPI writes it: without the patterns of parameters.
pub(crate) fn without_patterns(path: &str) -> String {
    path.replace(":.*}", "}")
}

/// The metrics of the HTTP server. Updates neither wait nor allocate.
pub(crate) struct HttpMetrics {
    /// Counts for each row of the table, and a last element for requests without a route.
    routes: Vec<RouteCounts>,
    in_flight: AtomicI64,
    problems: Vec<AtomicU64>,
}

struct RouteCounts {
    method: String,
    path: &'static str,
    statuses: [AtomicU64; CLASSES.len()],
    duration: Histogram,
}

/// A request that is being worked on.
pub(crate) struct InFlight<'a> {
    metrics: &'a HttpMetrics,
    began: Instant,
}

impl HttpMetrics {
    pub(crate) fn new(table: Vec<(Method, &'static str)>) -> Self {
        let row = |(method, path): (Method, _)| RouteCounts::new(&method, path);
        let mut routes: Vec<RouteCounts> = table.into_iter().map(row).collect();
        routes.push(RouteCounts {
            method: "any".into(),
            ..RouteCounts::new(&Method::GET, UNMATCHED)
        });
        Self {
            routes,
            in_flight: AtomicI64::new(0),
            problems: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Returns the path template of a route.
    pub(crate) fn template(&self, id: RouteId) -> &'static str {
        self.routes.get(id.0).map_or(UNMATCHED, |route| route.path)
    }

    /// Counts a request from now on.
    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight {
            metrics: self,
            began: Instant::now(),
        }
    }

    pub(crate) fn write(&self, out: &mut Exposition) {
        for route in &self.routes {
            let method = &route.method;
            for (class, n) in CLASSES.iter().zip(&route.statuses) {
                let n = n.load(Ordering::Relaxed);
                if n > 0 {
                    let labels = [route.path, method, *class].map(str::to_owned);
                    out.count(&rows::HTTP_REQUESTS, labels, n);
                }
            }
            if !route.duration.is_empty() {
                let labels = [route.path, method].map(str::to_owned);
                out.histogram(&rows::HTTP_DURATION, labels, &route.duration);
            }
        }
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        out.gauge(&rows::HTTP_IN_FLIGHT, u64::try_from(in_flight).unwrap_or(0));
        for (code, n) in Code::ALL.iter().zip(&self.problems) {
            let n = n.load(Ordering::Relaxed);
            if n > 0 {
                out.count(&rows::HTTP_PROBLEMS, [code.as_str()], n);
            }
        }
    }
}

impl RouteCounts {
    fn new(method: &Method, path: &'static str) -> Self {
        Self {
            method: method.to_string(),
            path,
            statuses: Default::default(),
            duration: Histogram::of_durations(),
        }
    }
}

impl InFlight<'_> {
    /// Counts a problem.
    pub(crate) fn problem(&self, code: Code) {
        // Codes are numbered in the order of the catalogue.
        if let Some(count) = self.metrics.problems.get(code as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an answer. Returns the time that it took.
    pub(crate) fn answered(&self, route: RouteId, status: StatusCode) -> std::time::Duration {
        let took = self.began.elapsed();
        let routes = &self.metrics.routes;
        if let Some(counts) = routes.get(route.0).or(routes.last()) {
            let class = usize::from(status.as_u16() / 100).saturating_sub(1);
            if let Some(count) = counts.statuses.get(class) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            counts.duration.observe(took);
        }
        took
    }
}

/// Runs even when the client left before the answer.
impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_in_the_order_of_the_catalogue() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, i);
        }
    }

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let metrics = HttpMetrics::new(vec![(Method::POST, "/a"), (Method::GET, "/b")]);
        let status = |id: RouteId, code: u16| {
            let request = metrics.begin();
            request.answered(id, StatusCode::from_u16(code).unwrap());
        };
        status(RouteId::row(0), 202);
        status(RouteId::row(0), 422);
        status(RouteId::NONE, 404);
        let open = metrics.begin();
        open.problem(Code::RouteNotFound);
        let mut readings = Exposition::default();
        metrics.write(&mut readings);
        let text = readings.into_text().unwrap();
        let first = "route=\"/a\",method=\"POST\"";
        for line in [
            format!("deia_http_requests_total{{{first},status=\"2xx\"}} 1"),
            format!("deia_http_requests_total{{{first},status=\"4xx\"}} 1"),
            format!("deia_http_request_duration_seconds_count{{{first}}} 2"),
            "deia_http_requests_total{route=\"unmatched\",method=\"any\",status=\"4xx\"} 1".into(),
            "deia_http_requests_in_flight 1".into(),
            "deia_http_problems_total{code=\"route_not_found\"} 1".into(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        drop(open);
    }
}
