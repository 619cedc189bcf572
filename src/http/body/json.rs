//! JSON bodies. An invalid body is read a second time, for the exact place of the fault.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    web::{Bytes, BytesMut},
};
use deia_model::{METADATA_LEVELS, Violation, ambiguity, from_object};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_path_to_error::Segment;
use tokio::task::yield_now;

use crate::http::body::{
    bytes::ByteReservation, catalogue::Code, problem::Problem, words::in_words,
};

/// Limits of a body: its size, the longest pause in it, and the time for all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: usize,
    pub(crate) max_pause: Duration,
    pub(crate) max_time: Duration,
}

/// A part of a body as it comes.
pub(crate) type Chunk = Result<Bytes, PayloadError>;

/// A body that is not read yet.
pub(crate) struct Body<'r> {
    pub(crate) request: &'r HttpRequest,
    pub(crate) payload: &'r mut Payload,
    /// The result of [`arrived`].
    pub(crate) arrived: Option<Option<Chunk>>,
}

/// Returns the first chunk, or the end of the body, if it has come with the head. The
/// server hands it over after its first poll of a handler: a second poll finds it,
/// and no timer is set for the bodies that are there.
pub(crate) async fn arrived(payload: &mut Payload) -> Option<Option<Chunk>> {
    let first = payload.next().now_or_never();
    if first.is_some() {
        return first;
    }
    yield_now().await;
    payload.next().now_or_never()
}

/// Returns the body if its first chunk, as [`arrived`] returns it, is all of it.
pub(crate) fn whole<'a>(
    request: &HttpRequest,
    first: Option<&'a Option<Chunk>>,
) -> Option<&'a [u8]> {
    let Some(Some(Ok(bytes))) = first else {
        return None;
    };
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced: Option<usize> = announced.and_then(|v| v.to_str().ok()?.parse().ok());
    (announced == Some(bytes.len())).then_some(bytes)
}

/// Reads the whole body. `held` counts the memory that it takes: for the bytes that came,
/// not for those announced.
pub(crate) async fn read(
    body: Body<'_>,
    limits: BodyLimits,
    held: &mut ByteReservation,
) -> Result<Bytes, Problem> {
    let Body {
        request,
        payload,
        arrived,
    } = body;
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced: Option<usize> = announced.and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes| bytes > limits.max_bytes) {
        return Err(too_large(limits));
    }
    let first = match arrived {
        Some(first) => taken(first, limits)?,
        None => next(payload, limits).await?,
    };
    let Some(first) = first else {
        return Ok(Bytes::new());
    };
    if first.len() > limits.max_bytes {
        return Err(too_large(limits));
    }
    held.grow_to(first.len())?;
    let Some(second) = next(payload, limits).await? else {
        return Ok(first);
    };
    let mut body = BytesMut::from(first);
    let mut chunk = Some(second);
    while let Some(more) = chunk {
        let bytes = body.len() + more.len();
        if bytes > limits.max_bytes {
            return Err(too_large(limits));
        }
        if bytes > body.capacity() {
            let most = announced.unwrap_or(limits.max_bytes);
            let capacity = (2 * bytes).min(most).max(bytes);
            held.grow_to(capacity)?;
            body.reserve(capacity - body.len());
        }
        held.grow_to(bytes)?;
        body.extend_from_slice(&more);
        chunk = next(payload, limits).await?;
    }
    Ok(body.freeze())
}

async fn next(payload: &mut Payload, limits: BodyLimits) -> Result<Option<Bytes>, Problem> {
    match tokio::time::timeout(limits.max_pause, payload.next()).await {
        Err(_) => Err(Problem::new(Code::RequestTimeout, "the body broke off")),
        Ok(chunk) => taken(chunk, limits),
    }
}

fn taken(chunk: Option<Chunk>, limits: BodyLimits) -> Result<Option<Bytes>, Problem> {
    match chunk.transpose() {
        Ok(chunk) => Ok(chunk),
        Err(PayloadError::Overflow) => Err(too_large(limits)),
        Err(error) => Err(Problem::new(Code::BodyIncomplete, error.to_string())),
    }
}

