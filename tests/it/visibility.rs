//! Visibility of tasks: the tasks of another user are as if they did not exist.

use std::collections::{BTreeMap, BTreeSet};

use deia::http::table;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp, silent, task, upper};

const ABSENT: &str = "task_01h455vb4pex5vsknk084sn02q";

/// Everything that can be asked about one task: every method on every path of the
/// route table that names a task, also those that the path does not have.
fn about_a_task() -> Vec<(&'static str, String)> {
    let paths: BTreeSet<_> = table()
        .iter()
        .filter_map(|route| route.path.strip_prefix("/api/v1/tasks/{id}"))
        .map(str::to_owned)
        .chain(["/result?wait_ms=800", "/output?follow=false"].map(str::to_owned))
        .collect();
    assert!(paths.len() > 9, "{paths:?}");
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    let all = paths
        .iter()
        .flat_map(|path| methods.map(|method| (method, path.clone())));
    all.collect()
}

/// Asks under a name that is the same each time, so that answers can be compared.
async fn ask(app: &TestApp, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = app
        .request_as(key, method, path)
        .header("X-Request-Id", "same");
    let request = match body {
        Value::Null => request,
        body => request.json(body),
    };
    app.send(request).await
}

/// An answer without what differs between any two, and with `id` as `ID`.
fn comparable(answer: &Answer, id: &str) -> (u16, BTreeMap<String, String>, String) {
    let names = answer.headers.iter();
    let names = names.filter(|(name, _)| !["date", "ratelimit"].contains(&name.as_str()));
    let headers = names.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
    let body = answer.body.to_string().replace(id, "ID");
    (answer.status, headers.collect(), body)
}

/// Returns the report of a worker, for a route that takes one.
fn report(method: &str, rest: &str) -> Value {
    let more = match (method, rest) {
        ("POST", "/heartbeat" | "/complete") => json!({}),
        ("POST", "/fail") => json!({"error": "x"}),
        ("POST", "/output") => json!({"offset": 0, "text": "x"}),
        _ => return Value::Null,
    };
    let mut report = json!({"attempt": 1, "lease_token": "lease_01h455vb4pex5vsknk084sn02q"});
    let fields = report.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    report
}

/// Every route about a task says the same of this one as of one that is not there:
/// that there is none, but for what the caller may do to no task at all.
async fn is_as_if_absent(app: &TestApp, key: &str, id: &str, never: &[&str]) {
    for (method, rest) in about_a_task() {
        // Reports have no parameters.
        let rest = match (method, rest.split_once('?')) {
            ("POST", Some((path, _))) => path.to_owned(),
            _ => rest,
        };
        let about = |id: &str| format!("/api/v1/tasks/{id}{rest}");
        let body = report(method, &rest);
        let hidden = ask(app, key, method, &about(id), &body).await;
        let absent = ask(app, key, method, &about(ABSENT), &body).await;
        let expected = match never.contains(&rest.as_str()) {
            true => &[403, 405][..],
            // Only bots report about tasks, each about its own.
            false if body != Value::Null => &[403, 404],
            false => &[404, 405],
        };
        assert!(
            expected.contains(&hidden.status),
            "{method} {rest}: {hidden:?}"
        );
        let (hidden, absent) = (comparable(&hidden, id), comparable(&absent, ABSENT));
        assert_eq!(hidden, absent, "{method} {rest}");
    }
    let may = |id: &str| json!({"permission": "task:read", "task": id});
    let hidden = ask(app, key, "POST", "/api/v1/auth/can-i", &may(id))
        .await
        .is(200);
    assert_eq!(hidden.body["allowed"], false);
    let absent = ask(app, key, "POST", "/api/v1/auth/can-i", &may(ABSENT)).await;
    assert_eq!(comparable(&hidden, id), comparable(&absent, ABSENT));
}

