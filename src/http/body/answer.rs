//! Answers that are written in one piece.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
};

use crate::http::body::problem::Problem;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The answer of a handler.
pub(crate) type Answer = Result<HttpResponse, Problem>;

/// Returns a JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    let bytes = serde_json::to_vec(body)
        .map_err(|error| Problem::internal(format!("an answer cannot be written: {error}")))?;
    Ok(HttpResponse::build(status)
        .content_type(HeaderValue::from_static("application/json"))
        .body(bytes))
}

/// Adds a header to an answer. All values written here are visible ASCII.
pub(crate) fn with_header(mut answer: HttpResponse, name: HeaderName, text: &str) -> Answer {
    let value = HeaderValue::from_str(text)
        .map_err(|error| Problem::internal(format!("a header cannot be written: {error}")))?;
    answer.headers_mut().insert(name, value);
    Ok(answer)
}

/// Marks an answer that repeats that of an earlier request with the same key.
pub(crate) fn with_replayed(answer: HttpResponse, replayed: bool) -> Answer {
    match replayed {
        true => with_header(answer, REPLAYED, "true"),
        false => Ok(answer),
    }
}

/// Returns a JSON answer with status 200.
pub(crate) fn ok(body: &impl serde::Serialize) -> Answer {
    json(StatusCode::OK, body)
}
