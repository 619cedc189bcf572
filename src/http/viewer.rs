//! Pages for people: one that shows the OpenAPI document, and one at `/` that points to
//! it.
//!
//! Both are open, as a browser has no key to send when it opens an address, and have
//! nothing of the hive in them. The first asks for a key, keeps it in memory, and reads
//! `/api/openapi.json` with it. It loads nothing from elsewhere: style and script are in
//! the page, and its policy allows these two and no others.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        ACCEPT, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, VARY,
    },
};
use deia_hive::Hive;
use ring::digest::{SHA256, digest};

use crate::http::{
    body::answer::{Answer, with_header},
    operation::describe,
};

const STYLE: &str = include_str!("viewer/page.css");
const SCRIPT: &str = include_str!("viewer/page.js");
const PAGE: &str = include_str!("viewer/page.html");
const FRONT: &str = include_str!("viewer/front.html");
const HTML: &str = "text/html; charset=utf-8";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    PAGE.replace("/*STYLE*/", STYLE)
        .replace("/*SCRIPT*/", SCRIPT)
});

static FRONT_DOCUMENT: LazyLock<String> = LazyLock::new(|| FRONT.replace("/*STYLE*/", STYLE));

static FRONT_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        source(STYLE)
    )
});

static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source(SCRIPT),
        source(STYLE)
    )
});

/// Returns the source of an inline script or style in a policy (CSP 3, section 2.3.1).
fn source(text: &str) -> String {
    let sum = digest(&SHA256, text.as_bytes());
    format!("sha256-{}", data_encoding::BASE64.encode(sum.as_ref()))
}

describe! { page:
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
}
pub(crate) async fn page(_: Hive) -> Answer {
    html(&DOCUMENT, &POLICY)
}

/// Answers a browser that opens the address of the hive.
pub(crate) async fn front(_: Hive) -> Answer {
    let answer = html(&FRONT_DOCUMENT, &FRONT_POLICY)?;
    with_header(answer, VARY, "accept")
}

/// Returns whether a request at `/` is that of a browser, which asks for a page.
pub(crate) fn is_for_front(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT);
    let mut types = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim());
    request.path() == "/"
        && request.method().is_safe()
        && types.any(|it| it.eq_ignore_ascii_case("text/html"))
}

fn html(document: &'static str, policy: &str) -> Answer {
    let answer = HttpResponse::Ok()
        .content_type(HTML)
        .insert_header((REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
        .insert_header((OPENER_POLICY, HeaderValue::from_static("same-origin")))
        .body(document);
    with_header(answer, CONTENT_SECURITY_POLICY, policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_small_and_load_nothing() {
        let both = format!("{}{}", *DOCUMENT, *FRONT_DOCUMENT);
        assert!(both.len() < 50_000, "{} bytes", both.len());
        for word in [
            "http://",
            "https://",
            "src=",
            "@import",
            "url(",
            "innerHTML",
            "eval(",
            "Storage",
            "cookie",
        ] {
            assert!(!both.contains(word), "{word}");
        }
        for slot in ["/*STYLE*/", "/*SCRIPT*/"] {
            assert_eq!(PAGE.matches(slot).count(), 1, "{slot}");
        }
        // Otherwise the hashes would not be those of the text that the browser sees.
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }
}
