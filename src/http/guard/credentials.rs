//! The credentials of a request. Pure: nothing is looked up here.

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use crate::http::body::{catalogue::Code, problem::Problem};

/// The cookie of a session. With this prefix browsers take it over a trustworthy
/// connection only, from this very host, and for all of its paths (RFC 6265bis,
/// 4.1.3.2).
pub(crate) const SESSION_COOKIE: &str = "__Host-deia";

/// The credentials of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    /// A single `Authorization: Bearer` header: a key, or a token of an issuer.
    Bearer(&'a str),
    /// The cookie of a web session.
    Session(&'a str),
    /// None. The connection may still have a client certificate.
    Nothing,
}

/// Returns the credentials in these headers. Credentials in another place, or repeated,
/// do not count.
///
/// An `Authorization` header, even an invalid one, overrides the cookie: a browser adds
/// the cookie by itself, the header never.
pub(crate) fn of(headers: &HeaderMap) -> Result<Credentials<'_>, Problem> {
    if headers.contains_key(AUTHORIZATION) {
        return bearer(headers).map(Credentials::Bearer);
    }
    let mut cookies = session_cookies(headers);
    match (cookies.next(), cookies.next()) {
        (Some(cookie), None) => Ok(Credentials::Session(cookie)),
        (Some(_), Some(_)) => Err(missing("the request has more than one session cookie")),
        (None, _) => Ok(Credentials::Nothing),
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION);
    let value = values.next().and_then(|value| value.to_str().ok());
    if values.next().is_some() {
        return Err(missing(
            "the request has more than one Authorization header",
        ));
    }
    let (scheme, text) = value
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| missing("the Authorization header is not of the form Bearer <key>"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing(
            "the Authorization header is not of the scheme Bearer",
        ));
    }
    Ok(text.trim())
}

/// HTTP/2 may split `Cookie` into several fields. Only our own cookie has to be text:
/// bytes in other cookies must not hide it. A session cookie that is not text is no
/// session.
fn session_cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let fields = headers.get_all(COOKIE);
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..equals].trim_ascii(), &pair[equals + 1..]);
        let ours = name == SESSION_COOKIE.as_bytes();
        ours.then(|| std::str::from_utf8(value.trim_ascii()).unwrap_or_default())
    })
}

/// Reports missing credentials.
pub(crate) fn missing(why: &'static str) -> Problem {
    Problem::new(Code::KeyMissing, why)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn foreign_cookies_in_other_encodings_hide_no_session() {
        for (field, expected) in [
            (&b"a=\xff; __Host-deia=s"[..], Credentials::Session("s")),
            (b"__Host-deia=s; \xe4=\xfc", Credentials::Session("s")),
            (b"__Host-deia=\xff", Credentials::Session("")),
            (b"a=\xff", Credentials::Nothing),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
            assert_eq!(of(&headers).unwrap(), expected, "{field:?}");
        }
    }

    #[test]
    fn repeated_and_mixed_credentials_are_refused() {
        use Credentials::{Bearer, Nothing, Session};
        for (fields, expected) in [
            (&[(AUTHORIZATION, "Bearer abc")][..], Some(Bearer("abc"))),
            (&[(AUTHORIZATION, "bearer  abc ")], Some(Bearer("abc"))),
            (&[(AUTHORIZATION, "Basic abc")], None),
            (&[(AUTHORIZATION, "abc")], None),
            (&[(AUTHORIZATION, "")], None),
            (&[], Some(Nothing)),
            (
                &[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")],
                None,
            ),
            (&[(COOKIE, "__Host-deia=s")], Some(Session("s"))),
            (&[(COOKIE, "a=b; __Host-deia=s; c=d")], Some(Session("s"))),
            (
                &[(COOKIE, "a=b"), (COOKIE, "__Host-deia=s")],
                Some(Session("s")),
            ),
            (&[(COOKIE, "deia=s")], Some(Nothing)),
            (&[(COOKIE, "__host-deia=s")], Some(Nothing)),
            (
                &[(COOKIE, "x__Host-deia=s; __Host-deia-2=t")],
                Some(Nothing),
            ),
            (&[(COOKIE, "__Host-deia=s; __Host-deia=t")], None),
            (
                &[(COOKIE, "__Host-deia=s"), (COOKIE, "__Host-deia=s")],
                None,
            ),
            (
                &[(COOKIE, "__Host-deia=s"), (AUTHORIZATION, "Bearer k")],
                Some(Bearer("k")),
            ),
            (
                &[(COOKIE, "__Host-deia=s"), (AUTHORIZATION, "Basic k")],
                None,
            ),
            (&[(COOKIE, "__Host-deia=s"), (AUTHORIZATION, "")], None),
        ] {
            let headers = headers(fields);
            match (of(&headers), expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{fields:?}"),
                (Err(problem), None) => assert_eq!(problem.code(), Code::KeyMissing),
                (found, _) => panic!("{fields:?}: {found:?}"),
            }
        }
    }
}
