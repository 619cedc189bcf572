//! Protection against cross-site requests: a request with a session cookie must come from
//! a page of the same origin. Pure.

use actix_web::http::{
    Method,
    header::{HOST, HeaderMap, HeaderName, ORIGIN},
};
use subtle::ConstantTimeEq;

/// The token that a page of the session sends with each request that changes something.
pub(crate) const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns the reason why a request is not taken as one of a page of the session;
/// `expected` is the token of the session.
///
/// Reads may come from anywhere on this site, or from the address bar. Changes need the
/// token, and an `Origin` or a `Sec-Fetch-Site` of this site: browsers send these
/// headers, and pages cannot set them.
pub(crate) fn fault(
    method: &Method,
    headers: &HeaderMap,
    host: Option<&str>,
    expected: &str,
) -> Option<&'static str> {
    let site = single(headers, &FETCH_SITE);
    if method.is_safe() {
        return match site {
            One("same-origin" | "none") | Nothing => None,
            _ => Some("it comes from a page of another site"),
        };
    }
    let from_here = match (site, single(headers, &ORIGIN)) {
        (One("same-origin"), Nothing) => true,
        (One("same-origin") | Nothing, One(origin)) => is_origin_of(origin, host),
        _ => false,
    };
    if !from_here {
        return Some(
            "neither Origin nor Sec-Fetch-Site says that it comes from a page of this hive",
        );
    }
    let same = match single(headers, &CSRF_TOKEN) {
        One(token) => bool::from(token.as_bytes().ct_eq(expected.as_bytes())),
        _ => false,
    };
    (!same).then_some("it does not have the X-CSRF-Token of the session")
}

enum Single<'a> {
    Nothing,
    One(&'a str),
    Strange,
}

use Single::{Nothing, One, Strange};

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Single<'a> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Nothing,
        (Some(value), None) => value.to_str().map_or(Strange, One),
        (Some(_), Some(_)) => Strange,
    }
}

/// Returns whether a page of that origin was served by that host.
fn is_origin_of(origin: &str, host: Option<&str>) -> bool {
    let authority = ["https://", "http://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Returns the host that a request was sent to.
pub(crate) fn host(headers: &HeaderMap, authority: Option<&str>) -> Option<String> {
    match single(headers, &HOST) {
        One(host) => Some(host.to_owned()),
        Nothing => authority.map(str::to_owned),
        Strange => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn only_pages_of_the_session_pass() {
        let token = ("x-csrf-token", "t");
        let here = ("origin", "http://127.0.0.1:8000");
        let same = ("sec-fetch-site", "same-origin");
        for (method, fields, taken) in [
            ("GET", &[][..], true),
            ("GET", &[same], true),
            ("GET", &[("sec-fetch-site", "none")], true),
            ("HEAD", &[("sec-fetch-site", "cross-site")], false),
            ("GET", &[("sec-fetch-site", "same-site")], false),
            ("GET", &[("sec-fetch-site", "x")], false),
            ("POST", &[token, here], true),
            ("POST", &[token, same], true),
            ("DELETE", &[token, here, same], true),
            ("POST", &[token, ("origin", "HTTP://127.0.0.1:8000")], false),
            ("POST", &[token, ("origin", "https://127.0.0.1:8000")], true),
            ("POST", &[token], false),
            ("POST", &[here, same], false),
            ("POST", &[("x-csrf-token", "u"), here], false),
            ("POST", &[("x-csrf-token", ""), here], false),
            ("POST", &[token, token, here], false),
            ("POST", &[token, ("origin", "null")], false),
            ("POST", &[token, ("origin", "http://127.0.0.1:8001")], false),
            ("POST", &[token, ("origin", "http://127.0.0.1")], false),
            ("POST", &[token, ("origin", "http://evil.example")], false),
            (
                "POST",
                &[token, ("origin", "http://127.0.0.1:8000.evil.example")],
                false,
            ),
            ("POST", &[token, here, here], false),
            (
                "POST",
                &[token, here, ("sec-fetch-site", "cross-site")],
                false,
            ),
            ("PUT", &[token, ("sec-fetch-site", "none")], false),
            ("PATCH", &[token, ("sec-fetch-site", "same-site")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = fault(&method, &headers, Some("127.0.0.1:8000"), "t");
            assert_eq!(found.is_none(), taken, "{method} {fields:?}: {found:?}");
            if !method.is_safe() {
                assert!(fault(&method, &headers, None, "t").is_some() || fields == [token, same]);
            }
        }
    }
}
