//! A page that shows the description of the API to people.
//!
//! The page is open, as a browser has no key to send when it opens an address;
//! nothing of the hive is in it. It asks for a key, keeps it in memory, and reads
//! `/api/openapi.json` with it. It loads nothing from elsewhere: style and script
//! are in the page, and its policy allows these two and no others.

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY},
};
use deia_hive::Hive;
use ring::digest::{SHA256, digest};

use super::route::{Answer, with_header};

const STYLE: &str = include_str!("viewer/page.css");
const SCRIPT: &str = include_str!("viewer/page.js");
const PAGE: &str = include_str!("viewer/page.html");
const HTML: &str = "text/html; charset=utf-8";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    PAGE.replace("/*STYLE*/", STYLE)
        .replace("/*SCRIPT*/", SCRIPT)
});

static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source(SCRIPT),
        source(STYLE)
    )
});

/// How a policy names an inline script or style (CSP 3, section 2.3.1).
fn source(text: &str) -> String {
    let sum = digest(&SHA256, text.as_bytes());
    format!("sha256-{}", data_encoding::BASE64.encode(sum.as_ref()))
}

#[utoipa::path(
    get, path = "/api/docs", tag = "meta", operation_id = "get_docs",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
    security()
)]
/// Shows the description of the API in a browser.
pub(super) async fn page(_: Hive) -> Answer {
    let answer = HttpResponse::Ok()
        .content_type(HTML)
        .insert_header((REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
        .insert_header((OPENER_POLICY, HeaderValue::from_static("same-origin")))
        .body(DOCUMENT.as_str());
    with_header(answer, CONTENT_SECURITY_POLICY, &POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_loads_nothing() {
        assert!(DOCUMENT.len() < 40_000, "{} bytes", DOCUMENT.len());
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
            assert!(!DOCUMENT.contains(word), "{word}");
        }
        for slot in ["/*STYLE*/", "/*SCRIPT*/"] {
            assert_eq!(PAGE.matches(slot).count(), 1, "{slot}");
        }
        // Else the sums would be of something else than what the browser sees.
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }
}