fn too_large(limits: BodyLimits) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("the body is over {} bytes long", limits.max_bytes),
    )
}

/// Returns whether the head of a request announces a body that is not empty.
pub(crate) fn is_announced(request: &HttpRequest) -> bool {
    let length = request.headers().get(CONTENT_LENGTH);
    length.is_some_and(|length| length != "0")
}

/// Refuses a body that is not declared as plain JSON.
pub(crate) fn expect_json(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let text = |value: &actix_web::http::header::HeaderValue| {
        value.to_str().unwrap_or("something unreadable").to_owned()
    };
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|v| *v != "identity") {
        let detail = format!("the body has the content encoding {}", text(encoding));
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    match headers.get(CONTENT_TYPE) {
        Some(value) if is_json(value.as_bytes()) => Ok(()),
        Some(value) => {
            let detail = format!("the body is announced as {}", text(value));
            Err(Problem::new(Code::UnsupportedMediaType, detail))
        }
        None => Err(Problem::new(
            Code::UnsupportedMediaType,
            "the body has no Content-Type",
        )),
    }
}

/// Accepts `application/json` and `application/<anything>+json`, with or without
/// parameters.
fn is_json(value: &[u8]) -> bool {
    let essence = value.split(|b| *b == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    essence == b"application/json"
        || (essence.starts_with(b"application/") && essence.ends_with(b"+json"))
}

/// A `T` that comes as an object; see [`from_object`].
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_object(deserializer).map(Self)
    }
}

/// Reads a member that is present: one without a value is left out, not `null`.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Reads `body`, which is an object, as a `T`.
///
/// # Errors
/// [`Code::MalformedJson`] or [`Code::InvalidInput`] with the place.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let decoded = serde_json::from_slice::<Object<T>>(body);
    let Object(decoded) = decoded.map_err(|error| refusal::<Object<T>>(body, &error))?;
    let text = std::str::from_utf8(body).unwrap_or_default();
    match ambiguity(text) {
        None => Ok(decoded),
        Some(found) => Err(Problem::invalid(vec![found])),
    }
}

/// Returns the problem with a body: a syntax error of JSON, or else the invalid place.
#[cold]
fn refusal<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Problem {
    if body.is_empty() {
        return Problem::new(Code::MalformedJson, "the body is empty");
    }
    if body.starts_with("\u{feff}".as_bytes()) {
        let detail = "the body begins with a byte order mark (U+FEFF), which JSON does not have";
        return Problem::new(Code::MalformedJson, detail);
    }
    let syntax = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str::<IgnoredAny>(text)
            .err()
            .map(|e| e.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(syntax) = syntax {
        let detail = format!("the body is not JSON: {syntax}");
        return Problem::new(Code::MalformedJson, detail);
    }
    let mut input = serde_json::Deserializer::from_slice(body);
    Problem::invalid(vec![place::<T, _>(&mut input, error, "")])
}

/// Reads the part of a body at the pointer `at` as a `T`.
///
/// # Errors
/// The invalid place.
pub(crate) fn decode_part<T: DeserializeOwned>(
    part: serde_json::Value,
    at: &str,
) -> Result<T, Violation> {
    T::deserialize(&part).map_err(|error| place::<T, _>(&part, &error, at))
}

/// Parts of a pointer that lead to the field that is too deep, in a batch, too. Fact: the
/// shape of requests: a batch has its tasks two levels down.
const TOP_SEGMENTS: usize = 4;

/// Returns the place of `error` in the input, which is read again with its path recorded.
fn place<'de, T, D>(input: D, error: &serde_json::Error, at: &str) -> Violation
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let mut pointer = at.to_owned();
    if let Err(located) = serde_path_to_error::deserialize::<_, T>(input) {
        located
            .path()
            .iter()
            .for_each(|segment| push(&mut pointer, segment));
    }
    if error.to_string().starts_with("recursion limit exceeded") {
        let to_top = pointer.match_indices('/').nth(TOP_SEGMENTS);
        pointer.truncate(to_top.map_or(pointer.len(), |(end, _)| end));
        let detail = format!("is nested too deep; metadata may have {METADATA_LEVELS} levels");
        return Violation { pointer, detail };
    }
    let said = without_position(&error.to_string());
    // A missing field has no path of its own.
    if let Some(field) = quoted_after(&said, "missing field `") {
        push_key(&mut pointer, field);
    }
    let detail = in_words(&said);
    Violation { pointer, detail }
}

