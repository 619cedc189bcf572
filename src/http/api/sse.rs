//! Streams of Server-Sent Events: parts that all of them have.

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue, VARY},
};

use crate::http::{
    body::{
        answer::{Answer, with_header},
        problem::Problem,
    },
    context::RequestCtx,
};

/// The query parameter for clients that cannot set the header `Last-Event-ID`.
pub(super) const LAST_EVENT_ID: &str = "last_event_id";
/// Asks nginx not to gather what it passes on.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Refuses parameters of the stream on the other form of the answer.
pub(super) fn only_for_streams(call: &RequestCtx, names: &[&str]) -> Result<(), Problem> {
    let mut given = names
        .iter()
        .filter(|name| call.queries(name).next().is_some());
    match given.next() {
        None => Ok(()),
        Some(name) => Err(Problem::parameter(
            name,
            "is allowed only with Accept: text/event-stream",
        )),
    }
}

/// Returns the id of the last event that the client has: that of the header, which a client sets
/// by itself when it connects again, or else that of the parameter.
pub(super) fn last_event_id(call: &RequestCtx) -> Result<Option<String>, Problem> {
    let parameter = call.query::<String>(LAST_EVENT_ID)?;
    let header = call.header("Last-Event-ID")?.map(str::to_owned);
    Ok(header.or(parameter))
}

/// Marks an answer as a stream that depends on `Accept` and is passed on at once.
pub(super) fn unbuffered(answer: HttpResponse) -> Answer {
    let mut answer = with_header(answer, VARY, "accept")?;
    let headers = answer.headers_mut();
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(answer)
}

/// Returns the last event for a client that is too slow.
pub(super) fn behind() -> String {
    "event: deia.behind\ndata: {\"reason\":\"slow\"}\n\n".to_owned()
}

/// Returns the last event of a stream that ends for that reason.
pub(super) fn over(reason: &str) -> String {
    format!("event: deia.end\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}
