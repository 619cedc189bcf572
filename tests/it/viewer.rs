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

#[actix_rt::test]
async fn a_browser_at_the_root_gets_a_page_and_programs_get_json() {
    let app = TestApp::start().await;
    let accept = |accept: &str| app.request(Method::GET, "/").header("accept", accept);
    let browser = accept("text/html,application/xhtml+xml,*/*;q=0.8");
    let answer = browser.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("vary"), "accept");
    let policy = header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("script"),
        "{policy}"
    );
    let text = answer.text().await.unwrap();
    for part in ["href=\"/api/docs\"", "admin.key", "deia key create"] {
        assert!(text.contains(part), "{text}");
    }
    let dir = app.data_dir().display().to_string();
    assert!(!text.contains(&dir), "strangers learn no path");
    for of_programs in ["*/*", "application/json"] {
        let answer = app.send(accept(of_programs)).await;
        answer.refuses(401, "key_missing");
    }
    let elsewhere = app.request(Method::GET, "/nowhere");
    let elsewhere = elsewhere.header("accept", "text/html");
    app.send(elsewhere).await.refuses(401, "key_missing");
}
