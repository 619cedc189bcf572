//! The page that shows the API.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};

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

/// Returns what stands in the text from `begin` on, before `end`.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let from = text.find(begin).unwrap();
    let to = text[from..].find(end).unwrap();
    &text[from..from + to]
}

#[actix_rt::test]
async fn bodies_that_the_page_fills_in_are_accepted() {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("skipped: node is not installed");
        return;
    }
    let app = TestApp::start().await;
    let page = app.request(Method::GET, "/api/docs").send().await.unwrap();
    let page = page.text().await.unwrap();
    let api = app.get("/api/openapi.json").await.is(200).body;
    let routes = [
        ("post", "/api/v1/tasks/submit", 202),
        ("post", "/api/v1/tasks/batch", 202),
        ("post", "/api/v1/users", 201),
        ("post", "/api/v1/auth/keys", 201),
        ("post", "/api/v1/auth/can-i", 200),
        ("post", "/api/v1/queue/pause", 200),
    ];
    let paths = routes.map(|(method, path, _)| [path, method]);
    let script = format!(
        "const DEPTH = 6; const api = {api};
        {resolve} {example}
        const schema = ([path, method]) =>
            Object.values(api.paths[path][method].requestBody.content)[0].schema;
        console.log(JSON.stringify({paths}.map((route) => example(schema(route)))));",
        resolve = between(&page, "const resolve =", "const refName ="),
        example = between(&page, "const example =", "const call ="),
        paths = json!(paths),
    );
    let mut node = Command::new("node")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    let said = node.wait_with_output().unwrap().stdout;
    let bodies: Vec<Value> = serde_json::from_slice(&said).unwrap();
    for ((_, path, status), body) in routes.into_iter().zip(&bodies) {
        let answer = app.post(path, body).await;
        assert_eq!(answer.status, status, "{path} {body}: {:#}", answer.body);
    }
}
