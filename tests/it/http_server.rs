//! The server as a whole: probes, headers, limits, start and stop.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, command, silent, task};

#[tokio::test]
async fn probes_answer_anybody() {
    let app = TestApp::start().await;
    for (path, status) in [
        ("/livez", "alive"),
        ("/readyz", "ready"),
        ("/health", "ready"),
    ] {
        let answer = app.send(app.request(Method::GET, path)).await.is(200);
        assert_eq!(answer.body, json!({"status": status}));
    }
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let app = TestApp::start().await;
    for (path, key, budget) in [
        ("/livez", "", "\"probe\""),
        ("/api/v1/tasks", "", "\"address\""),
        ("/api/v1/tasks", &*app.admin, "\"read\""),
        ("/no/such/route", &*app.admin, "\"read\""),
    ] {
        let request = app
            .request_as(key, Method::GET, path)
            .header("X-Request-Id", "mine-1");
        let answer = app.send(request).await;
        assert_eq!(answer.header("x-request-id"), "mine-1");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("strict-transport-security", ""),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
        for header in ["ratelimit-policy", "ratelimit"] {
            assert!(
                answer.header(header).starts_with(budget),
                "{path}: {answer:#?}"
            );
        }
        let request = app
            .request_as(key, Method::GET, path)
            .header("X-Request-Id", "not usable");
        assert!(
            app.send(request)
                .await
                .header("x-request-id")
                .starts_with("req-")
        );
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_apart() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/api",
        "/api/v1/tasks/",
        "/api/v2/tasks",
        "/api/v1/tasks/a/b/c",
    ] {
        app.get(path).await.refuses(404, "route_not_found");
    }
    for (method, path, allow) in [
        ("DELETE", "/api/v1/tasks", "GET, HEAD"),
        ("GET", "/api/v1/tasks/submit", "POST"),
        ("PATCH", "/api/v1/bots/b", "GET, HEAD, PUT, DELETE"),
        ("PUT", "/api/v1/auth/keys", "GET, HEAD, POST"),
        ("POST", "/livez", "GET, HEAD"),
    ] {
        let request = app.request_as(&app.admin, method.parse().unwrap(), path);
        let refused = app.send(request).await.refuses(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), allow, "{method} {path}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("it has {allow}")), "{detail}");
    }
    let head = app.request_as(&app.admin, Method::HEAD, "/api/v1/tasks");
    assert_eq!(app.send(head).await.is(200).body, Value::Null);
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.read.per_second=1",
        "limits.read.burst=5",
        "limits.address.per_second=1",
        "limits.address.burst=5",
    ])
    .await;
    for key in ["not a key", &*app.admin] {
        let mut refused = None;
        for _ in 0..20 {
            let answer = app.get_as(key, "/api/v1/auth/whoami").await;
            if answer.status == 429 {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.unwrap().refuses(429, "rate_limited");
        assert_eq!(refused.header("retry-after"), "1");
        assert!(
            refused.header("ratelimit").contains(";r=0;"),
            "{refused:#?}"
        );
    }
    let probe = app.request(Method::GET, "/livez");
    assert_ne!(
        app.send(probe).await.status,
        401,
        "probes have a budget of their own"
    );
}

#[tokio::test]
async fn the_catalogue_of_errors_is_served() {
    let app = TestApp::start().await;
    let catalogue = app.get("/api/errors").await.is(200).body;
    for entry in catalogue["items"].as_array().unwrap() {
        let path = format!("/api/errors/{}", entry["code"].as_str().unwrap());
        assert_eq!(app.get(&path).await.is(200).body, *entry);
    }
    let document = app.get("/api/openapi.json").await.is(200).body;
    let same = document == deia::http::openapi::document().unwrap();
    assert!(same, "it serves the description of its own routes");
}

#[tokio::test]
async fn a_second_hive_in_the_same_place_is_refused() {
    let app = TestApp::start().await;
    let out = command(app.data_dir(), &[]).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains("in use") && said.contains("--data-dir"),
        "{said}"
    );
    app.get("/api/v1/auth/whoami").await.is(200);

    let out = command(app.data_dir(), &[]).arg("check").output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("a hive runs in"), "{said}");
}