fn push(pointer: &mut String, segment: &Segment) {
    match segment {
        Segment::Seq { index } => push_key(pointer, &index.to_string()),
        Segment::Map { key } => push_key(pointer, key),
        // Neither is a place of its own in the JSON.
        Segment::Enum { .. } | Segment::Unknown => {}
    }
}

/// Appends a reference token (RFC 6901, 3).
fn push_key(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

fn quoted_after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.split('`').next()
}

fn without_position(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use deia_model::NewTask;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Batch {
        tasks: Vec<Object<NewTask>>,
    }

    #[test]
    fn invalid_bodies_are_refused_with_the_pointer() {
        for (body, expected) in [
            (r#"{"tasks":[{"type":"general"}]}"#, "/tasks/0/content"),
            (
                r#"{"tasks":[{"type":"general","content":1}]}"#,
                "/tasks/0/content",
            ),
            (
                r#"{"tasks":[{"type":"a b","content":""}]}"#,
                "/tasks/0/type",
            ),
            (
                r#"{"tasks":[{"type":"a","content":"","prio":1}]}"#,
                "/tasks/0/prio",
            ),
            (
                r#"{"tasks":[{"type":"a","content":"","tags":["x",2]}]}"#,
                "/tasks/0/tags/1",
            ),
            (
                r#"{"tasks":[{"type":"a","content":"","max_attempts":-1}]}"#,
                "/tasks/0/max_attempts",
            ),
            (
                r#"{"tasks":[{"type":"a","content":"","priority":"P9"}]}"#,
                "/tasks/0/priority",
            ),
            (
                r#"{"tasks":[{"type":"a","content":"","priority":0}]}"#,
                "/tasks/0/priority",
            ),
            (r#"{"tasks":7}"#, "/tasks"),
            (r#"{"tasks":[],"a/b~c":1}"#, "/a~1b~0c"),
            (r#"{}"#, "/tasks"),
            (r#"[]"#, ""),
            (r#"[[]]"#, ""),
            (r#"{"tasks":[["general","x"]]}"#, "/tasks/0"),
            (r#"3"#, ""),
        ] {
            let problem = decode::<Batch>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), Code::InvalidInput, "{body}");
            let response = format!("{problem:?}");
            assert!(
                response.contains(&format!("pointer: {expected:?}")),
                "{body}: {response}"
            );
        }
    }

    #[test]
    fn malformed_json_has_a_code_of_its_own() {
        for body in ["", "{", "hello", "{} {}", "\u{1}", "{\"tasks\":[]"] {
            let problem = decode::<Batch>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), Code::MalformedJson, "{body}");
        }
        assert_eq!(
            decode::<Batch>(b"{\"tasks\":[{\"content\":\"\xff\"}]}")
                .unwrap_err()
                .code(),
            Code::MalformedJson
        );
        let deep = "[".repeat(100_000);
        assert_eq!(
            decode::<serde_json::Value>(deep.as_bytes())
                .unwrap_err()
                .code(),
            Code::MalformedJson
        );
    }

    #[test]
    fn media_types_of_json() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.deia+json", true),
            ("text/plain", false),
            ("application/jsonx", false),
            ("", false),
        ] {
            assert_eq!(is_json(value.as_bytes()), expected, "{value}");
        }
    }
}
