//! Answers that clients may keep, with an `ETag` of their bytes.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY},
};
use ring::digest::{SHA256, digest};

use crate::http::body::answer::{Answer, with_header};

/// Bytes of an `ETag`, of the hash of the answer. Fact: 128 bits of a hash are enough
/// that no two answers share one.
const TAG_BYTES: usize = 16;

/// An answer that clients may keep.
pub(crate) struct Cacheable {
    pub(crate) content_type: &'static str,
    pub(crate) cache_control: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Returns the answer, or 304 if the client has it already (RFC 9110, section 13.1.2).
pub(crate) fn cached(request: &HttpRequest, answer: Cacheable) -> Answer {
    let sum = digest(&SHA256, &answer.bytes);
    let tag = format!("\"{}\"", hex(&sum.as_ref()[..TAG_BYTES]));
    let response = match has(request.headers(), &tag) {
        true => HttpResponse::NotModified().finish(),
        false => HttpResponse::Ok()
            .content_type(HeaderValue::from_static(answer.content_type))
            .body(answer.bytes),
    };
    let response = with_header(response, CACHE_CONTROL, answer.cache_control)?;
    // Another caller with the same cache may not have access.
    let response = with_header(response, VARY, "authorization, cookie")?;
    with_header(response, ETAG, &tag)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Returns whether the client has the answer with that tag. Tags are compared weakly, as for
/// `If-None-Match`; a header that cannot be read names none.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use actix_web::{http::StatusCode, test::TestRequest};

    use super::*;

    fn answer(known: &[&str]) -> HttpResponse {
        let mut request = TestRequest::get();
        for tag in known {
            request = request.append_header((IF_NONE_MATCH, *tag));
        }
        let answer = Cacheable {
            content_type: "text/plain",
            cache_control: "no-cache",
            bytes: b"hello".to_vec(),
        };
        cached(&request.to_http_request(), answer).unwrap()
    }

    #[test]
    fn known_answers_are_not_sent_again() {
        let first = answer(&[]);
        let tag = first.headers().get(ETAG).unwrap().to_str().unwrap();
        assert_eq!(tag, "\"2cf24dba5fb0a30e26e83b2ac5b9e29e\"");
        let weak = format!("W/{tag}");
        let among = format!("\"other\" , {tag}");
        for (known, expected) in [
            (&[tag][..], StatusCode::NOT_MODIFIED),
            (&[&weak], StatusCode::NOT_MODIFIED),
            (&[&among], StatusCode::NOT_MODIFIED),
            (&["\"other\"", tag], StatusCode::NOT_MODIFIED),
            (&["*"], StatusCode::NOT_MODIFIED),
            (&["\"other\""], StatusCode::OK),
            (&["2cf24dba5fb0a30e26e83b2ac5b9e29e"], StatusCode::OK),
            (&[""], StatusCode::OK),
        ] {
            let answer = answer(known);
            assert_eq!(answer.status(), expected, "{known:?}");
            assert_eq!(answer.headers().get(ETAG).unwrap(), tag);
            assert_eq!(answer.headers().get(CACHE_CONTROL).unwrap(), "no-cache");
        }
    }
}
