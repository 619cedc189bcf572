//! The page that shows the API.

use reqwest::Method;

use crate::support::TestApp;

#[actix_rt::test]
async fn the_page_is_open_and_may_load_nothing() {
    let app = TestApp::start().await;
    let answer = app.request(Method::GET, "/api/docs").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("referrer-policy"), "no-referrer");
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = answer.text().await.unwrap();
    assert!(text.contains("/api/openapi.json"));
    assert!(
        !text.contains("/api/v1/tasks"),
        "nothing of the API itself is in it"
    );
    // The description that it shows is for callers with a key.
    let closed = app.request(Method::GET, "/api/openapi.json");
    app.send(closed).await.refuses(401, "key_missing");
}
