//! Endpoints that are not accepted.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{WEBHOOKS, patch};
use crate::support::TestApp;

#[derive(Deserialize)]
struct Vectors {
    refuse_addresses: Vec<String>,
    refuse_urls: Vec<String>,
    allow_addresses: Vec<String>,
    refuse_always: Vec<String>,
}

fn vectors() -> Vectors {
    let all: Value = serde_json::from_str(include_str!("../../vectors/ssrf.json")).unwrap();
    Vectors::deserialize(all).unwrap()
}

fn url_of(scheme: &str, address: &str) -> String {
    match address.contains(':') {
        true => format!("{scheme}://[{address}]/"),
        false => format!("{scheme}://{address}/"),
    }
}

/// Registers an endpoint that gets nothing.
async fn asked(app: &TestApp, url: &str) -> crate::support::Answer {
    let body = json!({"url": url, "events": ["ext.nothing"]});
    app.post(&format!("{WEBHOOKS}/register"), &body).await
}

/// Asserts that none of these can be registered, nor be the new address of an endpoint.
async fn all_are_refused(app: &TestApp, urls: &[String]) {
    let made = asked(app, "https://8.8.8.8/").await.is(201).body;
    let path = format!("{WEBHOOKS}/{}", made["id"].as_str().unwrap());
    for url in urls {
        eprintln!("{url}");
        for refused in [
            asked(app, url).await,
            patch(app, &app.admin, &path, &json!({"url": url})).await,
        ] {
            let refused = refused.refuses(422, "invalid_input");
            assert_eq!(refused.pointers(), ["/url"], "{url}");
        }
    }
    let shown = app.get(&path).await.is(200).body;
    assert_eq!(
        (&shown["url"], &shown["version"]),
        (&made["url"], &json!(1))
    );
    let all = app.get(WEBHOOKS).await.is(200).body;
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}

#[actix_rt::test]
async fn addresses_inside_are_refused_at_registration_and_by_a_change() {
    let app = TestApp::start_with(&["bots.seed=[]", "webhooks.allow_http=true"]).await;
    let vectors = vectors();
    let addresses = vectors.refuse_addresses.iter();
    let both = addresses.flat_map(|it| [url_of("http", it), url_of("https", it)]);
    let mut urls: Vec<String> = both.chain(vectors.refuse_urls).collect();
    let more = [
        "",
        "https://",
        "https:///x",
        "https://8.8.8.8:0/",
        "https://8.8.8.8/#x y\n",
    ];
    urls.extend(more.map(String::from));
    urls.push(format!("https://8.8.8.8/{}", "x".repeat(2_048)));
    all_are_refused(&app, &urls).await;
    for address in &vectors.allow_addresses {
        asked(&app, &url_of("https", address)).await.is(201);
    }
}

#[actix_rt::test]
async fn metadata_services_are_refused_whatever_is_allowed() {
    let all = "webhooks.allow_networks=[0.0.0.0/0, '::/0']";
    let app = TestApp::start_with(&["bots.seed=[]", "webhooks.allow_http=true", all]).await;
    let always = vectors().refuse_always;
    let urls: Vec<String> = always.iter().map(|it| url_of("http", it)).collect();
    all_are_refused(&app, &urls).await;
}

#[actix_rt::test]
async fn plain_http_is_refused_unless_it_is_allowed() {
    let app = TestApp::start().await;
    all_are_refused(&app, &["http://8.8.8.8/".to_owned()]).await;
}

#[actix_rt::test]
async fn faults_of_a_registration_are_named() {
    let app = TestApp::start().await;
    let (long, lists) = ("x".repeat(201), vec!["task"; 65]);
    let headers: BTreeMap<String, &str> = (0..17).map(|n| (format!("x-{n}"), "1")).collect();
    let made = asked(&app, "https://8.8.8.8/").await.is(201).body;
    let path = format!("{WEBHOOKS}/{}", made["id"].as_str().unwrap());
    for (fields, pointer) in [
        (json!({"description": long}), "/description"),
        (
            json!({"events": ["task.completed", "task.exploded"]}),
            "/events/1",
        ),
        (json!({"events": [""]}), "/events/0"),
        (json!({"events": lists}), "/events"),
        (json!({"task_types": lists}), "/task_types"),
        (json!({"tags": lists}), "/tags"),
        (json!({"owners": lists}), "/owners"),
        (json!({"headers": headers}), "/headers"),
        (
            json!({"headers": {"Webhook-Id": "x"}}),
            "/headers/Webhook-Id",
        ),
        (
            json!({"headers": {"webhook-signature": "x"}}),
            "/headers/webhook-signature",
        ),
        (json!({"headers": {"Host": "inside"}}), "/headers/Host"),
        (
            json!({"headers": {"content-length": "0"}}),
            "/headers/content-length",
        ),
        (
            json!({"headers": {"transfer-encoding": "chunked"}}),
            "/headers/transfer-encoding",
        ),
        (
            json!({"headers": {"Proxy-Authorization": "x"}}),
            "/headers/Proxy-Authorization",
        ),
        (
            json!({"headers": {"x-forwarded-for": "1"}}),
            "/headers/x-forwarded-for",
        ),
        (
            json!({"headers": {"x": "a\r\nwebhook-id: 1"}}),
            "/headers/x",
        ),
        (json!({"headers": {"a b": "x"}}), "/headers/a b"),
        (json!({"headers": {"x": 1}}), "/headers/x"),
        (json!({"signatures": []}), "/signatures"),
        (json!({"concurrency": 65}), "/concurrency"),
        (json!({"rate_per_second": 100_001}), "/rate_per_second"),
        (json!({"secret": "whsec_x"}), "/secret"),
        (json!({"url": 1}), "/url"),
    ] {
        let mut body = json!({"url": "https://8.8.8.8/"});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let register = app.post(&format!("{WEBHOOKS}/register"), &body).await;
        let change = patch(&app, &app.admin, &path, &fields).await;
        for refused in [register, change] {
            let refused = refused.refuses(422, "invalid_input");
            assert_eq!(refused.pointers(), [pointer], "{fields}");
        }
    }
    let shown = app.get(&path).await.is(200).body;
    assert_eq!(shown["version"], 1, "no change was made");
}

#[actix_rt::test]
async fn endpoints_beyond_the_limits_are_a_conflict() {
    let limits = ["bots.seed=[]", "webhooks.max=3", "webhooks.max_per_owner=2"];
    let app = TestApp::start_with(&limits).await;
    let other = app.key("olga", "operator").await;
    let body = json!({"url": "https://8.8.8.8/", "events": ["ext.nothing"]});
    let path = format!("{WEBHOOKS}/register");
    for (key, status) in [
        (&app.admin, 201),
        (&app.admin, 201),
        (&app.admin, 409),
        (&other, 201),
        (&other, 409),
    ] {
        app.post_as(key, &path, &body).await.is(status);
    }
}