#[tokio::test]
async fn a_stop_that_is_asked_for_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut app = TestApp::start_in(&data, &["bots.seed=[]", "server.drain_timeout=1s"]).await;
    let mode = |name: &str| data.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("admin.key"), mode("")), (0o600, 0o700));
    app.bot("silent", silent(), &[]).await;
    let id = app.submit(&task("x")).await;
    let status = format!("/api/v1/tasks/{id}/status");
    app.until("it runs", async |app| {
        app.get(&status).await.body["status"] == "running"
    })
    .await;
    // A long poll does not hold up the stop: it is answered long before its own end.
    let wait = Duration::from_secs(50);
    let poll = app.request_as(
        &app.admin,
        Method::GET,
        &format!("/api/v1/tasks/{id}/result?wait_ms={}", wait.as_millis()),
    );
    let poll = tokio::spawn(poll.send());
    app.until_in_hand(1).await;
    let begun = Instant::now();
    let stopped = app.stop();
    assert_eq!(stopped.code(), Some(0), "{}", app.log());
    assert!(begun.elapsed() < wait / 2, "it waited for the poll");
    let answer = poll.await.unwrap().expect("the poll is answered");
    assert!([409, 503].contains(&answer.status().as_u16()), "{answer:?}");

    let app = TestApp::start_in(&data, &[]).await;
    let status = app.get("/api/v1/system/status").await.is(200).body;
    assert_eq!(status["previous_shutdown_clean"], true);
    let given_back = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_ne!(given_back["status"], "completed");
    drop(app);
    let app = TestApp::start_in(&data, &[]).await;
    let status = app.get("/api/v1/system/status").await.is(200).body;
    assert_eq!(status["previous_shutdown_clean"], false, "it was killed");
}

#[test]
fn what_stops_a_start_is_told_in_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let inside = file.join("data");
    let missing = dir.path().join("missing.yaml");
    let garbage = dir.path().join("garbage");
    fs::create_dir(&garbage).unwrap();
    fs::write(garbage.join("deia.db"), "this is no database".repeat(100)).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (free, data_arg, missing) = ("127.0.0.1:0".to_owned(), text(&data), text(&missing));
    let (inside, garbage_arg) = (text(&inside), text(&garbage));
    let cases = [
        (
            vec!["--set", "server.workers=300"],
            &free,
            &data_arg,
            "server.workers: 300 is not allowed",
        ),
        (
            vec!["--set", "server.colour=red"],
            &free,
            &data_arg,
            "--set server.colour: no such setting",
        ),
        (
            vec!["--set", "logging.filter=a=b=c"],
            &free,
            &data_arg,
            "logging.filter",
        ),
        (vec!["--config", &missing], &free, &data_arg, "missing.yaml"),
        (vec![], &taken, &data_arg, "cannot listen on"),
        (vec![], &free, &inside, "file/data"),
        (vec![], &free, &garbage_arg, "deia.db"),
    ];
    for (more, bind, data_dir, expected) in &cases {
        for check in [false, true] {
            let mut run = Command::new(env!("CARGO_BIN_EXE_deia"));
            run.current_dir(dir.path())
                .args(["--bind", bind, "--data-dir", data_dir]);
            let out = run
                .args(more)
                .args(check.then_some("check"))
                .output()
                .unwrap();
            let (text, other) = match check {
                true => (out.stdout, out.stderr),
                false => (out.stderr, out.stdout),
            };
            let said = String::from_utf8(text).unwrap();
            let of_settings = !more.is_empty() && !check;
            let code = if of_settings { 2 } else { 1 };
            assert_eq!(out.status.code(), Some(code), "{expected}: {said}");
            assert!(said.contains(expected), "{expected}: {said}");
            assert!(
                !said.contains("panicked") && other.is_empty(),
                "{expected}: {said}"
            );
        }
    }
    assert!(
        !data.exists() || !data.join("deia.db").exists(),
        "nothing was started"
    );
}

#[test]
fn a_check_that_finds_nothing_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let out = command(&data, &[]).arg("check").output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.lines().all(|line| line.starts_with("ok ")), "{said}");
    assert!(!data.exists());
    for (args, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["--sing"], 2),
        (&["--set", "x"], 2),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_deia"))
            .args(args)
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(code), "{args:?}");
    }
}
