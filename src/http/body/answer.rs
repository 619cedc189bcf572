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

/// What a handler comes to.
pub(crate) type Answer = Result<HttpResponse, Problem>;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    let bytes = serde_json::to_vec(body)
        .map_err(|error| Problem::internal(format!("an answer cannot be written: {error}")))?;
    Ok(HttpResponse::build(status)
        .content_type(HeaderValue::from_static("application/json"))
        .body(bytes))
}

/// The answer with one more header. All that is written here is visible ASCII.
pub(crate) fn with_header(mut answer: HttpResponse, name: HeaderName, text: &str) -> Answer {
    let value = HeaderValue::from_str(text)
        .map_err(|error| Problem::internal(format!("a header cannot be written: {error}")))?;
    answer.headers_mut().insert(name, value);
    Ok(answer)
}

/// The answer, told to be that of an earlier request with the same key if it is.
pub(crate) fn with_replayed(answer: HttpResponse, replayed: bool) -> Answer {
    match replayed {
        true => with_header(answer, REPLAYED, "true"),
        false => Ok(answer),
    }
}

/// A JSON answer with status 200.
pub(crate) fn ok(body: &impl serde::Serialize) -> Answer {
    json(StatusCode::OK, body)
}
