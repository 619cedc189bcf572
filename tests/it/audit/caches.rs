//! Answers that clients keep.

use reqwest::{Method, Response};
use serde_json::json;

use super::{LOG, append, settled};
use crate::support::TestApp;

async fn get(app: &TestApp, below: &str, tag: Option<&str>) -> Response {
    let mut request = app.request_as(&app.admin, Method::GET, &format!("{LOG}/{below}"));
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    request.send().await.unwrap()
}

fn header<'r>(answer: &'r Response, name: &str) -> &'r str {
    let value = answer.headers().get(name).map(|it| it.to_str().unwrap());
    value.unwrap_or_default()
}

#[actix_rt::test]
async fn tiles_are_kept_and_checkpoints_are_asked_for_again() {
    let app = TestApp::start().await;
    settled(&app).await;
    let forever = "private, max-age=31536000, immutable";
    for (below, content_type, kept) in [
        ("checkpoint", "text/plain; charset=utf-8", "no-cache"),
        ("tile/0/000.p/1", "application/octet-stream", forever),
        ("tile/entries/000.p/1", "application/octet-stream", forever),
    ] {
        let first = get(&app, below, None).await;
        assert_eq!(first.status(), 200, "{below}");
        assert_eq!(header(&first, "content-type"), content_type);
        assert_eq!(header(&first, "cache-control"), kept);
        assert_eq!(header(&first, "vary"), "authorization, cookie");
        let tag = header(&first, "etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        assert!(!first.bytes().await.unwrap().is_empty());

        let again = get(&app, below, Some(&tag)).await;
        assert_eq!(again.status(), 304, "{below}");
        assert_eq!(header(&again, "etag"), tag);
        assert_eq!(header(&again, "cache-control"), kept);
        assert!(again.bytes().await.unwrap().is_empty());
        assert_eq!(get(&app, below, Some("\"other\"")).await.status(), 200);
    }
    let before = get(&app, "checkpoint", None).await;
    let tag = header(&before, "etag").to_owned();
    append(&app, "ext.deploy", "release 7", json!({})).await;
    settled(&app).await;
    let after = get(&app, "checkpoint", Some(&tag)).await;
    assert_eq!(after.status(), 200);
    assert_ne!(header(&after, "etag"), tag);
}