async fn ids(app: &TestApp, key: &str, path: &str) -> Vec<String> {
    let list = app.get_as(key, path).await.is(200).body;
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn submit_as(app: &TestApp, key: &str, body: &Value) -> String {
    let accepted = app.post_as(key, "/api/v1/tasks/submit", body).await.is(202);
    accepted.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tasks_of_another_user_are_as_if_they_were_not_there() {
    let app = TestApp::start().await;
    app.bot("up", upper(), &["general"]).await;
    app.bot(
        "no",
        json!({"kind": "command", "command": ["false"]}),
        &["fails"],
    )
    .await;
    let (ada, eve) = (
        app.key("ada", "external").await,
        app.key("eve", "external").await,
    );
    let done = submit_as(&app, &ada, &task("ada's")).await;
    let once = json!({"type": "fails", "content": "ada's", "max_attempts": 1,
        "tags": ["secret"], "dedup_key": "one"});
    let failed = submit_as(&app, &ada, &once).await;
    let waiting = submit_as(&app, &ada, &json!({"type": "nobody", "content": "ada's"})).await;
    for id in [&done, &failed] {
        app.result(id).await;
        is_as_if_absent(&app, &eve, id, &["/logs"]).await;
    }
    is_as_if_absent(&app, &eve, &waiting, &["/logs"]).await;

    // Neither lists nor filters nor pages tell of them.
    for query in [
        "",
        "?submitter=ada",
        "?status=failed",
        "?status=completed",
        "?status=queued",
        "?status=running",
        "?status=cancelled",
        "?tag=secret",
        "?type=fails",
        "?dedup_key=one",
        "?bot=up",
        "?limit=1",
    ] {
        for list in ["/api/v1/tasks", "/api/v1/queue/dead"] {
            if list.ends_with("dead") && query.starts_with("?status") {
                continue;
            }
            let answer = app.get_as(&eve, &format!("{list}{query}")).await.is(200);
            assert_eq!(answer.body["items"], json!([]), "{list}{query}");
            assert_eq!(answer.body["next_cursor"], Value::Null, "{list}{query}");
        }
    }
    assert_eq!(ids(&app, &ada, "/api/v1/tasks").await.len(), 3);
    assert_eq!(
        ids(&app, &ada, "/api/v1/queue/dead").await,
        std::slice::from_ref(&failed)
    );

    // Nor is anything done to them.
    let these = json!({"ids": [failed]});
    for (path, body) in [
        ("/api/v1/queue/purge", json!({"all": true})),
        ("/api/v1/queue/dead/requeue", json!({"all": true})),
        ("/api/v1/queue/dead/requeue", these),
    ] {
        let changed = app.post_as(&eve, path, &body).await.is(200).body;
        assert_eq!(changed["changed"], 0, "{path}: {changed}");
    }
    for path in ["/api/v1/queue", "/api/v1/system/status", "/metrics"] {
        app.get_as(&eve, path)
            .await
            .refuses(403, "permission_denied");
    }
    // Her own may not wait for his, which would tell how it ended.
    let after = |id: &str| json!({"type": "general", "content": "x", "depends_on": [id]});
    let submit = "/api/v1/tasks/submit";
    let hidden = ask(&app, &eve, "POST", submit, &after(&done)).await.is(422);
    let absent = ask(&app, &eve, "POST", submit, &after(ABSENT)).await;
    assert_eq!(comparable(&hidden, &done), comparable(&absent, ABSENT));
    // And the same dedup_key is another's.
    let own = submit_as(&app, &eve, &once).await;
    assert_ne!(own, failed);
    assert_eq!(ids(&app, &eve, "/api/v1/tasks").await, [own]);
}

#[tokio::test]
async fn what_holds_a_task_is_told_without_the_tasks_of_others() {
    let app = TestApp::start().await;
    app.bot("busy", silent(), &[]).await;
    for _ in 0..8 {
        app.submit(&task("somebody else's")).await;
    }
    app.until("it has as many as it takes", async |app| {
        app.get("/api/v1/queue").await.body["totals"]["running"] == 4
    })
    .await;
    let ada = app.key("ada", "external").await;
    let id = submit_as(&app, &ada, &task("ada's")).await;
    let path = format!("/api/v1/tasks/{id}/explain");
    let told = app.get(&path).await.is(200).body;
    assert_eq!(
        (&told["hold"], &told["ahead"]),
        (&json!("bots_are_busy"), &json!(4))
    );
    let told = app.get_as(&ada, &path).await.is(200).body;
    assert_eq!(told["hold"], "bots_are_busy");
    assert_eq!((&told["ahead"], &told["bots"]), (&Value::Null, &json!([])));
    assert!(!told["detail"].as_str().unwrap().contains('4'), "{told}");
}

#[tokio::test]
async fn awaited_tasks_of_others_are_not_told_after_a_role_was_narrowed() {
    let app = TestApp::start().await;
    let (ada, olga) = (
        app.key("ada", "external").await,
        app.key("olga", "operator").await,
    );
    let waiting = json!({"type": "nobody", "content": "x"});
    let parent = submit_as(&app, &ada, &waiting).await;
    let own = submit_as(&app, &olga, &waiting).await;
    let child = json!({"type": "nobody", "content": "x", "depends_on": [parent, own]});
    let id = submit_as(&app, &olga, &child).await;
    let explain = format!("/api/v1/tasks/{id}/explain");
    let awaited = async |key: &str| {
        let told = app.get_as(key, &explain).await.is(200).body;
        let awaited = told["waits_for"].as_array().unwrap().clone();
        awaited
            .iter()
            .map(|one| one["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(awaited(&olga).await.len(), 2);
    let request = app.request_as(&app.admin, Method::PATCH, "/api/v1/users/olga");
    app.send(request.json(&json!({"role": "external"})))
        .await
        .is(200);
    assert_eq!(awaited(&olga).await, [json!(own)]);
}

#[tokio::test]
async fn activity_of_others_cannot_be_counted() {
    let app = TestApp::start().await;
    app.bot("up", upper(), &["general"]).await;
    let ada = app.key("ada", "external").await;
    let id = submit_as(&app, &ada, &task("x")).await;
    app.result(&id).await;
    let seqs = async |key: &str| {
        let events = app.get_as(key, &format!("/api/v1/tasks/{id}/events")).await;
        let events = events.is(200).body["items"].as_array().unwrap().clone();
        events
            .iter()
            .map(|event| event["seq"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let places = seqs(&app.admin).await;
    assert!(
        places[0] > 1,
        "other things have happened before: {places:?}"
    );
    let count = u64::try_from(places.len()).unwrap();
    assert_eq!(seqs(&ada).await, (1..=count).collect::<Vec<_>>());

    // Nor do the ids of requests tell how many there were.
    let mut ids = Vec::new();
    for _ in 0..20 {
        let answer = app.send(app.request(Method::GET, "/livez")).await;
        let id = answer.header("x-request-id").strip_prefix("req-").unwrap();
        ids.push(u128::from_str_radix(id, 16).unwrap());
    }
    for pair in ids.windows(2) {
        let (high, low) = (pair[0] ^ pair[1], pair[0].abs_diff(pair[1]));
        assert!(
            high >> 64 != 0 && high & u128::from(u64::MAX) != 0,
            "{ids:x?}"
        );
        assert!(low > 1 << 32, "{ids:x?}");
    }
}

#[tokio::test]
async fn caller_without_read_access_gets_no_content_of_a_changed_task() {
    let app = TestApp::start().await;
    let secret = json!({"type": "nobody", "content": "top secret content", "dedup_key": "top secret key",
        "metadata": {"a": "top secret metadata"}, "tags": ["top-secret-tag"]});
    let id = app.submit(&secret).await;
    for (scope, act) in [("task:cancel", "cancel"), ("task:submit", "retry")] {
        let narrow = async |scopes: Value| {
            let body = json!({"user": "olga", "role": "operator", "scopes": scopes});
            let made = app.post("/api/v1/auth/keys", &body).await.is(201).body;
            made["key"].as_str().unwrap().to_owned()
        };
        let (blind, seeing) = (
            narrow(json!([scope])).await,
            narrow(json!([scope, "task:read"])).await,
        );
        app.get_as(&blind, &format!("/api/v1/tasks/{id}"))
            .await
            .refuses(403, "permission_denied");
        let path = |act: &str| format!("/api/v1/tasks/{id}/{act}");
        let told = app
            .post_as(&blind, &path(act), &Value::Null)
            .await
            .is(200)
            .body;
        assert_eq!(told["id"], json!(id));
        let text = told.to_string();
        assert!(
            !text.contains("top secret") && !text.contains("top-secret"),
            "{told:#}"
        );
        // A caller who may read the task gets all of it.
        let back = if act == "cancel" { "retry" } else { "cancel" };
        app.post(&path(back), &Value::Null).await.is(200);
        let told = app
            .post_as(&seeing, &path(act), &Value::Null)
            .await
            .is(200)
            .body;
        assert_eq!(told["content"], secret["content"]);
    }
    // The same of bots and what they run.
    let spec = json!({"executor": {"kind": "command", "command": ["top-secret-program"]}});
    app.put("/api/v1/bots/b", &spec).await.is(201);
    let body = json!({"user": "olga", "role": "operator", "scopes": ["bot:launch", "bot:stop"]});
    let made = app.post("/api/v1/auth/keys", &body).await.is(201).body;
    for act in ["launch", "drain", "stop"] {
        let path = format!("/api/v1/bots/b/{act}");
        let key = made["key"].as_str().unwrap();
        let told = app.post_as(key, &path, &Value::Null).await.is(202).body;
        assert_eq!(told["executor"]["kind"], "command");
        assert!(!told.to_string().contains("top-secret"), "{told:#}");
    }
}

#[tokio::test]
async fn a_bot_sees_the_tasks_that_it_was_given() {
    let app = TestApp::start().await;
    app.bot("one", upper(), &["one"]).await;
    app.bot("two", upper(), &["two"]).await;
    let key = app.key("one", "bot").await;
    let me = app.get_as(&key, "/api/v1/auth/whoami").await.is(200).body;
    assert_eq!(
        (&me["bot"], &me["sees_only_its_own"]),
        (&json!("one"), &json!(true))
    );
    let own = app.submit(&json!({"type": "one", "content": "x"})).await;
    let others = app.submit(&json!({"type": "two", "content": "x"})).await;
    let nobodys = app.submit(&json!({"type": "three", "content": "x"})).await;
    for id in [&own, &others] {
        app.result(id).await;
    }
    app.get_as(&key, &format!("/api/v1/tasks/{own}"))
        .await
        .is(200);
    assert_eq!(ids(&app, &key, "/api/v1/tasks").await, [own]);
    for query in ["?bot=two", "?type=three", "?submitter=nobody"] {
        let found = ids(&app, &key, &format!("/api/v1/tasks{query}")).await;
        assert_eq!(found, [""; 0], "{query}");
    }
    for id in [&others, &nobodys] {
        is_as_if_absent(&app, &key, id, &["/cancel", "/retry", "/content", "/logs"]).await;
    }
}

#[tokio::test]
async fn an_answer_that_goes_on_ends_with_the_right_to_it() {
    let app = TestApp::start().await;
    let slow = json!({"kind": "command", "command": ["sh", "-c", "echo begun; sleep 600"]});
    app.bot("slow", slow, &[]).await;
    let made = app
        .post(
            "/api/v1/auth/keys",
            &json!({"user": "ada", "role": "operator"}),
        )
        .await
        .is(201)
        .body;
    let key = made["key"].as_str().unwrap();
    let id = submit_as(&app, key, &task("x")).await;
    let output = format!("/api/v1/tasks/{id}/output");
    app.until("it has begun", async |app| {
        app.get(&format!("/api/v1/tasks/{id}/status")).await.body["status"] == "running"
    })
    .await;
    let mut streams = Vec::new();
    for path in [output.as_str(), "/api/v1/bots/slow/logs?follow=true"] {
        let request = app.request_as(key, Method::GET, path);
        let mut answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.chunk().await.unwrap().unwrap();
        streams.push((path, answer));
    }
    let result = format!("/api/v1/tasks/{id}/result?wait_ms=20000");
    let poll = app.request_as(key, Method::GET, &result).send();
    let poll = tokio::spawn(poll);
    app.until("the poll waits", async |app| {
        let metrics = app.request_as(&app.admin, Method::GET, "/metrics");
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        // Itself is one of them.
        metrics.contains("deia_http_requests_in_flight 2")
    })
    .await;
    let revoke = format!("/api/v1/auth/keys/{}/revoke", made["id"].as_str().unwrap());
    app.post(&revoke, &Value::Null).await.is(200);
    app.post(&format!("/api/v1/tasks/{id}/cancel"), &Value::Null)
        .await
        .is(200);
    assert_eq!(poll.await.unwrap().unwrap().status(), 401);
    for (path, mut answer) in streams {
        // Both end, and that of the output tells that it is not whole.
        let whole = loop {
            match answer.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(error) => {
                    assert!(!error.is_timeout(), "{path} goes on");
                    break false;
                }
            }
        };
        assert_eq!(whole, path != output, "{path}");
    }
}
